"""The outside world of the gateway in memory: the real rules decide, on documents that the reads then show."""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from devconnect.adapters.kafka.gateway import partition_for
from devconnect.domain import deciding, notifications
from devconnect.domain.allowances import Policy, Quota
from devconnect.domain.delivering import Delivery
from devconnect.domain.model import (
    AnyDocument,
    Audit,
    Channels,
    Decision,
    Logins,
    Message,
    Place,
    Ref,
    Report,
    Reservation,
    Secret,
    Snapshot,
    User,
    ref_of,
)
from devconnect.events import commands as c, facts as f, topics
from devconnect.keys import Key
from devconnect.ports.answers import AnswerDesk
from devconnect.ports.freshness import Freshness
from devconnect.ports.gateway import AccountLists, Commands, Credentials, EndedSessions, OnEnd, Passwords
from devconnect.ports.metrics import Metric, Metrics
from devconnect.ports.reads import AuditView, Library, MessageView, Page, ReportView, SessionsView
from devconnect.ports.truth import UnavailableError

KEY = "k" * 48
VAPID_KEY = "B" + "A" * 86
NOON = 1_700_000_000_000
PARTITIONS = 8
#: Nobody runs out of it.
PLENTY = Policy(requests=None, messages=Quota(1000, 60), writes=Quota(1000, 60), reads=Quota(10_000, 60), feed=200)
T = TypeVar("T")

CODECS = {topic.name: topic.codec for topic in topics.REGISTRY}


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
        self.listeners: list[OnEnd] = []
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
            for told in self.listeners:
                told(event.session, event.user)
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
        found = [report_view(one) for one in self.all(Report) if (one.closed_at is None) == open_ones]
        return paged(found[::-1], cursor, limit)

    async def report(self, report: str) -> ReportView | None:
        return next((report_view(one) for one in self.all(Report) if one.id == report), None)

    async def deliveries(self, user: str, notification: str) -> list[Delivery]:
        return self.told.get((user, notification), [])

    async def search(
        self, user: str, words: Sequence[str], peer: str | None, cursor: str | None, limit: int
    ) -> Page[MessageView]:
        found = [
            message_view(one)
            for one in self.all(Message)
            if user in (one.sender, one.recipient)
            and peer in (None, one.sender, one.recipient)
            and all(word in one.text.lower().split() for word in words)
        ]
        return paged(found[::-1], cursor, limit)

    # -- ends of sessions, and how fresh the read models are

    def ended(self, session: str) -> bool:
        return session in self.ends

    def tell(self, on_end: OnEnd) -> None:
        self.listeners.append(on_end)

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


def message_view(one: Message) -> MessageView:
    fields = {name: getattr(one, name) for name in MessageView.__struct_fields__ if name not in ("id", "seq")}
    return MessageView(id=one.message, seq=int(one.id.rpartition(":")[2]), **fields)


def report_view(one: Report) -> ReportView:
    return ReportView(**{name: getattr(one, name) for name in ReportView.__struct_fields__})


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
