"""The book of a drill: what everybody was told, and so what must be so everywhere afterwards."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.counting import Fact

ACCEPTED = "accepted"


class Said:
    """A message as the two have it, from its answer on."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.id, self.seq, self.at = str(told["id"]), int(told["seq"]), int(told["at"])
        self.sender, self.recipient, self.text = str(told["sender"]), str(told["recipient"]), str(told["text"])
        self.deleted = False


class Session(NamedTuple):
    """A session and its tokens; `renewal` is good once."""

    id: str
    token: str
    renewal: str
    generation: int = 0


class Person:
    """An account of the drill; `session` is the one that they ask by, one of `open`: session id -> generation.

    `changing` is held while that session is over and the next isn't there yet.
    """

    def __init__(self, user: str, email: str, password: str) -> None:
        self.user, self.email, self.password = user, email, password
        self.session = Session("", "", "")
        self.open: dict[str, int] = {}
        self.gone = False
        self.changing = asyncio.Lock()

    @property
    def token(self) -> str:
        """What they ask by."""
        return self.session.token


class Talk:
    """What is between two people who meet each other in the drill."""

    def __init__(self) -> None:
        self.connected = False
        #: Who blocks the other, if anybody does.
        self.blocked_by = ""
        self.said: list[Said] = []
        #: How far each has read.
        self.read: dict[str, int] = defaultdict(int)

    def unread(self, user: str) -> list[int]:
        """The places of what they haven't read."""
        to_them = [each for each in self.said if each.recipient == user][-200:]
        return [each.seq for each in to_them if each.seq > self.read[user] and not each.deleted]


class Report(NamedTuple):
    """What somebody told the operators of somebody; `outcome` is "" while it is open."""

    by: str
    user: str
    outcome: str = ""


class Book:
    """What everybody was told."""

    def __init__(self) -> None:
        #: Command -> ACCEPTED, or the code of the problem that it was turned down with.
        self.decided: dict[str, str] = {}
        #: Command -> what has happened by it, in order. `at` of a fact is 0 where the answer didn't say it.
        self.happened: dict[str, tuple[Fact, ...]] = {}
        self.everybody: list[Person] = []
        #: By pair id.
        self.talks: dict[str, Talk] = defaultdict(Talk)
        self.reports: dict[str, Report] = {}
        #: Sessions that were ended: their ids, and the tokens of those of which there were any.
        self.ended: list[str] = []
        self.over: list[str] = []
        #: Answers that were not what they had to be.
        self.wrong: list[str] = []

    def accept(self, command: str, *facts: Fact) -> None:
        """A command was accepted, and this has happened."""
        if self.decided.setdefault(command, ACCEPTED) != ACCEPTED or command in self.happened:
            self.wrong.append(f"decided twice: {command}")
        self.happened[command] = facts

    def refuse(self, command: str, code: str, *facts: Fact) -> None:
        """A command was turned down."""
        self.decided[command] = code
        if facts:
            self.happened[command] = facts

    def end(self, person: Person, session: str, token: str = "") -> None:
        """A session of theirs is over."""
        person.open.pop(session, None)
        self.ended.append(session)
        if token:
            self.over.append(token)

    def talks_of(self, user: str) -> dict[str, Talk]:
        """Whom they have to do with -> what is between the two."""
        found = {}
        for pair, talk in self.talks.items():
            one, _, other = pair.partition(".")
            if user in (one, other):
                found[other if user == one else one] = talk
        return found

    @property
    def accepted(self) -> int:
        """How many commands were."""
        return sum(told == ACCEPTED for told in self.decided.values())
