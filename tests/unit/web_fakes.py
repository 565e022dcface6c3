"""The outside world of the gateway in memory: the real rules decide, on documents that the reads then show."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from devconnect.adapters.kafka.gateway import partition_for
from devconnect.domain import deciding, notifications, presence
from devconnect.domain.allowances import Policy, Quota
from devconnect.domain.analytics import TABLES
from devconnect.domain.delivering import Delivery
from devconnect.domain.model import (
    AnyDocument,
    Audit,
    Channels,
    Connection,
    Conversation,
    Decision,
    Logins,
    Message,
    Place,
    Position,
    Ref,
    RelationState,
    Report,
    Reservation,
    Secret,
    Snapshot,
    User,
    ref_of,
)
from devconnect.events import commands as c, facts as f, topics
from devconnect.events.base import pair_id, pair_of
from devconnect.keys import Key
from devconnect.ports.answers import AnswerDesk
from devconnect.ports.clock import Clock
from devconnect.ports.freshness import Freshness
from devconnect.ports.gateway import AccountLists, Commands, Credentials, EndedSessions, Passwords
from devconnect.ports.metrics import Metric, Metrics
from devconnect.ports.reads import (
    AuditView,
    ConversationView,
    HistoryPage,
    Library,
    MessageView,
    NotificationView,
    Page,
    PositionView,
    PresenceView,
    Reads,
    RelationView,
    ReportView,
    SessionsView,
    SessionView,
    Source,
    UserView,
    no_relation,
)
from devconnect.ports.truth import UnavailableError

KEY = "k" * 48
VAPID_KEY = "B" + "A" * 86
NOON = 1_700_000_000_000
PARTITIONS = 8
#: Nobody runs out of it.
PLENTY = Policy(requests=None, messages=Quota(1000, 60), writes=Quota(1000, 60), reads=Quota(10_000, 60), feed=200)
T = TypeVar("T")

CODECS = {topic.name: topic.codec for topic in topics.REGISTRY}


class HandClock(Clock):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def now_ms(self) -> int:
        return self.now


class TallyMetrics(Metrics):
    """Counts what was recorded."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.observed: Counter[tuple[str, ...]] = Counter()

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        assert len(labels) == len(metric.labels)
        self.counts[metric.name, *labels] += int(by)

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        raise AssertionError("the gateway sets no gauge")

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        assert len(labels) == len(metric.labels)
        assert value >= 0
        self.observed[metric.name, *labels] += 1


class World(Commands, Credentials, EndedSessions, AccountLists, Library, Freshness):
    """Kafka, the command agents and the database in one: what is sent is decided at once, by the real rules."""

    def __init__(self) -> None:
        self.documents: Snapshot = {}
        self.decisions: dict[str, Decision] = {}
        self.holders: dict[str, Reservation] = {}
        self.secrets: dict[str, Secret] = {}
        self.ends: set[str] = set()
        self.behind = False
        self.notes: list[f.NotificationRaised] = []
        self.seen_up_to: dict[str, str] = {}
        self.told: dict[tuple[str, str], list[Delivery]] = {}
        self.devices: dict[str, dict[str, int]] = {}
        self.sent: list[c.AnyCommand] = []
        self.answers: dict[str, Decision] = {}
        self.kafka_down = self.database_down = self.undecided = False

    def partition_of(self, key: str) -> int:
        return partition_for(key, PARTITIONS)

    async def send(self, topic: str, key: str, value: bytes) -> int:
        if self.kafka_down:
            raise UnavailableError("Kafka is down")
        codec = CODECS[topic]
        assert codec is not None
        command = codec.decode(value)
        assert command.key == key
        self.sent.append(command)
        if not self.undecided:
            self.decide(command)
        return len(self.sent)

    def decide(self, command: c.AnyCommand) -> None:
        place = Place(topics.topic_of(command).name, self.partition_of(command.key), len(self.sent))
        placed = [deciding.Placed(place, command)]
        for wanted in deciding.reservations(placed, self.decisions):
            self.holders.setdefault(wanted.email, wanted)
        holders = {email: held.user for email, held in self.holders.items()}
        settled = deciding.settle(placed, self.decisions, self.documents, holders)
        for document in settled.documents:
            self.put(document)
        self.secrets.update({secret.user: secret for secret in settled.secrets})
        for released in settled.releases:
            held = self.holders.get(released.email)
            if held is not None and held.user == released.user:
                del self.holders[released.email]
        for event in settled.all_events():
            self.happened(event)
        self.decisions.update({decision.id: decision for decision in settled.fresh})
        self.answers.update({answer.id: answer.decision for answer in settled.answers})

    def happened(self, event: f.AnyEvent) -> None:
        note = notifications.decide(event)
        if note is not None and notifications.suits(note, self.user(note.recipient)):
            self.notes.append(note)
        if isinstance(event, f.NotificationsSeen):
            self.seen_up_to[event.user] = event.up_to
        if isinstance(event, f.UserLoggedOut):
            self.ends.add(event.session)
        if isinstance(event, f.UserCameOnline):
            self.devices.setdefault(event.user, {})[event.session] = event.until

    def put(self, document: AnyDocument) -> None:
        self.documents[ref_of(document)] = document

    def user(self, user: str) -> User:
        found = self.documents[Ref("user", user)]
        assert isinstance(found, User)
        return found

    async def credentials(self, email: str) -> tuple[str, str] | None:
        if self.database_down:
            raise UnavailableError("MongoDB is down")
        held = self.holders.get(email)
        return (held.user, self.secrets[held.user].password_hash) if held else None

    # -- what is read of the database alone

    def all(self, kind: type[T]) -> list[T]:
        return [document for document in self.documents.values() if isinstance(document, kind)]

    async def channels_of(self, user: str) -> Channels | None:
        found = self.documents.get(Ref("channels", user))
        return found if isinstance(found, Channels) else None

    async def sessions_of(self, user: str) -> list[SessionsView]:
        found = self.documents.get(Ref("logins", user))
        logins = found.sessions if isinstance(found, Logins) else {}
        return [
            SessionsView(
                id=session,
                device=login.device,
                place=login.place,
                created_at=login.created_at,
                used_at=login.used_at,
                expires_at=login.expires_at,
                ends_at=login.ends_at,
                role=login.role,
            )
            for session, login in logins.items()
        ]

    async def audit(self, user: str, cursor: str | None, limit: int) -> Page[AuditView]:
        found = [audit for audit in self.all(Audit) if audit.user == user]
        views = [AuditView(**{name: getattr(one, name) for name in AuditView.__struct_fields__}) for one in found]
        return paged(views[::-1], cursor, limit)

    async def reports(self, cursor: str | None, limit: int, *, open_ones: bool = True) -> Page[ReportView]:
        found = [_report_view(one) for one in self.all(Report) if (one.closed_at is None) == open_ones]
        return paged(found[::-1], cursor, limit)

    async def report(self, report: str) -> ReportView | None:
        return next((_report_view(one) for one in self.all(Report) if one.id == report), None)

    async def deliveries(self, user: str, notification: str) -> list[Delivery]:
        return self.told.get((user, notification), [])

    async def search(
        self, user: str, words: Sequence[str], peer: str | None, cursor: str | None, limit: int
    ) -> Page[MessageView]:
        found = [
            _message_view(one)
            for one in self.all(Message)
            if user in (one.sender, one.recipient)
            and peer in (None, one.sender, one.recipient)
            and all(word in one.text.lower().split() for word in words)
        ]
        return paged(found[::-1], cursor, limit)

    # -- ends of sessions, and how fresh the read models are

    def ended(self, session: str) -> bool:
        return session in self.ends

    def age(self) -> float:
        return 0.0

    def current(self) -> bool:
        return True

    async def applied(self, topic: str, partition: int) -> int | None:
        return 0 if self.behind else 2**53

    async def wait(self, topic: str, partition: int, seq: int, seconds: float) -> bool:
        return not self.behind

    def as_of(self, partition: int | None = None, topic: str | None = None) -> int:
        return NOON


class WorldDesk(AnswerDesk):
    """Knows at once what the world has decided."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.expected: set[str] = set()
        self.down = self.eventless = False

    @property
    def address(self) -> str:
        return "gateway-1"

    def expect(self, command_id: str) -> None:
        self.expected.add(command_id)

    async def wait(self, command_id: str, seconds: float) -> Decision | None:
        self.expected.remove(command_id)
        return self.world.answers.pop(command_id, None)

    async def find(self, command_id: str) -> Decision | None:
        if self.down:
            raise UnavailableError("nobody can be asked")
        found = self.world.decisions.get(command_id)
        if found is None or not self.eventless:
            return found
        return Decision(
            **{name: getattr(found, name) for name in Decision.__struct_fields__ if name != "events"},
        )


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
            views.append(ConversationView(peer=peer, last=_message_view(said[-1]), unread=unread, positions=positions))
        return self._tell(paged(views, cursor, limit), cursor)

    async def conversation(self, user: str, peer: str) -> ConversationView | None:
        found = await self.conversations(user, None, 200)
        return next((view for view in found.items if view.peer == peer), None) if found else None

    async def history(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> Page[MessageView] | None:
        found = [_message_view(one) for one in self._all(Message) if one.conversation == conversation]
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


def _message_view(one: Message) -> MessageView:
    fields = {name: getattr(one, name) for name in MessageView.__struct_fields__ if name not in ("id", "seq")}
    return MessageView(id=one.message, seq=int(one.id.rpartition(":")[2]), **fields)


def _report_view(one: Report) -> ReportView:
    return ReportView(**{name: getattr(one, name) for name in ReportView.__struct_fields__})


def _positions(conversation: str, found: Conversation | None) -> list[PositionView]:
    held: Mapping[str, Position] = found.positions if found else {}
    both = [(user, held.get(user, Position())) for user in pair_of(conversation)]
    return [PositionView(user=user, delivered=at.delivered, read=at.read) for user, at in both]


def paged(items: Sequence[T], cursor: str | None, limit: int) -> Page[T]:
    start = int(cursor) if cursor is not None and cursor.isdigit() else 0
    end = start + limit
    return Page(tuple(items[start:end]), str(end) if end < len(items) else None)


class PlainPasswords(Passwords):
    """Hashes by writing "hash of" before the password."""

    def __init__(self) -> None:
        self.verified: list[str | None] = []

    async def hash(self, password: str) -> str:
        return f"hash of {password}"

    async def verify(self, stored: str | None, password: str) -> bool:
        self.verified.append(stored)
        return stored == f"hash of {password}"

    async def check(self, password: str, inputs: Sequence[str]) -> str | None:
        self.inputs = tuple(inputs)
        return "is too short: 8 characters at least" if len(password) < 8 else None


class OneKey:
    """A ring of keys that can be turned."""

    def __init__(self) -> None:
        self.keys = [Key("k1", KEY)]
        self.version = 0

    def current(self) -> Key:
        return self.keys[0]

    def find(self, kid: str) -> Key | None:
        return next((key for key in self.keys if key.kid == kid), None)

    def set(self, *keys: Key) -> None:
        self.keys = [*keys]
        self.version += 1
