"""Dead letters as the log of them tells: what was buried, and what has become of it since."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

State = Literal["open", "retried", "dropped"]


class Name(NamedTuple):
    """Which letter: the place of the record, and the agent that couldn't use it."""

    topic: str
    partition: int
    offset: int
    agent: str

    @property
    def place(self) -> str:
        """The id of the letter where one agent alone has buried the record."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    def __str__(self) -> str:
        return f"{self.place}@{self.agent}"


class Letter(Struct, frozen=True, kw_only=True):
    """A record that was buried. `at` is when, in milliseconds since 1970; the rest is as it was at its source."""

    name: Name
    cause: str
    at: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    state: State = "open"

    @property
    def offset(self) -> int:
        return self.name.offset

    @property
    def timestamp(self) -> int:
        return self.at

    @property
    def line(self) -> tuple[str, str, int, bytes | None]:
        """Letters of one line (an agent's records of one key in one partition) are retried in order."""
        return (self.name.agent, self.name.topic, self.name.partition, self.key)


class Mark(NamedTuple):
    """What an operator has done about a letter."""

    name: Name
    state: Literal["retried", "dropped"]


class Allowance(NamedTuple):
    """An operator lets any number of bad records be buried of a partition, up to an offset."""

    topic: str
    partition: int
    up_to: int


Entry = Letter | Mark | Allowance
Letters = dict[Name, Letter]


class UnknownLetterError(ValueError):
    """There is no such letter, or the id doesn't say which; the text says what to do."""


class OutOfOrderError(ValueError):
    """An earlier letter of the same key is still open; the text names it."""


def gather(entries: Iterable[Entry]) -> Letters:
    """Every letter once, in the order of topic, partition and offset. What is marked stays so when it is buried again:
    a replay buries a record once more.
    """
    found: Letters = {}
    marks: dict[Name, State] = {}
    for entry in entries:
        if isinstance(entry, Letter):
            found.setdefault(entry.name, entry)
        elif isinstance(entry, Mark):
            marks[entry.name] = entry.state
    return {name: _with_state(found[name], marks.get(name, "open")) for name in sorted(found)}


def _with_state(letter: Letter, state: State) -> Letter:
    return Letter(
        name=letter.name,
        cause=letter.cause,
        at=letter.at,
        key=letter.key,
        value=letter.value,
        headers=letter.headers,
        state=state,
    )


def ids(letters: Letters) -> dict[Name, str]:
    """How each letter is called: by its place, and by its agent too where several have buried the record."""
    agents: dict[str, int] = {}
    for name in letters:
        agents[name.place] = agents.get(name.place, 0) + 1
    return {name: str(name) if agents[name.place] > 1 else name.place for name in letters}


def find(letters: Mapping[Name, Letter], text: str) -> Letter:
    """The letter of this id, with or without its agent; UnknownLetterError when there is none or more than one."""
    match = re.fullmatch(r"([\w.-]+):(\d{1,9}):(\d{1,18})(?:@([\w.-]+))?", text)
    if match is None:
        raise UnknownLetterError(
            f"{text} is no id of a letter: expected TOPIC:PARTITION:OFFSET, as `dlq list` shows it"
        )
    topic, partition, offset, agent = match.groups()
    place = (topic, int(partition), int(offset))
    named = [letter for name, letter in letters.items() if name[:3] == place and agent in (None, name.agent)]
    if not named:
        raise UnknownLetterError(f"there is no letter {text}: `python -m devconnect dlq list` shows those there are")
    if len(named) > 1:
        raise UnknownLetterError(f"several agents have buried {text}: say {' or '.join(str(x.name) for x in named)}")
    return named[0]


def in_order(letters: Letters, chosen: Collection[Name], *, with_earlier: bool = False) -> list[Letter]:
    """The chosen letters as they are to be retried; each key's in their source order, earlier open ones first.

    Raises OutOfOrderError when there is an earlier open one that isn't chosen, unless they are to come `with_earlier`.
    """
    wanted = set(chosen)
    last: dict[tuple[str, str, int, bytes | None], int] = {}
    for name in wanted:
        line = letters[name].line
        last[line] = max(last.get(line, -1), name.offset)
    plan: list[Letter] = []
    for name, letter in letters.items():
        if name in wanted:
            plan.append(letter)
        elif letter.state == "open" and letter.key is not None and name.offset < last.get(letter.line, -1):
            if not with_earlier:
                raise OutOfOrderError(
                    f"{name} of the same key is older and still open: retry or drop it first, or say --with-earlier"
                )
            plan.append(letter)
    return plan
