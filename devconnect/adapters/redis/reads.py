"""ports.reads on Redis: each answer in one round trip, the feed's in a few; None for what isn't wholly here."""

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio.cluster import RedisCluster

from devconnect.adapters.redis import cursors, history, keys, lua
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.adapters.redis.table_reads import read_table
from devconnect.domain.model import ConnectionState
from devconnect.domain.projections import AddNotification
from devconnect.events.facts import Profile
from devconnect.ports.reads import (
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
)

#: A page of the feed looks at so many people at most: it may be short, and still have a next one.
FEED_SCAN = 5_000
_USER_FIELDS = ("email", "tier", "role", "created_at", "profile", "seq")
_NOTIFICATION = msgspec.json.Decoder(AddNotification)
_PROFILE = msgspec.json.Decoder(Profile)
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
        self, user: str, state: ConnectionState, cursor: str | None, limit: int, *, by_others: bool = False
    ) -> Page[RelationView] | None:
        """What stands in this state between the user and others, newest first; `by_others`: only what they did."""
        cursors.check_limit(limit)
        prefix = f"{state}|{'others' if by_others else 'all'}|"
        top = "~" if cursor is None else cursors.decode(cursor, cursors.DATED)
        listed = _newest(keys.relations_listed(user), f"[{prefix}", f"({prefix}{top}|", limit + 1)
        epoch, members = await run(self._client, [_EPOCH, listed])
        if epoch is None:
            return None
        places = [member.removeprefix(prefix) for member in members]
        views = tuple(_relation_view(user, state, place) for place in places[:limit])
        return Page(views, cursors.encode(places[limit - 1].rpartition("|")[0]) if len(places) > limit else None)

    async def history(self, conversation: str, cursor: str | None, limit: int) -> Page[MessageView] | None:
        """Messages, newest first; None for a page that isn't wholly in what is held of the conversation."""
        return await history.read(self._client, conversation, cursor, limit)

    async def history_json(self, conversation: str, cursor: str | None, limit: int) -> HistoryPage | None:
        """The same as it is sent, with the positions."""
        return await history.read_json(self._client, conversation, cursor, limit)

    async def positions(self, conversation: str) -> list[PositionView] | None:
        """How far each of the two has got; None for a conversation of which nothing is held."""
        epoch, fields = await run(self._client, [_EPOCH, ("HGETALL", keys.positions(conversation))])
        return None if epoch is None else history.positions(conversation, fields) or None

    async def presence(self, ids: Sequence[str], now: int) -> list[PresenceView]:
        """Who is here, in the order asked for. Who was never heard of is not."""
        if not ids:
            return []
        names = [keys.online(user) for user in ids]
        if isinstance(self._client, RedisCluster):
            found = await run(self._client, [("GET", name) for name in names])
        else:
            (found,) = await run(self._client, [("MGET", *names)])
        return _presence_views(ids, found, now)

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


def session_commands(session: str, user: str) -> list[Command]:
    """What is asked to know a session and its user; `session_views` understands the answers."""
    login: Command = ("HMGET", keys.session(session), "user", "expires_at", "ended")
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


def _name(place: str) -> str:
    return place.partition(":")[2]


def _feed_page(places: Sequence[str], last: str | None) -> Page[str]:
    return Page(tuple(map(_name, places)), None if last is None else cursors.encode(last))


def _user_command(user: str) -> Command:
    return ("HMGET", keys.user(user), *_USER_FIELDS)


def _user_view(user: str, fields: Sequence[Any]) -> UserView | None:
    """None also for a user of whom only a part has come yet."""
    if None in fields:
        return None
    email, tier, role, created_at, profile, seq = fields
    return UserView(
        id=user,
        email=email,
        profile=_PROFILE.decode(profile),
        tier=tier,
        role=role,
        created_at=int(created_at),
        seq=int(seq),
    )


def _session_view(session: str, fields: Sequence[Any]) -> SessionView | None:
    user, expires_at, ended = fields
    if user is None:
        return None
    return SessionView(id=session, user=user, expires_at=int(expires_at or 0), ended=ended is not None)


def _relation_view(user: str, state: ConnectionState, place: str) -> RelationView:
    dated, _, who = place.rpartition("|")
    at, _, other = dated.partition(":")
    return RelationView(user=other, state=state, by=user if who == "s" else other, at=int(at))


def _presence_views(ids: Sequence[str], found: Sequence[str | None], now: int) -> list[PresenceView]:
    """As domain.presence has it, of the device that is here for longest: written out, since a request does it often."""
    views = []
    for user, online in zip(ids, found, strict=True):
        until, _, seen = (online or "0:0").partition(":")
        if (end := int(until)) > now:
            views.append(PresenceView(user=user, online=True, last_seen=now))
        else:
            views.append(PresenceView(user=user, online=False, last_seen=max(end, int(seen))))
    return views


def _notification_view(item: AddNotification, *, read: bool) -> NotificationView:
    return NotificationView(id=item.notification, kind=item.kind, about=item.about, at=item.at, read=read)
