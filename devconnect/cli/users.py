"""`users`: what only the machine's operator may do to accounts, as commands like all others."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, get_args

import click

from devconnect import stack
from devconnect.adapters.kafka.gateway import KafkaCommands
from devconnect.adapters.kafka.topics import TopicsError
from devconnect.adapters.mongo.connect import close, connect
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.cli.errors import CliError
from devconnect.domain.model import Decision
from devconnect.domain.normalise import email as normalise
from devconnect.events.base import SYSTEM, Role, Tier, new_id
from devconnect.events.commands import ChangeRole, ChangeTier
from devconnect.events.topics import USER_COMMANDS, user_commands
from devconnect.ports.truth import UnavailableError
from devconnect.settings import Settings

#: Seconds that the fleet has to decide.
DEADLINE = 15.0

Change = ChangeRole | ChangeTier


@click.group()
def users() -> None:
    """Look after accounts: roles and membership tiers."""


@users.command("set-role")
@click.argument("email")
@click.argument("role", type=click.Choice(get_args(Role)))
def set_role_command(email: str, role: Role) -> None:
    """Give the account of EMAIL a ROLE: member, analyst or operator."""
    _show(lambda settings: set_role(settings, email, role))


@users.command("set-tier")
@click.argument("email")
@click.argument("tier", type=click.Choice(get_args(Tier)))
def set_tier_command(email: str, tier: Tier) -> None:
    """Give the account of EMAIL a membership TIER: free, silver or gold."""
    _show(lambda settings: set_tier(settings, email, tier))


async def set_role(settings: Settings, email: str, role: Role) -> dict[str, Any]:
    """Change the role and return the account as it is then; CliError when that can't be done."""
    return await _change(
        settings, email, lambda user: ChangeRole(id=new_id(), actor=SYSTEM, at=_now(), user=user, role=role)
    )


async def set_tier(settings: Settings, email: str, tier: Tier) -> dict[str, Any]:
    """Change the tier and return the account as it is then; CliError when that can't be done."""
    return await _change(
        settings, email, lambda user: ChangeTier(id=new_id(), actor=SYSTEM, at=_now(), user=user, tier=tier)
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


def _show(work: Callable[[Settings], Coroutine[Any, Any, dict[str, Any]]]) -> None:
    account = asyncio.run(work(Settings.load()))
    click.echo(f"{account['email']} is {account['role']}, {account['tier']}")


async def _change(settings: Settings, email: str, make: Callable[[str], Change]) -> dict[str, Any]:
    """Find the account, send the command, wait for the decision."""
    try:
        addresses = stack.addresses(settings)
    except stack.StackError as error:
        raise CliError(str(error)) from None
    database = connect(addresses.mongo, settings.mongo_db)
    kafka = KafkaCommands(addresses.kafka, partitions=settings.partitions)
    try:
        address = normalise(email)
        found = await MongoReads(database).credentials(address) if address else None
        if found is None:
            raise CliError(f"nobody has signed up with {email}")
        command = make(found[0])
        await kafka.start()
        await kafka.send(USER_COMMANDS.name, command.key, user_commands.encode(command))
        decision = await _decided(MongoTruth(database), command.id)
    except (UnavailableError, TopicsError) as error:
        raise CliError(str(error)) from None
    finally:
        await kafka.stop()
        await close(database)
    if decision.result is None:
        raise CliError(decision.problem.detail if decision.problem else "refused")
    return decision.result


async def _decided(truth: MongoTruth, command: str) -> Decision:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = (await truth.decisions([command])).get(command)
        if found is not None:
            return found
        await asyncio.sleep(0.05)
    raise CliError(
        f"Kafka has the command, but nobody has decided it in {DEADLINE:g} s: is the commands worker running? "
        "It will be carried out when one is."
    )
