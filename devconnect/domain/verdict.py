"""How a rule answers: what it wants to read, and a verdict built from the command and its place."""

from typing import Any

from msgspec import Struct

from devconnect.domain.model import Problem
from devconnect.events.base import Command, seq_of
from devconnect.events.facts import AnyEvent


class Verdict(Struct, frozen=True):
    """A result and the events that follow from it, or a problem."""

    result: dict[str, Any] | None = None
    problem: Problem | None = None
    events: tuple[AnyEvent, ...] = ()


class Stamp(Struct, frozen=True):
    """What an event takes over from its command: id, seq and time."""

    id: str
    seq: int
    at: int


def stamp(command: Command, offset: int, index: int = 0) -> Stamp:
    """The stamp of the `index`-th event of the command at `offset`."""
    return Stamp(f"{command.id}.{index}", seq_of(offset, index), command.at)


def accept(result: dict[str, Any], *events: AnyEvent) -> Verdict:
    """Yes, and this has happened (nothing, when the command asked for what was so already)."""
    return Verdict(result=result, events=events)


def refuse(code: str, detail: str) -> Verdict:
    """No; `detail` says what to do."""
    return Verdict(problem=Problem(code, detail))
