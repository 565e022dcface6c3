"""People to meet: what changes in the index of them, when somebody counts as active, and who is shown first."""

import zlib
from collections.abc import Collection, Iterable

from msgspec import Struct

DAY_MS = 86_400_000
#: People of one millisecond are told apart by so many parts of it; a double has room for no more.
_PARTS = 1_024


class ListUser(Struct, frozen=True):
    """The user can be found, by these skills, and was here at `at`."""

    user: str
    skills: tuple[str, ...]
    at: int
    seq: int


class TouchUser(Struct, frozen=True):
    """The user was here at `at`."""

    user: str
    at: int


class HideUser(Struct, frozen=True):
    """From `seq` on the user is not to be found, or is again."""

    user: str
    hidden: bool
    seq: int


class UnlistUser(Struct, frozen=True):
    """The account is gone: the user is not to be found, for good."""

    user: str
    seq: int


FeedUpdate = ListUser | TouchUser | HideUser | UnlistUser


def activity(at: int, user: str) -> float:
    """When somebody was active, as the index sorts by it: `at`, and a part of a millisecond that is the user's own.

    So hardly any two people are in the same place, however many come at once, and nobody is first by their id.
    """
    return at + zlib.crc32(user.encode()) % _PARTS / _PARTS


class Candidate(Struct, frozen=True):
    """Somebody who may be shown, when they were active, and their skills."""

    user: str
    active: float
    skills: tuple[str, ...]


def ranked(skills: Collection[str], candidates: Iterable[Candidate]) -> list[str]:
    """Who shares most of the skills comes first, of those who was active last, then by id; not who shares none."""
    mine = frozenset(skills)
    places = ((-len(mine.intersection(each.skills)), -each.active, each.user) for each in candidates)
    return [user for shared, _, user in sorted(places) if shared]
