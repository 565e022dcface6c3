"""The trace file: one meeting a line, tab-separated: unix time, person, person, group, group."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

#: Longest name of a person or a group, in characters.
LONGEST = 50


class TraceError(ValueError):
    """The file can't be played; the message names the line and says what is expected there."""


class Meeting(NamedTuple):
    """One row: who met whom, when (seconds since 1970), and which groups the two are of."""

    line: int
    at: int
    first: str
    second: str
    first_group: str
    second_group: str


def parse(lines: Iterable[bytes]) -> Iterator[Meeting]:
    """The meetings of a file's lines, one at a time; empty lines are passed over, further columns ignored.

    Raises:
        TraceError: at the first line that is none.
    """
    for number, raw in enumerate(lines, 1):
        try:
            text = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise TraceError(f"line {number}: not UTF-8 text") from None
        if text.strip():
            yield _meeting(number, text.split("\t"))


def _meeting(number: int, columns: list[str]) -> Meeting:
    if len(columns) < 5:
        raise TraceError(
            f"line {number}: {len(columns)} column{'s' * (len(columns) != 1)} where five are expected, "
            "separated by tabs: unix time, person, person, group, group"
        )
    time, *names = (column.strip() for column in columns[:5])
    if not (time.isascii() and time.isdigit()):
        raise TraceError(f"line {number}: the time is {time[:LONGEST]!r}: expected whole seconds since 1970")
    for name in names:
        if not 1 <= len(name) <= LONGEST or not name.isprintable():
            raise TraceError(
                f"line {number}: {name[:LONGEST]!r} names no person or group: expected 1 to {LONGEST} characters"
            )
    first, second, first_group, second_group = names
    if first == second:
        raise TraceError(f"line {number}: {first} meets themselves: expected two people")
    return Meeting(number, int(time), first, second, first_group, second_group)


def read(path: Path, limit: int | None = None) -> Iterator[Meeting]:
    """The first `limit` meetings of a file (all of them for None), read as they are needed.

    Raises:
        TraceError: a line is no meeting, or the file can't be read.
    """
    try:
        with path.open("rb") as file:
            yield from islice(parse(file), limit)
    except OSError as error:
        raise TraceError(f"can't be read: {error.strerror}") from None
