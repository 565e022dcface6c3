"""ports.reads on Redis: each answer in one round trip, the feed's in a few; None for what isn't wholly here."""

from collections.abc import Coroutine, Sequence
from functools import lru_cache
from typing import Any, get_args

import msgspec

from devconnect.adapters.redis import cursors, history, keys, lua, presence, talks
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.adapters.redis.feed_reads import read_feed
from devconnect.adapters.redis.table_reads import read_table
from devconnect.domain.model import RelationState
from devconnect.domain.projections import AddNotification
from devconnect.events.facts import NotificationPreferences, Privacy, Profile
from devconnect.ports.reads import (
    ConversationView,
    HistoryPage,
    MessageView,
    NotificationView,
    Page,
    PositionView,
    PresenceView,
    RelationView,
    SessionView,
    Source,
    UserView,
    no_relation,
)

_USER_FIELDS = (
    "email",
    "tier",
    "role",
    "created_at",
    "profile",
    "seq",
    "updated_at",
    "email_verified",
    "privacy",
    "notification_preferences",
    "deleted",
)
_SESSION_FIELDS = ("user", "expires_at", "ended", "ends_at", "role")
_NOTIFICATION = msgspec.json.Decoder(AddNotification)
_STATES: dict[str, RelationState] = {state: state for state in get_args(RelationState)}
_PROFILE = msgspec.json.Decoder(Profile)
_PRIVACY = msgspec.json.Decoder(Privacy)
_PREFERENCES = msgspec.json.Decoder(NotificationPreferences)
_EPOCH: Command = ("GET", keys.EPOCH)


class RedisReads:
    """The read models as the projections keep them.

    Without the mark that they are complete (Redis is new, or was wiped) nothing is known but presence, that a session
    is over, and the tables, which have marks of their own. Methods raise truth.UnavailableError, and ValueError for a
    bad cursor or limit, as ports.reads says.
    """

    source: Source = "cache"

    def __init__(self, client: Client) -> None:
        self._client = client

    async def session(self, session: str, user: str) -> tuple[SessionView | None, UserView | None]:
        """The session and the user, in one round trip; None for what isn't known here.

        A server that was started a moment ago may have missed the end of a session: it is believed in nothing but ends.
        """
        return session_views(session, user, await run(self._client, session_commands(session, user)))

    def remembered(self, session: str, user: str) -> tuple[SessionView, UserView] | None:
        """None: nothing is kept here."""
        return None

    async def users(self, ids: Sequence[str]) -> list[UserView | None]:
        """The users, in the order asked for."""
        epoch, *found = await run(self._client, [_EPOCH, *map(_user_command, ids)])
        if epoch is None:
            return [None] * len(ids)
        return [_user_view(user, fields) for user, fields in zip(ids, found, strict=True)]

    async def feed(self, user: str, cursor: str | None, limit: int, skills: Sequence[str] = ()) -> Page[str] | None:
        """Ids of people to meet, ranked; None also for a cursor that the database gave: it goes on there."""
        cursors.check_limit(limit)
        return await read_feed(self._client, user, cursor, limit, skills)

    async def relations(
        self,
        user: str,
        state: RelationState,
        cursor: str | None,
        limit: int,
        *,
        by_others: bool = False,
        by_me: bool = False,
    ) -> Page[RelationView] | None:
        """What stands in this state between the user and others, newest first; of one side only, where that is said."""
        cursors.check_limit(limit)
        prefix = f"{state}|{'others' if by_others else 'own' if by_me else 'all'}|"
        top = "~" if cursor is None else cursors.decode(cursor, cursors.DATED)
        listed = _newest(keys.relations_listed(user), f"[{prefix}", f"({prefix}{top}|", limit + 1)
        epoch, members = await run(self._client, [_EPOCH, listed])
        if epoch is None:
            return None
        places = [member.removeprefix(prefix) for member in members]
        views = tuple(_relation_view(user, state, place) for place in places[:limit])
        return Page(views, cursors.encode(places[limit - 1].rpartition("|")[0]) if len(places) > limit else None)

    async def relations_to(self, user: str, others: Sequence[str]) -> list[RelationView] | None:
        """What is between the user and each of these, in the order asked for."""
        if not others:
            return []
        epoch, found = await run(self._client, [_EPOCH, ("HMGET", keys.relations(user), *others)])
        if epoch is None:
            return None
        return [_relation(user, other, stored) for other, stored in zip(others, found, strict=True)]

    async def relation(self, user: str, other: str) -> RelationView | None:
        """What is between the two as `user` has it; None where it isn't known here."""
        found = await self.relations_to(user, [other])
        return None if found is None else found[0]

    async def conversations(self, user: str, cursor: str | None, limit: int) -> Page[ConversationView] | None:
        """The user's conversations; None for a page of which not each is held to its last message."""
        return await talks.read_conversations(self._client, user, cursor, limit)

    async def conversation(self, user: str, peer: str) -> ConversationView | None:
        """The user's conversation with a peer; None where it isn't held to its last message."""
        found = await talks.read_talks(self._client, user, [peer])
        return None if found is None else found[0]

    async def history(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> Page[MessageView] | None:
        """Messages, newest or oldest first; None for a page that isn't wholly in what is held of the conversation."""
        return await history.read(self._client, conversation, cursor, limit, forward=forward)

    def history_json(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> Coroutine[Any, Any, HistoryPage | None]:
        """The same as it is sent, with the positions."""
        return history.read_json(self._client, conversation, cursor, limit, forward=forward)

    async def positions(self, conversation: str) -> list[PositionView] | None:
        """How far each of the two has got; None for a conversation of which nothing is held."""
        epoch, fields = await run(self._client, [_EPOCH, ("HGETALL", keys.positions(conversation))])
        return None if epoch is None else history.positions(conversation, fields) or None

    async def presence(self, ids: Sequence[str], now: int, reader: str | None = None) -> list[PresenceView]:
        """Who is here, in the order asked for. Who was never heard of is not."""
        return await presence.read(self._client, ids, now, reader) if ids else []

    async def notifications(self, user: str, cursor: str | None, limit: int) -> Page[NotificationView] | None:
        """Notifications, newest first; None for a page that reaches beyond the ones that are held."""
        cursors.check_limit(limit)
        after = None if cursor is None else cursors.decode(cursor, cursors.NOTIFICATION)
        key, unread = keys.notifications(user), keys.unread(user)
        # The unread ones of the page are among as many of all that follow the cursor.
        commands = [
            _EPOCH,
            _newest(key, "-", _below(after and f"{after}|"), limit + 1),
            _newest(unread, "-", _below(after), limit),
            ("ZCARD", key),
            ("ZRANGE", keys.seen(user), 0, 0),
        ]
        epoch, members, new, held, seen = await run(self._client, commands)
        if epoch is None or (len(members) <= limit and held >= keys.NOTIFICATIONS_KEPT):
            return None
        items = [_NOTIFICATION.decode(member.partition("|")[2]) for member in members[:limit]]
        last = seen[0] if seen else ""
        views = tuple(_notification_view(item, read=item.notification not in new, last_seen=last) for item in items)
        return Page(views, cursors.encode(items[-1].notification) if len(members) > limit else None)

    async def unread_notifications(self, user: str) -> int | None:
        """How many are not read, of the newest five thousand."""
        epoch, count = await run(self._client, [_EPOCH, ("ZCARD", keys.unread(user))])
        return None if epoch is None else int(count)

    async def unseen_notifications(self, user: str) -> int | None:
        """How many were not seen, of the newest five thousand that are not read."""
        epoch, count = await run(self._client, [_EPOCH, lua.COUNT_UNSEEN([keys.unread(user), keys.seen(user)])])
        return None if epoch is None else int(count)

    async def table(self, name: str, cursor: str | None, limit: int) -> Page[dict[str, str | int]] | None:
        """Rows of an analytics table's view, each once; None for a table of which nothing was published (yet, or since
        Redis was wiped), and while a part of it is put in for the first time.

        A "distinct" table is sorted by window, a "sum" table within each of its buckets.
        """
        cursors.check_limit(limit)
        return await read_table(self._client, name, cursor, limit)


def session_commands(session: str, user: str) -> list[Command]:
    """What is asked to know a session and its user; `session_views` understands the answers."""
    login: Command = ("HMGET", keys.session(session), *_SESSION_FIELDS)
    return [_EPOCH, lua.SESSIONS_KNOWN([keys.session(session)]), login, _user_command(user)]


def session_views(session: str, user: str, answers: Sequence[Any]) -> tuple[SessionView | None, UserView | None]:
    """What may be believed: only ends, and nobody's account, unless all is known to be here."""
    epoch, witness, found, account = answers
    view = _session_view(session, found)
    if epoch is None or witness is None:
        # What was projected of it may be older than its end. That it has ended stays true.
        return view if view is not None and view.ended else None, None
    return view, _user_view(user, account)


def _newest(key: str, low: str, top: str, count: int) -> Command:
    return ("ZREVRANGEBYLEX", key, top, low, "LIMIT", 0, count)


def _below(place: str | None) -> str:
    return "+" if place is None else f"({place}"


def _user_command(user: str) -> Command:
    return ("HMGET", keys.user(user), *_USER_FIELDS)


def _user_view(user: str, fields: Sequence[Any]) -> UserView | None:
    """None also for a user of whom only a part has come yet."""
    *known, preferences, deleted = fields
    if None in known:
        return None
    email, tier, role, created_at, profile, seq, updated_at, verified, privacy = known
    return UserView(
        id=user,
        email=email,
        profile=_PROFILE.decode(profile),
        tier=tier,
        role=role,
        created_at=int(created_at),
        seq=int(seq),
        updated_at=int(updated_at),
        email_verified=verified == "1",
        privacy=_PRIVACY.decode(privacy),
        notification_preferences=_preferences(preferences),
        deleted=deleted == "1",
    )


@lru_cache(maxsize=512)
def _preferences(text: str | None) -> NotificationPreferences:
    """None, for accounts that were projected before there were any, is what those have who never said anything."""
    return NotificationPreferences() if text is None else _PREFERENCES.decode(text)


def _session_view(session: str, fields: Sequence[Any]) -> SessionView | None:
    """None also for an open session of which only its renewal has come yet."""
    user, expires_at, ended, ends_at, role = fields
    if user is None or (ended is None and role is None):
        return None
    return SessionView(
        id=session,
        user=user,
        expires_at=int(expires_at or 0),
        ended=ended is not None,
        ends_at=int(ends_at or 0),
        role=role or "member",
    )


def _relation(user: str, other: str, stored: str | None) -> RelationView:
    if stored is None:
        return no_relation(other)
    _, state, who, at = stored.split("|")
    known: RelationState = _STATES[state]
    return RelationView(user=other, state=known, by=user if who == "s" else other, at=int(at))


def _relation_view(user: str, state: RelationState, place: str) -> RelationView:
    dated, _, who = place.rpartition("|")
    at, _, other = dated.partition(":")
    return RelationView(user=other, state=state, by=user if who == "s" else other, at=int(at))


def _notification_view(item: AddNotification, *, read: bool, last_seen: str) -> NotificationView:
    seen = read or item.notification <= last_seen
    return NotificationView(id=item.notification, kind=item.kind, about=item.about, at=item.at, read=read, seen=seen)
