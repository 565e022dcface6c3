"""ports.reads on MongoDB: what people read where Redis can't be had, and the credentials that log-in checks."""

import asyncio
from collections.abc import Sequence

import msgspec

from devconnect.adapters.mongo import deliveries, layout, relations, talks
from devconnect.adapters.mongo.connect import Database, Fields, reaching
from devconnect.adapters.mongo.paging import check_limit, cursor_of, newest, page, place_of
from devconnect.domain.delivering import Delivery
from devconnect.domain.model import Channels, Login, RelationState
from devconnect.ports.reads import (
    AuditView,
    ConversationView,
    CursorExpiredError,
    HistoryPage,
    MessageView,
    NotificationView,
    Page,
    PositionView,
    PresenceView,
    RelationView,
    ReportView,
    SessionsView,
    SessionView,
    Source,
    UserView,
)

#: A page of the feed reads at most so many blocks of users: it may be short, and still have a next one.
FEED_BLOCKS = 10


class MongoReads:
    """The read models, straight from the truth: nothing is behind here, but nothing is precomputed either.

    Every method ends `within` seconds, with an answer or UnavailableError.
    """

    source: Source = "database"

    def __init__(self, db: Database, *, within: float = 5.0) -> None:
        self._db = db
        self._within = within

    async def credentials(self, email: str) -> tuple[str, str] | None:
        """Whose address this is, and the hash of the password that opens the account."""
        async with reaching(self._within):
            found = await self._db[layout.CREDENTIALS].find_one({"_id": email})
            user: str = found["user"] if found else ""
            # Asked for nobody's too: the time that an answer takes says nothing of the address.
            stored = await self._password(user)
        return None if stored is None else (user, stored)

    async def _password(self, user: str) -> str | None:
        found = await self._db[layout.PASSWORDS].find_one({"_id": user})
        return (found["password_hash"] or None) if found else None

    async def session(self, session: str, user: str) -> tuple[SessionView | None, UserView | None]:
        """The session and the user; None for what isn't there. A session of theirs that isn't open is over."""
        async with reaching(self._within):
            logins, account = await asyncio.gather(
                self._db[layout.LOGINS].find_one({"_id": user}), self._db[layout.USERS].find_one({"_id": user})
            )
        view = _session_view(session, user, logins["sessions"].get(session)) if logins else None
        return view, _user_view(account) if account else None

    async def sessions_of(self, user: str) -> list[SessionsView]:
        """The user's sessions that were not ended, the one used last first."""
        async with reaching(self._within):
            found = await self._db[layout.LOGINS].find_one({"_id": user})
        logins = msgspec.convert(found["sessions"] if found else {}, dict[str, Login])
        by_use = sorted(logins.items(), key=lambda item: (-item[1].used_at, item[0]))
        return [_sessions_view(session, login) for session, login in by_use]

    async def channels_of(self, user: str) -> Channels | None:
        """Where the user is told of things; None where they never said."""
        async with reaching(self._within):
            found = await self._db[layout.CHANNELS].find_one({"_id": user})
        return None if found is None else msgspec.convert({**found, "id": found["_id"]}, Channels, strict=False)

    async def audit(self, user: str, cursor: str | None, limit: int) -> Page[AuditView]:
        """The changes of the user's tier and role, newest first."""
        async with reaching(self._within):
            records, after = await page(self._db, layout.CHANGES, f"{user}:", cursor, limit)
        return Page(tuple(map(_audit_view, records)), after)

    def remembered(self, session: str, user: str) -> None:
        """None: nothing is kept here."""
        return None

    async def users(self, ids: Sequence[str]) -> list[UserView | None]:
        """The users, in the order asked for."""
        async with reaching(self._within):
            found = await self._db[layout.USERS].find({"_id": {"$in": list(ids)}}).to_list(None)
        views = {fields["_id"]: _user_view(fields) for fields in found}
        return [views.get(user) for user in ids]

    async def feed(self, user: str, cursor: str | None, limit: int, skills: Sequence[str] = ()) -> Page[str]:
        """Ids of people, newest first, without the user and whoever anything is, or was, between them and the user.

        Skills don't count here: ranking by them would take looking at everybody. A page may be shorter than `limit`,
        even empty, and have a next one, when most of the newest are known.
        """
        check_limit(limit)
        after = None if cursor is None else _feed_place(cursor)
        block, found = max(100, 2 * limit), list[Fields]()
        async with reaching(self._within):
            for _ in range(FEED_BLOCKS):
                users = await newest(self._db, layout.FEED, "", after, count=block, fields=["created"])
                found += await self._strangers(user, users)
                if len(found) > limit:
                    return _feed_page(found[:limit], found[limit - 1])
                if len(users) < block:
                    return _feed_page(found, None)
                after = users[-1]["created"]
        return _feed_page(found, users[-1])

    async def _strangers(self, user: str, users: Sequence[Fields]) -> list[Fields]:
        ids = [layout.relation_id(user, other["_id"]) for other in users]
        found = await self._db[layout.RELATIONS].find({"_id": {"$in": ids}}, ["_id"]).to_list(None)
        known = {fields["_id"] for fields in found} | {layout.relation_id(user, user)}
        return [other for other in users if layout.relation_id(user, other["_id"]) not in known]

    async def relations(
        self,
        user: str,
        state: RelationState,
        cursor: str | None,
        limit: int,
        *,
        by_others: bool = False,
        by_me: bool = False,
    ) -> Page[RelationView]:
        """What stands in this state between the user and others, newest first; of one side only, where that is said."""
        listing = layout.THEIR_RELATIONS if by_others else layout.OWN_RELATIONS if by_me else layout.ALL_RELATIONS
        async with reaching(self._within):
            return await relations.read_relations(self._db, user, state, cursor, limit, listing=listing)

    async def relations_to(self, user: str, others: Sequence[str]) -> list[RelationView]:
        """What is between the user and each of these, in the order asked for."""
        async with reaching(self._within):
            return await relations.relations_to(self._db, user, others)

    async def relation(self, user: str, other: str) -> RelationView:
        """What is between the two as `user` has it."""
        return (await self.relations_to(user, [other]))[0]

    async def reports(self, cursor: str | None, limit: int, *, open_ones: bool = True) -> Page[ReportView]:
        """Reports that are open, or that are closed, the last made first."""
        async with reaching(self._within):
            return await relations.read_reports(self._db, cursor, limit, open_ones=open_ones)

    async def report(self, report: str) -> ReportView | None:
        """A report by its id."""
        async with reaching(self._within):
            return await relations.read_report(self._db, report)

    async def deliveries(self, user: str, notification: str) -> list[Delivery]:
        """What was decided of telling the user of a notification, by channel."""
        async with reaching(self._within):
            return await deliveries.read_deliveries(self._db, user, notification)

    async def history(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> Page[MessageView]:
        """Messages, newest first, or oldest first."""
        async with reaching(self._within):
            return await talks.read_history(self._db, conversation, cursor, limit, forward=forward)

    async def conversations(self, user: str, cursor: str | None, limit: int) -> Page[ConversationView]:
        """The user's conversations, the one in which something was said last first."""
        async with reaching(self._within):
            return await talks.read_conversations(self._db, user, cursor, limit)

    async def conversation(self, user: str, peer: str) -> ConversationView | None:
        """The user's conversation with a peer, if anything was said."""
        async with reaching(self._within):
            return (await talks.read_talks(self._db, user, [peer]))[0]

    async def search(
        self, user: str, words: Sequence[str], peer: str | None, cursor: str | None, limit: int
    ) -> Page[MessageView]:
        """The user's messages, to and from anybody or one peer, that have all of these words, newest first."""
        async with reaching(self._within):
            return await talks.search(self._db, user, words, cursor, limit, peer=peer)

    async def history_json(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> HistoryPage:
        """The same as it is sent, with the positions."""
        found, positions = await asyncio.gather(
            self.history(conversation, cursor, limit, forward=forward), self.positions(conversation)
        )
        return HistoryPage(msgspec.Raw(msgspec.json.encode(found.items)), found.next, positions, found.previous)

    async def positions(self, conversation: str) -> list[PositionView]:
        """How far each of the two has got; nowhere, where nothing was said yet."""
        async with reaching(self._within):
            return await talks.read_positions(self._db, conversation)

    async def presence(self, ids: Sequence[str], now: int, reader: str | None = None) -> list[PresenceView]:
        """Nobody is here: presence is kept in Redis alone, and comes back with it."""
        return [PresenceView(user=user, online=False, last_seen=0) for user in ids]

    async def notifications(self, user: str, cursor: str | None, limit: int) -> Page[NotificationView]:
        """Notifications, newest first."""
        async with reaching(self._within):
            records, after = await page(self._db, layout.INBOX, f"{user}:", cursor, limit)
            seen = await self._seen(user)
        return Page(tuple(_notification_view(each, seen) for each in records), after)

    async def unread_notifications(self, user: str) -> int:
        """How many are not read."""
        async with reaching(self._within):
            return await self._count({"unread": user})

    async def unseen_notifications(self, user: str) -> int:
        """How many were not seen."""
        async with reaching(self._within):
            seen = layout.notification_key(user, await self._seen(user))
            return await self._count({"unread": user, "k": {"$gt": seen}})

    async def _seen(self, user: str) -> str:
        """The last notification that the user has seen; "" for none."""
        found = await self._db[layout.SEEN].find_one({"_id": user})
        return found["up_to"] if found else ""

    async def _count(self, which: Fields) -> int:
        # A command: PyMongo's `aggregate` is awaited, Motor's isn't; count_documents scans the embedded server.
        count = [{"$match": which}, {"$count": "found"}]
        answer = await self._db.command("aggregate", layout.NOTIFICATIONS, pipeline=count, cursor={})
        return sum(int(row["found"]) for row in answer["cursor"]["firstBatch"])

    async def table(self, name: str, cursor: str | None, limit: int) -> None:
        """None: the analytics tables live in Kafka and Redis."""
        return None


def _feed_place(cursor: str) -> str:
    """The place of a cursor given here; CursorExpiredError for one of the ranked feed, which isn't known here."""
    try:
        return place_of(layout.FEED, cursor)
    except ValueError:
        place_of(layout.RANKED_FEED, cursor)
        raise CursorExpiredError("this feed can't be gone on with now: start anew") from None


def _feed_page(users: Sequence[Fields], last: Fields | None) -> Page[str]:
    after = None if last is None else cursor_of(layout.FEED, "", last)
    return Page(tuple(fields["_id"] for fields in users), after)


def _session_view(session: str, user: str, fields: Fields | None) -> SessionView:
    if fields is None:
        return SessionView(id=session, user=user, expires_at=0, ended=True)
    login = msgspec.convert(fields, Login)
    return SessionView(
        id=session, user=user, expires_at=login.expires_at, ended=False, ends_at=login.ends_at, role=login.role
    )


def _sessions_view(session: str, login: Login) -> SessionsView:
    return SessionsView(
        id=session,
        device=login.device,
        place=login.place,
        created_at=login.created_at,
        used_at=login.used_at,
        expires_at=login.expires_at,
        ends_at=login.ends_at,
        role=login.role,
    )


def _audit_view(fields: Fields) -> AuditView:
    return msgspec.convert({**fields, "id": fields["_id"]}, AuditView)


def _user_view(fields: Fields) -> UserView:
    return msgspec.convert({**fields, "id": fields["_id"]}, UserView, strict=False)  # as in records.document_of


def _notification_view(fields: Fields, seen: str) -> NotificationView:
    read = fields["read_at"] is not None
    return NotificationView(
        id=fields["notification"],
        kind=fields["kind"],
        about=fields["about"],
        at=int(fields["at"]),
        read=read,
        seen=read or fields["notification"] <= seen,
    )
