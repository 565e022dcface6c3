"""ports.projections.Projections on Redis: an update is one script call, a batch one round trip (the feed: three)."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from devconnect.adapters.redis import feed, history, keys, lua, lua_presence
from devconnect.adapters.redis.calls import Client, Command, Witness, run, run_all
from devconnect.adapters.redis.gathering import PutTalks, PutUnreads, gathered
from devconnect.domain.feed import FeedUpdate, HideUser, ListUser, TouchUser, UnlistUser
from devconnect.domain.model import UNREAD_KEPT
from devconnect.domain.projections import (
    AddNotification,
    AppendMessage,
    DelUser,
    EndSession,
    MarkNotificationsRead,
    MarkNotificationsSeen,
    MovePosition,
    MoveSession,
    PutRelation,
    PutSession,
    PutUser,
    ReplaceMessage,
    SetAudience,
    SetPresence,
    Update,
)
from devconnect.events.base import new_id
from devconnect.ports.projections import Mark
from devconnect.ports.truth import UnavailableError


class RedisProjections:
    """Keeps what people read. Every update moves forward only; all of them can be repeated.

    While `declare_complete` hasn't been called on this Redis, readers take nothing here for the whole truth, but that a
    session is over: call it once all events there were have been applied. A Redis that was wiped forgets it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._mark = ""
        self._since: Witness | None = None

    async def apply(self, updates: Sequence[Update | FeedUpdate]) -> None:
        """Apply the updates in order; truth.UnavailableError when that can't be done now."""
        found = gathered(updates)
        answers = await run_all(self._client, [_COMMANDS[type(update)](update) for update in found])
        await feed.carry_out(self._client, found, answers)

    async def applied(self, topic: str, marks: Mapping[int, Mark]) -> None:
        """Say how far each partition of the topic is applied; truth.UnavailableError when that can't be said now."""
        moves = [number for partition, mark in marks.items() for number in (partition, mark.seq, mark.at)]
        await run(self._client, [lua.MOVE_APPLIED([keys.applied(topic)], *moves)])

    async def complete(self) -> bool:
        """Whether that was said, and this Redis not wiped since; truth.UnavailableError when it can't be known."""
        (self._mark,) = await run(self._client, [lua.LOOK([keys.EPOCH, keys.BUILDING], new_id())])
        return not self._mark

    async def declare_complete(self) -> None:
        """From here on readers may believe what is here; truth.UnavailableError when that can't be said now.

        Nor can it when Redis was wiped since `complete` last gave False: what was applied before that is gone.
        """
        now = time.time_ns() // 1_000_000
        (done,) = await run(self._client, [lua.COMPLETE([keys.EPOCH, keys.BUILDING], self._mark, now)])
        if not done:
            raise UnavailableError("Redis was wiped while the read models were built: build them again")
        await lua.SESSIONS_KNOWN.tell(self._client)

    async def sessions_known(self) -> bool:
        """Whether each server has been there since that was said; truth.UnavailableError when it can't be known."""
        if await lua.SESSIONS_KNOWN.known(self._client):
            return True
        self._since = Witness(new_id())
        await self._since.tell(self._client)
        return False

    async def declare_sessions_known(self) -> None:
        """From here on readers may believe that a session is open; truth.UnavailableError when that can't be said now.

        Nor can it when a server was started or replaced since `sessions_known` last gave False.
        """
        if self._since is not None and not await self._since.known(self._client):
            raise UnavailableError("Redis was started anew while log-outs were repeated: repeat them again")
        await lua.SESSIONS_KNOWN.tell(self._client)


def _put_user(update: PutUser) -> Command:
    fields = [text for item in update.fields.items() for text in item]
    return lua.PUT_USER([keys.user(update.user)], update.seq, *fields)


def _del_user(update: DelUser) -> Command:
    fields = [text for item in update.fields.items() for text in item]
    presence = [keys.presence(update.user), keys.online(update.user)]
    gone = [*presence, keys.seen(update.user), *_inbox(update.user)]
    return lua.PUT_USER([keys.user(update.user), *gone], update.seq, *fields)


def _put_session(update: PutSession) -> Command:
    return lua.PUT_SESSION(
        [keys.session(update.session)],
        update.seq,
        update.user,
        update.expires_at,
        _ms(keys.TOMBSTONE_TTL),
        update.role,
        update.ends_at,
    )


def _move_session(update: MoveSession) -> Command:
    kept = _ms(keys.TOMBSTONE_TTL)
    return lua.PUT_SESSION([keys.session(update.session)], update.seq, update.user, update.expires_at, kept)


def _end_session(update: EndSession) -> Command:
    return lua.END_SESSION([keys.session(update.session)], update.user, _ms(keys.TOMBSTONE_TTL))


def _set_presence(update: SetPresence) -> Command:
    kept = _ms(keys.DEVICE_KEPT)
    own, channel = keys.here(update.user), keys.watched(update.user)
    return lua_presence.SET_PRESENCE(own, update.session, update.until, update.at, update.seq, kept, channel)


def _set_audience(update: SetAudience) -> Command:
    own = [keys.presence(update.user), keys.online(update.user)]
    return lua_presence.SET_AUDIENCE(own, update.audience[0], update.seq, keys.watched(update.user))


def _put_relation(update: PutRelation) -> Command:
    who = "s" if update.by == update.user else "o"
    listed = [keys.relations(update.user), keys.relations_listed(update.user)]
    at, channel = f"{update.at:013d}", keys.watched(update.user)
    return lua.PUT_RELATION(listed, update.other, update.seq, update.state, who, at, channel)


def _append_message(update: AppendMessage) -> Command:
    kept, ttl = keys.MESSAGES_KEPT, _ms(keys.MESSAGES_TTL)
    return lua.APPEND_MESSAGE(
        _tail(update.conversation), update.seq, update.previous, history.encode(update), kept, ttl
    )


def _replace_message(update: ReplaceMessage) -> Command:
    message, kept, ttl = update.message, keys.MESSAGES_KEPT, _ms(keys.MESSAGES_TTL)
    return lua.REPLACE_MESSAGE(_tail(message.conversation), message.seq, update.seq, history.encode(message), kept, ttl)


def _tail(conversation: str) -> list[str]:
    return [keys.messages(conversation), keys.positions(conversation), keys.changes(conversation)]


def _move_position(update: MovePosition) -> Command:
    read_by = _unread(update.conversation, update.user)
    return lua.MOVE_POSITION(read_by, update.user, update.delivered, update.read)


def _put_unreads(update: PutUnreads) -> Command:
    places = [number for place, gone in update.places for number in (place, int(gone))]
    return lua.PUT_UNREAD(_unread(update.conversation, update.user), update.user, UNREAD_KEPT, *places)


def _unread(conversation: str, user: str) -> list[str]:
    unread, gone = keys.unread_messages(conversation, user), keys.gone_messages(conversation, user)
    return [keys.positions(conversation), unread, gone]


def _put_talks(update: PutTalks) -> Command:
    scored = [each for peer, at in update.peers.items() for each in (at, peer)]
    return ("ZADD", keys.conversations(update.user), "GT", *scored)


def _add_notification(update: AddNotification) -> Command:
    member = f"{update.notification}|{msgspec.json.encode(update).decode()}"
    own = [*_inbox(update.user), keys.user(update.user)]
    return lua.ADD_NOTIFICATION(own, update.notification, member, keys.NOTIFICATIONS_KEPT, keys.UNREAD_KEPT)


def _mark_read(update: MarkNotificationsRead) -> Command:
    kept, ttl = keys.MARKS_KEPT, _ms(keys.MARKS_TTL)
    return lua.MARK_READ(_inbox(update.user), update.at, kept, ttl, *update.notifications)


def _mark_seen(update: MarkNotificationsSeen) -> Command:
    return lua.MARK_SEEN([keys.seen(update.user), keys.user(update.user)], update.up_to)


def _inbox(user: str) -> list[str]:
    return [keys.notifications(user), keys.unread(user), keys.marks(user)]


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


_COMMANDS: dict[type, Callable[[Any], Command]] = {
    PutUser: _put_user,
    ListUser: feed.place,
    TouchUser: feed.place,
    HideUser: feed.place,
    UnlistUser: feed.place,
    DelUser: _del_user,
    PutSession: _put_session,
    MoveSession: _move_session,
    EndSession: _end_session,
    SetPresence: _set_presence,
    SetAudience: _set_audience,
    PutRelation: _put_relation,
    AppendMessage: _append_message,
    ReplaceMessage: _replace_message,
    PutUnreads: _put_unreads,
    PutTalks: _put_talks,
    MovePosition: _move_position,
    AddNotification: _add_notification,
    MarkNotificationsRead: _mark_read,
    MarkNotificationsSeen: _mark_seen,
}
