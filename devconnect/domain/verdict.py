"""How a rule answers: what it wants to read, and a verdict built from the command and its place."""

from typing import Any, TypeVar

from msgspec import Struct

from devconnect.domain.model import Problem
from devconnect.events.base import Command, Event, seq_of
from devconnect.events.facts import AnyEvent

E = TypeVar("E", bound=Event)


class Verdict(Struct, frozen=True):
    """A result or a problem, and the events that follow from it."""

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


class Consequences:
    """The events of one command, in order: each gets the next stamp."""

    def __init__(self, command: Command, offset: int) -> None:
        self._command = command
        self._offset = offset
        self.events: tuple[Any, ...] = ()

    def add(self, kind: type[E], **fields: Any) -> E:
        """This has happened too."""
        mark = stamp(self._command, self._offset, len(self.events))
        event = kind(id=mark.id, seq=mark.seq, at=mark.at, **fields)
        self.events = (*self.events, event)
        return event


def accept(result: dict[str, Any], *events: AnyEvent) -> Verdict:
    """Yes, and this has happened (nothing, when the command asked for what was so already)."""
    return Verdict(result=result, events=events)


def refuse(code: str, detail: str, *events: AnyEvent) -> Verdict:
    """No; `detail` says what to do. `events` are what the attempt has brought about all the same."""
    return Verdict(problem=Problem(code, detail), events=events)
