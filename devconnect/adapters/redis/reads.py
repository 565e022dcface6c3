"""ports.reads on Redis: each answer in one round trip, the feed's in a few; None for what isn't wholly here."""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from devconnect.adapters.redis import cursors, keys, lua, talks
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.adapters.redis.members import previous_of, view_of
from devconnect.adapters.redis.table_reads import read_table
from devconnect.domain import presence
from devconnect.domain.model import RelationState
from devconnect.domain.projections import AddNotification
from devconnect.events.facts import Privacy, Profile
from devconnect.ports.reads import (
    ConversationView,
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

#: A page of the feed looks at so many people at most: it may be short, and still have a next one.
FEED_SCAN = 5_000
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
    "deleted",
)
_SESSION_FIELDS = ("user", "expires_at", "ended", "ends_at", "role")
_NOTIFICATION = msgspec.json.Decoder(AddNotification)
_STATES: dict[str, RelationState] = {state: state for state in get_args(RelationState)}
_PROFILE = msgspec.json.Decoder(Profile)
_PRIVACY = msgspec.json.Decoder(Privacy)
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
        login: Command = ("HMGET", keys.session(session), *_SESSION_FIELDS)
        sure = lua.SESSIONS_KNOWN([keys.session(session)])
        epoch, witness, found, account = await run(self._client, [_EPOCH, sure, login, _user_command(user)])
        view = _session_view(session, found)
        if epoch is None or witness is None:
            # What was projected of it may be older than its end. That it has ended stays true.
            return view if view is not None and view.ended else None, None
        return view, _user_view(user, account)

    async def users(self, ids: Sequence[str]) -> list[UserView | None]:
        """The users, in the order asked for."""
        epoch, *found = await run(self._client, [_EPOCH, *map(_user_command, ids)])
        if epoch is None:
            return [None] * len(ids)
        return [_user_view(user, fields) for user, fields in zip(ids, found, strict=True)]

    async def feed(self, user: str, cursor: str | None, limit: int) -> Page[str] | None:
        """Ids of people, newest first, without the user and whoever anything is, or was, between them and the user.

        A page may be shorter than `limit`, even empty, and have a next one, when most of the newest are known.
        """
        cursors.check_limit(limit)
        after = None if cursor is None else cursors.decode(cursor, cursors.DATED)
        found: list[str] = []
        scanned, block = 0, max(100, 2 * limit)
        while scanned < FEED_SCAN:
            candidates = await self._joined(after, block)
            if candidates is None:
                return None
            found += await self._strangers(user, candidates)
            if len(found) > limit:
                return _feed_page(found[:limit], found[limit - 1])
            if len(candidates) < block:
                return _feed_page(found, None)
            after, scanned = candidates[-1], scanned + block
            block = min(2 * block, FEED_SCAN)
        return _feed_page(found, after)

    async def _joined(self, after: str | None, count: int) -> list[str] | None:
        """Places in the feed that follow `after`."""
        epoch, found = await run(self._client, [_EPOCH, _newest(keys.FEED, "-", _below(after), count)])
        return None if epoch is None else found

    async def _strangers(self, user: str, places: Sequence[str]) -> list[str]:
        if not places:
            return []
        ids = [_name(place) for place in places]
        (known,) = await run(self._client, [("HMGET", keys.relations(user), *ids)])
        pairs = zip(places, ids, known, strict=True)
        return [place for place, other, relation in pairs if relation is None and other != user]

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
        if forward:
            return await talks.read_forward(self._client, conversation, cursor, limit)
        cursors.check_limit(limit)
        top = "+inf" if cursor is None else f"({int(cursors.decode(cursor, cursors.MESSAGE))}"
        key = keys.messages(conversation)
        page: Command = ("ZREVRANGEBYSCORE", key, top, "-inf", "LIMIT", 0, limit)
        epoch, found, oldest = await run(self._client, [_EPOCH, page, ("ZRANGE", key, 0, 0)])
        if epoch is None or not oldest:
            return None
        # Each message names the one before it: 0 is the beginning, and a page that is full needs nothing beyond it.
        before = previous_of(found[-1] if found else oldest[0])
        if before and len(found) < limit:
            return None
        views = tuple(map(view_of, found))
        if not views:
            return Page(())
        return Page(views, next=talks.place_in(views[-1]) if before else None, previous=talks.place_in(views[0]))

    async def positions(self, conversation: str) -> list[PositionView] | None:
        """How far each of the two has got; None for a conversation of which nothing is held."""
        epoch, fields = await run(self._client, [_EPOCH, ("HGETALL", keys.positions(conversation))])
        if epoch is None or not fields:
            return None
        return talks.position_views(conversation, fields)

    async def presence(self, ids: Sequence[str], now: int) -> list[PresenceView]:
        """Who is here, in the order asked for. Who was never heard of is not."""
        found = await run(self._client, [("HGETALL", keys.presence(user)) for user in ids])
        return [_presence_view(user, fields, now) for user, fields in zip(ids, found, strict=True)]

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
        ]
        epoch, members, new, held = await run(self._client, commands)
        if epoch is None or (len(members) <= limit and held >= keys.NOTIFICATIONS_KEPT):
            return None
        items = [_NOTIFICATION.decode(member.partition("|")[2]) for member in members[:limit]]
        views = tuple(_notification_view(item, read=item.notification not in new) for item in items)
        return Page(views, cursors.encode(items[-1].notification) if len(members) > limit else None)

    async def unread_notifications(self, user: str) -> int | None:
        """How many are not read, of the newest five thousand."""
        epoch, count = await run(self._client, [_EPOCH, ("ZCARD", keys.unread(user))])
        return None if epoch is None else int(count)

    async def table(self, name: str, cursor: str | None, limit: int) -> Page[dict[str, str | int]] | None:
        """Rows of an analytics table's view, each once; None for a table of which nothing was published (yet, or since
        Redis was wiped), and while a part of it is put in for the first time.

        A "distinct" table is sorted by window, a "sum" table within each of its buckets.
        """
        cursors.check_limit(limit)
        return await read_table(self._client, name, cursor, limit)


def _newest(key: str, low: str, top: str, count: int) -> Command:
    return ("ZREVRANGEBYLEX", key, top, low, "LIMIT", 0, count)


def _below(place: str | None) -> str:
    return "+" if place is None else f"({place}"


def _name(place: str) -> str:
    return place.partition(":")[2]


def _feed_page(places: Sequence[str], last: str | None) -> Page[str]:
    return Page(tuple(map(_name, places)), None if last is None else cursors.encode(last))


def _user_command(user: str) -> Command:
    return ("HMGET", keys.user(user), *_USER_FIELDS)


def _user_view(user: str, fields: Sequence[Any]) -> UserView | None:
    """None also for a user of whom only a part has come yet."""
    *known, deleted = fields
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
        deleted=deleted == "1",
    )


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


def _presence_view(user: str, fields: dict[str, str], now: int) -> PresenceView:
    devices = {name: int(value.partition(":")[0]) for name, value in fields.items() if name.startswith("d:")}
    seen = presence.last_seen(devices, int(fields.get("seen", 0)), now)
    return PresenceView(user=user, online=presence.is_online(devices, now), last_seen=seen)


def _notification_view(item: AddNotification, *, read: bool) -> NotificationView:
    return NotificationView(id=item.notification, kind=item.kind, about=item.about, at=item.at, read=read)
