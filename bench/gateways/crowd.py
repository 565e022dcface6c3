"""The people whose requests are measured, made through the API of the gateway itself while the fleet works."""

import asyncio
import secrets
import time
from typing import NamedTuple

import aiohttp

from bench.rig import BenchError
from devconnect.adapters.kafka.gateway import KafkaCommands
from devconnect.events.base import SYSTEM, Tier, new_id
from devconnect.events.commands import ChangeTier
from devconnect.events.topics import USER_COMMANDS, user_commands
from devconnect.replay.account import Account
from devconnect.replay.client import Gateway, RefusedError, UnreachableError
from devconnect.replay.people import open_account
from devconnect.settings import Settings
from devconnect.stack import Addresses
from devconnect.stack.ports import LOOPBACK

#: Readers, the people each of them is connected with, and of those how many they have a conversation with.
READERS, PEERS, TALKS = 4, 50, 4
#: Messages of a conversation, which are a page.
MESSAGES = 50
TIER: Tier = "gold"
#: What is said: the length of a usual message.
TEXT = "See you at the meet-up on Thursday, then? I will bring the two of you together."
#: Requests at once, and seconds that one trouble may last.
CONCURRENCY, PATIENCE = 32, 90.0


class Talk(NamedTuple):
    """A conversation as one of the two reads it."""

    reader: Account
    peer: Account


class Crowd(NamedTuple):
    """Readers, their peers (with all of whom each reader is connected, and all of whom are here), and their talks."""

    readers: tuple[Account, ...]
    peers: tuple[Account, ...]
    talks: tuple[Talk, ...]

    @property
    def everybody(self) -> tuple[Account, ...]:
        """All of them."""
        return self.readers + self.peers


async def assemble(settings: Settings, addresses: Addresses, port: int) -> Crowd:
    """Sign everybody up, give them their tier, connect them, let them talk; returns when all of it can be read."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        gateway = Gateway(http, f"http://{LOOPBACK}:{port}", concurrency=CONCURRENCY, patience=PATIENCE)
        try:
            everybody = await asyncio.gather(*(_open(gateway, number) for number in range(READERS + PEERS)))
            await _promote(settings, addresses, everybody)
            crowd = _crowd(everybody)
            await asyncio.gather(*(_connect(gateway, one, peer) for one in crowd.readers for peer in crowd.peers))
            await asyncio.gather(
                *(_talk(gateway, talk) for talk in crowd.talks), *(_arrive(gateway, peer) for peer in crowd.peers)
            )
            await asyncio.gather(
                *(_has_tier(gateway, one) for one in everybody), *(_can_read(gateway, talk) for talk in crowd.talks)
            )
        except (RefusedError, UnreachableError) as error:
            raise BenchError(f"the people couldn't be made ready: {error}") from None
    return crowd


def _crowd(everybody: list[Account]) -> Crowd:
    readers, peers = tuple(everybody[:READERS]), tuple(everybody[READERS:])
    talks = (
        Talk(one, peers[(number * TALKS + each) % PEERS]) for number, one in enumerate(readers) for each in range(TALKS)
    )
    return Crowd(readers, peers, tuple(talks))


async def _open(gateway: Gateway, number: int) -> Account:
    more = {
        "headline": "Compilers and their errors",
        "about": "Writes parsers by hand, reads those of others, and would like to meet whoever wrote yours.",
        "skills": ["python", "kafka", "redis"],
    }
    return await open_account(
        gateway, f"bench.{number}@example.org", secrets.token_urlsafe(16), f"Bench {number}", more
    )


async def _promote(settings: Settings, addresses: Addresses, people: list[Account]) -> None:
    commands = KafkaCommands(addresses.kafka, partitions=settings.partitions)
    await commands.start()
    try:
        for person in people:
            command = ChangeTier(id=new_id(), actor=SYSTEM, at=time.time_ns() // 1_000_000, user=person.user, tier=TIER)
            await commands.send(USER_COMMANDS.name, command.key, user_commands.encode(command))
    finally:
        await commands.stop()


async def _connect(gateway: Gateway, one: Account, peer: Account) -> None:
    await gateway.command("/v1/connections", {"user": peer.user, "interest": "interested"}, one)
    await gateway.command(f"/v1/connections/{one.user}/review", {"verdict": "accepted"}, peer)


async def _talk(gateway: Gateway, talk: Talk) -> None:
    for _ in range(MESSAGES // 2):
        for one, other in (talk, reversed(talk)):
            await gateway.command(f"/v1/conversations/{other.user}/messages", {"text": TEXT}, one)


async def _arrive(gateway: Gateway, person: Account) -> None:
    await gateway.ask("PUT", "/v1/me/presence", {"online": True}, person, key=new_id())


async def _has_tier(gateway: Gateway, person: Account) -> None:
    deadline = time.monotonic() + PATIENCE
    while (await gateway.read("/v1/me", person))["tier"] != TIER:
        if time.monotonic() > deadline:
            raise BenchError(f"nobody is {TIER} after {PATIENCE:g} s")
        await asyncio.sleep(0.05)


async def _can_read(gateway: Gateway, talk: Talk) -> None:
    deadline = time.monotonic() + PATIENCE
    path = f"/v1/conversations/{talk.peer.user}/messages"
    while len((await gateway.read(path, talk.reader))["items"]) < MESSAGES:
        if time.monotonic() > deadline:
            raise BenchError(f"a conversation can't be read after {PATIENCE:g} s")
        await asyncio.sleep(0.05)
