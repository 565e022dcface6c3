"""People to meet: what changes in the index of them, when somebody counts as active, and who is shown first."""

import zlib
from collections.abc import Collection, Iterable, Mapping

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


def ranked(skills: Iterable[Mapping[str, float]], without: Collection[str]) -> list[str]:
    """Who shares most comes first, of those who was active last, then by id; nobody of `without`.

    `skills` has for each skill of the reader's those who hold it (of those asked about), with their activity.
    """
    shared: dict[str, int] = {}
    active: dict[str, float] = {}
    for holders in skills:
        for user, at in holders.items():
            shared[user] = shared.get(user, 0) + 1
            active[user] = max(at, active.get(user, at))
    left_out = set(without)
    found = [user for user in shared if user not in left_out]
    return sorted(found, key=lambda user: (-shared[user], -active[user], user))
