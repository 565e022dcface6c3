"""The world of `web_fakes` as read models: what was decided shows in both of them at once."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from devconnect.domain import presence
from devconnect.domain.analytics import TABLES
from devconnect.domain.model import Connection, Conversation, Logins, Message, Position, Ref, RelationState, User
from devconnect.events.base import pair_id, pair_of
from devconnect.ports.reads import (
    ConversationView,
    HistoryPage,
    MessageView,
    NotificationView,
    Page,
    PositionView,
    PresenceView,
    Reads,
    RelationView,
    SessionView,
    Source,
    UserView,
    no_relation,
)
from devconnect.ports.truth import UnavailableError
from tests.unit.web_fakes import World, message_view, paged

T = TypeVar("T")


class WorldReads(Reads):
    """The world as read models. `state`: "up", "down" (unavailable) or "wiped" (knows nothing)."""

    def __init__(self, world: World, source: Source) -> None:
        self.world, self.source = world, source
        self.state: Literal["up", "down", "wiped"] = "up"
        self.asked = 0
        self.refuses_cursors = False

    def _tell(self, what: T, cursor: str | None = None) -> T | None:
        self.asked += 1
        if self.state == "down":
            raise UnavailableError(f"the {self.source} is down")
        if cursor is not None and (self.refuses_cursors or not cursor.isdigit()):
            raise ValueError("not a cursor")
        return what if self.state == "up" else None

    def _all(self, kind: type[T]) -> list[T]:
        return self.world.all(kind)

    def remembered(self, session: str, user: str) -> tuple[SessionView, UserView] | None:
        return None

    async def session(self, session: str, user: str) -> tuple[SessionView | None, UserView | None]:
        found = self.world.documents.get(Ref("logins", user))
        view = None
        if isinstance(found, Logins):
            login = found.sessions.get(session)
            view = SessionView(
                id=session,
                user=user,
                expires_at=login.expires_at if login else 0,
                ended=login is None,
                ends_at=login.ends_at if login else 0,
                role=login.role if login else "member",
            )
        return self._tell((view, self._user(user))) or (None, None)

    async def users(self, ids: Sequence[str]) -> list[UserView | None]:
        return self._tell([self._user(user) for user in ids]) or [None for _ in ids]

    def _user(self, user: str) -> UserView | None:
        found = self.world.documents.get(Ref("user", user))
        if not isinstance(found, User):
            return None
        return UserView(**{name: getattr(found, name) for name in UserView.__struct_fields__})

    async def feed(self, user: str, cursor: str | None, limit: int, skills: Sequence[str] = ()) -> Page[str] | None:
        known = {other for one in self._all(Connection) if user in one.users for other in one.users} | {user}
        strangers = [other.id for other in self._all(User) if other.id not in known and not other.deleted]
        return self._tell(paged(strangers[::-1], cursor, limit), cursor)

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
        found = [self._relation(one, user) for one in self._all(Connection) if user in one.users]
        right = [
            relation
            for relation in found
            if relation.state == state
            and not (by_others and relation.by == user)
            and not (by_me and relation.by != user)
        ]
        return self._tell(paged(right[::-1], cursor, limit), cursor)

    def _relation(self, one: Connection, user: str) -> RelationView:
        [other] = [each for each in one.users if each != user]
        if user in one.blocked_by:
            return RelationView(user=other, state="blocked", by=user, at=one.blocked_by[user])
        if other in one.blocked_by:
            return RelationView(user=other, state="barred", by=other, at=one.blocked_by[other])
        return RelationView(user=other, state=one.state, by=one.by, at=one.at)

    async def relations_to(self, user: str, others: Sequence[str]) -> list[RelationView] | None:
        known = {pair_id(*one.users): one for one in self._all(Connection)}
        pairs = [(other, known.get(pair_id(user, other))) for other in others]
        return self._tell([self._relation(one, user) if one else no_relation(other) for other, one in pairs])

    async def relation(self, user: str, other: str) -> RelationView | None:
        found = await self.relations_to(user, [other])
        return found[0] if found else None

    async def conversations(self, user: str, cursor: str | None, limit: int) -> Page[ConversationView] | None:
        views = []
        for one in sorted(self._all(Conversation), key=lambda one: one.last_at, reverse=True):
            if user not in one.users or not one.last:
                continue
            [peer] = [each for each in one.users if each != user]
            said = [message for message in self._all(Message) if message.conversation == one.id]
            unread = len(one.unread.get(user, ()))
            positions = tuple(_positions(one.id, one))
            views.append(ConversationView(peer=peer, last=message_view(said[-1]), unread=unread, positions=positions))
        return self._tell(paged(views, cursor, limit), cursor)

    async def conversation(self, user: str, peer: str) -> ConversationView | None:
        found = await self.conversations(user, None, 200)
        return next((view for view in found.items if view.peer == peer), None) if found else None

    async def history(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> Page[MessageView] | None:
        found = [message_view(one) for one in self._all(Message) if one.conversation == conversation]
        return self._tell(paged(found if forward else found[::-1], cursor, limit), cursor)

    async def history_json(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> HistoryPage | None:
        page = await self.history(conversation, cursor, limit, forward=forward)
        positions = await self.positions(conversation)
        if page is None or positions is None:
            return None
        return HistoryPage(msgspec.Raw(msgspec.json.encode(page.items)), page.next, positions)

    async def positions(self, conversation: str) -> list[PositionView] | None:
        found = self.world.documents.get(Ref("conversation", conversation))
        return self._tell(_positions(conversation, found if isinstance(found, Conversation) else None))

    async def presence(self, ids: Sequence[str], now: int, reader: str | None = None) -> list[PresenceView]:
        devices = self.world.devices
        found = [
            PresenceView(
                user=user,
                online=self._shows(user, reader) and presence.is_online(devices.get(user, {}), now),
                last_seen=0,
            )
            for user in ids
        ]
        return self._tell(found) or [PresenceView(user=user, online=False, last_seen=0) for user in ids]

    def _shows(self, user: str, reader: str | None) -> bool:
        if reader in (None, user):
            return True
        one = self.world.documents.get(Ref("connection", pair_id(user, reader)))
        state = self._relation(one, reader).state if isinstance(one, Connection) else "none"
        found = self.world.documents.get(Ref("user", user))
        audience = found.privacy.presence if isinstance(found, User) else "nobody"
        return presence.may_see(audience, state)

    async def notifications(self, user: str, cursor: str | None, limit: int) -> Page[NotificationView] | None:
        found = [
            NotificationView(id=note.notification, kind=note.kind, about=note.about, at=note.at, read=False)
            for note in self.world.notes
            if note.recipient == user
        ]
        return self._tell(paged(found[::-1], cursor, limit), cursor)

    async def unread_notifications(self, user: str) -> int | None:
        return self._tell(sum(note.recipient == user for note in self.world.notes))

    async def unseen_notifications(self, user: str) -> int | None:
        seen = self.world.seen_up_to.get(user, "")
        return self._tell(sum(note.recipient == user and note.notification > seen for note in self.world.notes))

    async def table(self, name: str, cursor: str | None, limit: int) -> Page[dict[str, str | int]] | None:
        rows: list[dict[str, str | int]] = [{TABLES[name].key: str(number), "count": number} for number in range(3)]
        return self._tell(paged(rows, cursor, limit), cursor) if self.source == "cache" else None


def _positions(conversation: str, found: Conversation | None) -> list[PositionView]:
    held: Mapping[str, Position] = found.positions if found else {}
    both = [(user, held.get(user, Position())) for user in pair_of(conversation)]
    return [PositionView(user=user, delivered=at.delivered, read=at.read) for user, at in both]
