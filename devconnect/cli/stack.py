"""`up`, `down` and `status`: the embedded stack from the command line."""

import logging
import sys
import time
from collections.abc import Callable

import click
import msgspec

from devconnect import stack
from devconnect.cli.errors import CliError
from devconnect.settings import Settings
from devconnect.stack import Addresses, PartStatus, Progress, StackError
from devconnect.stack.part import without_password

# aiokafka logs each attempt of a check that fails; what counts is in the error that we print.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.command()
@_AS_JSON
def up(as_json: bool) -> None:
    """Start each part that isn't running, and wait until all of them are ready."""
    began = time.monotonic()
    steps: list[Progress] = []
    watch: Callable[[Progress], None] = steps.append if as_json else _print_step
    try:
        found = stack.start(Settings.load(), on_progress=watch)
    except StackError as error:
        raise CliError(str(error)) from None
    seconds = round(time.monotonic() - began, 2)
    if as_json:
        ready = [step for step in steps if step.stage == "ready"]
        _print_json({"addresses": found, "parts": ready, "seconds": seconds})
    else:
        _print_addresses(found, seconds)


@click.command()
@_AS_JSON
def down(as_json: bool) -> None:
    """Stop the embedded parts; what is already stopped stays so."""
    steps: list[Progress] = []

    def watch(step: Progress) -> None:
        steps.append(step)
        if not as_json:
            _print_step(step)

    try:
        stack.stop(Settings.load(), on_progress=watch)
    except StackError as error:
        raise CliError(str(error)) from None
    if as_json:
        _print_json({"stopped": steps})
    elif not steps:
        click.echo("nothing was running")


@click.command()
@_AS_JSON
def status(as_json: bool) -> None:
    """Show each part: pid, port, memory, version, ready or why not. Exit status 0 if all are ready."""
    found = stack.status(Settings.load())
    if as_json:
        _print_json({"ready": all(part.ready for part in found), "parts": found})
    else:
        for part in found:
            click.echo(_status_line(part))
    if not all(part.ready for part in found):
        sys.stdout.flush()
        raise SystemExit(1)


def _status_line(part: PartStatus) -> str:
    if part.external:
        return f"{part.name:<6} external: {part.address}, {part.version or 'version unknown'}, {part.detail}"
    if part.pid is None:
        return f"{part.name:<6} {part.detail}"
    memory = f"{part.memory_mb} MB" if part.memory_mb is not None else "memory unknown"
    return f"{part.name:<6} pid {part.pid:<8} port {part.port:<6} {memory:>7}  {part.version or '':<16} {part.detail}"


def _print_step(step: Progress) -> None:
    if step.stage == "stopped":
        click.echo(f"{step.part:<6} {step.text} (pid {step.pid}, port {step.port})")
    elif step.stage == "fetching":
        click.echo(f"{step.part:<6} {step.text} …")
    elif step.stage == "ready":
        where = f"port {step.port}" if step.port else step.address or ""
        click.echo(f"{step.part:<6} {step.version or '':<16} {where:<11} {step.text}, ready in {step.seconds:.1f} s")


def _print_addresses(found: Addresses, seconds: float) -> None:
    click.echo(f"\nready in {seconds:.1f} s")
    click.echo(f"  Kafka    {found.kafka}")
    click.echo(f"  Redis    {without_password(found.redis)}")
    click.echo(f"  MongoDB  {without_password(found.mongo)}")


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
