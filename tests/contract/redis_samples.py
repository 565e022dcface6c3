"""Updates to project in tests, and everything that can be read of them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.domain import account_fields
from devconnect.domain.feed import ListUser
from devconnect.domain.projections import (
    AddNotification,
    AppendMessage,
    DelUser,
    MoveSession,
    PutRelation,
    PutSession,
    PutTalk,
    PutUnread,
    PutUser,
    ReplaceMessage,
    Update,
)
from devconnect.events.base import other_of, pair_id, pair_of
from devconnect.events.facts import Profile, UserDeleted, UserSignedUp
from devconnect.ports.reads import Page, SessionView
from tests.contract.redis_fixtures import NOW

PEOPLE = ("ada", "bob", "cyd")
PAIRS = tuple(pair_id(one, other) for one, other in (("ada", "bob"), ("ada", "cyd"), ("bob", "cyd")))
SESSIONS = tuple(f"{user}-{number}" for user in PEOPLE for number in (1, 2))
STATES: tuple[Any, ...] = ("requested", "ignored", "accepted", "rejected", "removed", "blocked", "barred")
FAR = 4_000_000_000_000


async def complete(client: Client, updates: Sequence[Any] = ()) -> RedisReads:
    """Readers of a Redis in which these updates are all there is."""
    projections = RedisProjections(client)
    await projections.apply(updates)
    await projections.declare_complete()
    return RedisReads(client)


def signed_up(user: str, seq: int = 256, at: int = NOW) -> list[PutUser | ListUser]:
    """The two updates of a sign-up."""
    skills = ("python", "Zürich")
    profile = Profile(name=user.title(), skills=skills)
    event = UserSignedUp(
        id="c1.0", seq=seq, at=at, user=user, email=f"{user}@x", profile=profile, tier="free", role="member"
    )
    return [PutUser(user, seq, account_fields.opened(event)), ListUser(user, skills, at, seq)]


def left(user: str, seq: int, at: int = NOW) -> DelUser:
    """The update of somebody who has closed their account."""
    return DelUser(user, seq, account_fields.closed(UserDeleted(id="c2.0", seq=seq, at=at, user=user, email="")))


def session(name: str, expires_at: int = FAR, seq: int = 512, *, ends_at: int = FAR) -> PutSession:
    """The session of a name such as ada-1."""
    return PutSession(name, name.partition("-")[0], expires_at, ends_at, "analyst", seq)


def renewed(name: str, expires_at: int, seq: int) -> MoveSession:
    """It goes on."""
    return MoveSession(name, name.partition("-")[0], expires_at, seq)


def session_view(name: str, expires_at: int = FAR, *, ended: bool = False) -> SessionView:
    """What is read of it."""
    user = name.partition("-")[0]
    return SessionView(id=name, user=user, expires_at=expires_at, ended=ended, ends_at=FAR, role="analyst")


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


def said(number: int, previous: int | None = None, conversation: str = "ada.bob", by: str = "ada") -> list[Update]:
    """A message and what comes with it."""
    other = other_of(conversation, by)
    text = msgspec.structs.replace(message(number, previous, conversation), sender=by, recipient=other)
    talks = (PutTalk(by, other, text.at), PutTalk(other, by, text.at))
    return [text, PutUnread(conversation, other, text.seq), *talks]


def edited(number: int, change: int, previous: int | None = None, conversation: str = "ada.bob") -> ReplaceMessage:
    """The message at 256 times its number, as the change at 256 times the other number leaves it."""
    before = message(number, previous, conversation)
    text = f"the {change}th version"
    return ReplaceMessage(msgspec.structs.replace(before, text=text, edited_at=NOW + change), 256 * change)


def deleted(number: int, change: int, previous: int | None = None, conversation: str = "ada.bob") -> list[Update]:
    """The same without its text."""
    before = msgspec.structs.replace(message(number, previous, conversation), text="", deleted=True)
    gone = PutUnread(conversation, pair_of(conversation)[1], before.seq, True)
    return [ReplaceMessage(before, 256 * change), gone]


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
        found[f"relations {user}"] = await reads.relations_to(user, PEOPLE)
        found[f"conversations {user}"] = await pages(
            lambda cursor, limit, user=user: reads.conversations(user, cursor, limit)
        )
        for state in STATES:
            for side in ({}, {"by_others": True}, {"by_me": True}):
                found[f"{state} {side} {user}"] = await pages(
                    lambda cursor, limit, user=user, state=state, side=side: reads.relations(
                        user, state, cursor, limit, **side
                    )
                )
    for pair in PAIRS:
        found[f"history {pair}"] = await pages(lambda cursor, limit, pair=pair: reads.history(pair, cursor, limit))
        found[f"forward {pair}"] = await pages(
            lambda cursor, limit, pair=pair: reads.history(pair, cursor, limit, forward=True)
        )
        found[f"positions {pair}"] = await reads.positions(pair)
    return found
