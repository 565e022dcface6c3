"""`keys`: the keys that session tokens are signed with: show them, take a new one, let go of an old one."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from devconnect.cli.errors import CliError
from devconnect.keys import KeyFile, KeyRecord, KeysError, kid_of, longest_ms, signing, verifying
from devconnect.settings import Settings

T = TypeVar("T")


@click.group()
def keys() -> None:
    """Look after the keys of session tokens."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def show(*, as_json: bool) -> None:
    """Show each key by its name, the oldest first: what it is for now, and since when. Keys themselves aren't shown."""
    settings, now = Settings.load(), _now()
    rows = _fixed(settings) if settings.jwt_secrets else _kept(settings, KeyFile(settings).open(now), now)
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    grid = Table("kid", "state", "made at", "signs from")
    for row in rows:
        grid.add_row(*(row[name] or "" for name in ("kid", "state", "made_at", "signs_from")))
    Console(width=None if Console().is_terminal else 120).print(grid)


@keys.command()
def rotate() -> None:
    """Take a new key. Nobody is logged out: it signs once every gateway knows it, and the old ones stay good."""
    settings = _of_the_file()
    made = _change(lambda now: KeyFile(settings).rotate(now))
    click.echo(f"{made.key.kid} is known to all gateways in a few seconds, and signs from {_time(made.signs_from)} on")


@keys.command()
@click.argument("kid")
def retire(kid: str) -> None:
    """Let go of the key KID now. Who has only tokens of it must log in again."""
    settings = _of_the_file()
    _change(lambda now: KeyFile(settings).retire(kid, now))
    click.echo(f"{kid} is retired: no gateway takes it in a few seconds")


def _of_the_file() -> Settings:
    settings = Settings.load()
    if settings.jwt_secrets:
        raise CliError(
            "the keys are in JWT_SECRET: add the new one at its end everywhere, then put it first, then take the old "
            "one out, and restart the gateways each time (docs/guide/keys.md)"
        )
    return settings


def _change(work: Callable[[int], T]) -> T:
    try:
        return work(_now())
    except (KeysError, OSError) as error:
        raise CliError(str(error)) from None


def _fixed(settings: Settings) -> list[dict[str, str | None]]:
    return [
        {"kid": kid_of(secret), "state": "verifies" if number else "signs", "made_at": None, "signs_from": None}
        for number, secret in enumerate(settings.jwt_secrets)
    ]


def _kept(settings: Settings, records: tuple[KeyRecord, ...], now: int) -> list[dict[str, str | None]]:
    good = verifying(records, now, longest_ms(settings))
    current = signing(records, now)

    def state(record: KeyRecord) -> str:
        if record == current:
            return "signs"
        if record.signs_from > now:
            return "will sign"
        return "verifies" if record in good else "over"

    return [
        {
            "kid": record.key.kid,
            "state": state(record),
            "made_at": _time(record.made_at),
            "signs_from": _time(record.signs_from),
        }
        for record in records
    ]


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds")


def _now() -> int:
    return time.time_ns() // 1_000_000
