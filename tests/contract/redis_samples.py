"""Updates to project in tests, and everything that can be read of them."""

from typing import Any

import msgspec

from devconnect.adapters.redis.reads import RedisReads
from devconnect.domain.feed import ListUser
from devconnect.domain.projections import (
    AddNotification,
    AppendMessage,
    PutRelation,
    PutSession,
    PutUser,
)
from devconnect.events.base import pair_id
from devconnect.events.facts import Profile
from devconnect.ports.reads import Page
from tests.contract.redis_fixtures import NOW

PEOPLE = ("ada", "bob", "cyd")
PAIRS = tuple(pair_id(one, other) for one, other in (("ada", "bob"), ("ada", "cyd"), ("bob", "cyd")))
SESSIONS = tuple(f"{user}-{number}" for user in PEOPLE for number in (1, 2))
STATES: tuple[Any, ...] = ("requested", "ignored", "accepted", "rejected", "removed")
FAR = 4_000_000_000_000


def signed_up(user: str, seq: int = 256, at: int = NOW) -> list[PutUser | ListUser]:
    """The two updates of a sign-up."""
    skills = ("python", "Zürich")
    profile = msgspec.json.encode(Profile(name=user.title(), skills=skills)).decode()
    fields = {"email": f"{user}@x", "tier": "free", "role": "member", "created_at": str(at), "profile": profile}
    return [PutUser(user, seq, fields), ListUser(user, skills, at, seq)]


def session(name: str, expires_at: int = FAR, seq: int = 512) -> PutSession:
    """The session of a name such as ada-1."""
    return PutSession(name, name.partition("-")[0], expires_at, seq)


def relation(user: str, other: str, state: Any, seq: int, *, by: str = "", at: int = 0) -> PutRelation:
    """What `user` sees."""
    return PutRelation(user, other, state, by or other, at or NOW + seq, seq)


def message(number: int, previous: int | None = None, conversation: str = "ada.bob") -> AppendMessage:
    """The message at 256 times its number, after the one before it."""
    before = number - 1 if previous is None else previous
    return AppendMessage(
        conversation=conversation,
        seq=256 * number,
        previous=256 * before,
        message=f"m{number}",
        sender="ada",
        recipient="bob",
        text=f"Grüße, {number}|{{}}",
        at=NOW + number,
    )


def notification(number: int, user: str = "ada") -> AddNotification:
    """A notification; ids sort by number."""
    return AddNotification(user, notification_id(number), "message_received", {"user": "bob"}, NOW + number)


def notification_id(number: int) -> str:
    """As domain.notifications makes them."""
    return f"{NOW + number:013d}-c{number}.0"


async def pages(read: Any, limit: int = 2) -> list[Any] | None:
    """The items of all pages together; None where a page isn't known."""
    items: list[Any] = []
    cursor: str | None = None
    while True:
        page: Page[Any] | None = await read(cursor, limit)
        if page is None:
            return [*items, None] if items else None
        assert len(page.items) <= limit
        items += page.items
        if page.next is None:
            return items
        cursor = page.next


async def everything(reads: RedisReads, now: int = NOW) -> dict[str, Any]:
    """All that can be read of the people above."""
    found: dict[str, Any] = {"users": await reads.users(PEOPLE), "presence": await reads.presence(PEOPLE, now)}
    for name in SESSIONS:
        found[f"session {name}"] = await reads.session(name, "ada")
    for user in PEOPLE:
        found[f"feed {user}"] = await pages(
            lambda cursor, limit, user=user: reads.feed(user, cursor, limit, ("python",))
        )
        found[f"notifications {user}"] = await pages(
            lambda cursor, limit, user=user: reads.notifications(user, cursor, limit)
        )
        found[f"unread {user}"] = await reads.unread_notifications(user)
        for state in STATES:
            for others in (False, True):
                found[f"{state} {others} {user}"] = await pages(
                    lambda cursor, limit, user=user, state=state, others=others: reads.relations(
                        user, state, cursor, limit, by_others=others
                    )
                )
    for pair in PAIRS:
        found[f"history {pair}"] = await pages(lambda cursor, limit, pair=pair: reads.history(pair, cursor, limit))
        found[f"positions {pair}"] = await reads.positions(pair)
    return found
