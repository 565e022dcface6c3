"""The words of the stack: addresses, a part's status, progress, and the error that says what to do."""

from collections.abc import Callable
from typing import Literal

import msgspec


class StackError(Exception):
    """A part can't be started, reached or stopped. The message says what happened and what to do."""


class Addresses(msgspec.Struct, frozen=True):
    """Where the three parts answer."""

    #: "host:port", or several of them with commas, as Kafka clients take them.
    kafka: str
    #: "redis://host:port[/db]"
    redis: str
    #: "mongodb://host:port"
    mongo: str


class PartStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One part as it is now."""

    name: str
    ready: bool
    #: "ready", or why not and what to do.
    detail: str
    #: True where a URL of the settings replaces the embedded part.
    external: bool = False
    address: str | None = None
    pid: int | None = None
    port: int | None = None
    #: Resident memory, in MB (2**20 bytes).
    memory_mb: int | None = None
    version: str | None = None


Stage = Literal["fetching", "starting", "ready", "stopped"]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one part, for whoever watches."""

    part: str
    stage: Stage
    text: str
    address: str | None = None
    version: str | None = None
    pid: int | None = None
    port: int | None = None
    #: From the start of this part to this step.
    seconds: float = 0.0


OnProgress = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Watches nothing."""
