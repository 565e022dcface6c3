"""The outside world of the gateway in memory: the real rules decide, on documents that the reads then show."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from devconnect.adapters.kafka.gateway import partition_for
from devconnect.domain import deciding, notifications, presence
from devconnect.domain.analytics import TABLES
from devconnect.domain.model import (
    AnyDocument,
    Connection,
    ConnectionState,
    Conversation,
    Decision,
    Logins,
    Message,
    Place,
    Position,
    Ref,
    Snapshot,
    User,
    ref_of,
)
from devconnect.events import commands as c, facts as f, topics
from devconnect.events.base import pair_id, pair_of
from devconnect.ports.answers import AnswerDesk
from devconnect.ports.clock import Clock
from devconnect.ports.gateway import Commands, Credentials, Passwords
from devconnect.ports.metrics import Metric, Metrics
from devconnect.ports.reads import (
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
)
from devconnect.ports.truth import UnavailableError
from devconnect.settings import Settings
from web.app import create_app
from web.gateway import Parts

KEY = "k" * 48
NOON = 1_700_000_000_000
PARTITIONS = 8
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


class World(Commands, Credentials):
    """Kafka, the command agents and the database in one: what is sent is decided at once, by the real rules."""

    def __init__(self) -> None:
        self.documents: Snapshot = {}
        self.decisions: dict[str, Decision] = {}
        self.holders: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.notes: list[f.NotificationRaised] = []
        self.devices: dict[str, dict[str, int]] = {}
        self.sent: list[c.AnyCommand] = []
        self.answers: dict[str, Decision] = {}
        self.kafka_down = self.database_down = self.undecided = False

    def partition_of(self, key: str) -> int:
        return partition_for(key, PARTITIONS)

    async def send(self, topic: str, key: str, value: bytes) -> None:
        if self.kafka_down:
            raise UnavailableError("Kafka is down")
        codec = CODECS[topic]
        assert codec is not None
        command = codec.decode(value)
        assert command.key == key
        self.sent.append(command)
        if not self.undecided:
            self.decide(command)

    def decide(self, command: c.AnyCommand) -> None:
        place = Place(topics.topic_of(command).name, self.partition_of(command.key), len(self.sent))
        placed = [deciding.Placed(place, command)]
        for wanted in deciding.reservations(placed, self.decisions):
            self.holders.setdefault(wanted.email, wanted.user)
        settled = deciding.settle(placed, self.decisions, self.documents, self.holders)
        for released in settled.releases:
            if self.holders.get(released.email) == released.user:
                del self.holders[released.email]
        self.secrets.update((secret.user, secret.password_hash) for secret in settled.secrets)
        for document in settled.documents:
            self.put(document)
        for event in settled.all_events():
            self.happened(event)
        self.decisions.update({decision.id: decision for decision in settled.fresh})
        self.answers.update({answer.id: answer.decision for answer in settled.answers})

    def happened(self, event: f.AnyEvent) -> None:
        note = notifications.decide(event)
        if note is not None:
            self.notes.append(note)
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
        user = self.holders.get(email, "")
        stored = await self.password_of(user)
        return None if stored is None else (user, stored)

    async def password_of(self, user: str) -> str | None:
        return self.secrets.get(user) or None


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
        return [document for document in self.world.documents.values() if isinstance(document, kind)]

    async def session(self, session: str, user: str) -> tuple[SessionView | None, UserView | None]:
        found = self.world.documents.get(Ref("logins", user))
        view = None
        if isinstance(found, Logins):
            login = found.sessions.get(session)
            view = SessionView(id=session, user=user, expires_at=login.expires_at if login else 0, ended=login is None)
        return self._tell((view, self._user(user))) or (None, None)

    async def users(self, ids: Sequence[str]) -> list[UserView | None]:
        return self._tell([self._user(user) for user in ids]) or [None for _ in ids]

    def _user(self, user: str) -> UserView | None:
        found = self.world.documents.get(Ref("user", user))
        if not isinstance(found, User):
            return None
        return UserView(**{name: getattr(found, name) for name in UserView.__struct_fields__})

    async def feed(self, user: str, cursor: str | None, limit: int) -> Page[str] | None:
        known = {other for one in self._all(Connection) if user in one.users for other in one.users} | {user}
        strangers = [other.id for other in self._all(User) if other.id not in known]
        return self._tell(paged(strangers[::-1], cursor, limit), cursor)

    async def relations(
        self, user: str, state: ConnectionState, cursor: str | None, limit: int, *, by_others: bool = False
    ) -> Page[RelationView] | None:
        found = [
            RelationView(user=next(o for o in one.users if o != user), state=one.state, by=one.by, at=one.at)
            for one in self._all(Connection)
            if user in one.users and one.state == state and not (by_others and one.by == user)
        ]
        return self._tell(paged(found[::-1], cursor, limit), cursor)

    async def history(self, conversation: str, cursor: str | None, limit: int) -> Page[MessageView] | None:
        found = [
            MessageView(
                id=one.message,
                conversation=one.conversation,
                seq=one.seq,
                sender=one.sender,
                recipient=one.recipient,
                text=one.text,
                at=one.at,
            )
            for one in self._all(Message)
            if one.conversation == conversation
        ]
        return self._tell(paged(found[::-1], cursor, limit), cursor)

    async def positions(self, conversation: str) -> list[PositionView] | None:
        found = self.world.documents.get(Ref("conversation", conversation))
        held: Mapping[str, Position] = found.positions if isinstance(found, Conversation) else {}
        both = [(user, held.get(user, Position())) for user in pair_of(conversation)]
        return self._tell([PositionView(user=user, delivered=at.delivered, read=at.read) for user, at in both])

    async def presence(self, ids: Sequence[str], now: int) -> list[PresenceView]:
        devices = self.world.devices
        found = [
            PresenceView(user=user, online=presence.is_online(devices.get(user, {}), now), last_seen=0) for user in ids
        ]
        return self._tell(found) or [PresenceView(user=user, online=False, last_seen=0) for user in ids]

    async def notifications(self, user: str, cursor: str | None, limit: int) -> Page[NotificationView] | None:
        found = [
            NotificationView(id=note.notification, kind=note.kind, about=note.about, at=note.at, read=False)
            for note in self.world.notes
            if note.recipient == user
        ]
        return self._tell(paged(found[::-1], cursor, limit), cursor)

    async def unread_notifications(self, user: str) -> int | None:
        return self._tell(sum(note.recipient == user for note in self.world.notes))

    async def table(self, name: str, cursor: str | None, limit: int) -> Page[dict[str, str | int]] | None:
        rows: list[dict[str, str | int]] = [{TABLES[name].key: str(number), "count": number} for number in range(3)]
        return self._tell(paged(rows, cursor, limit), cursor) if self.source == "cache" else None


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


@dataclass
class House:
    """A gateway on fakes, and a client of it."""

    client: TestClient[Any, Any]
    world: World
    desk: WorldDesk
    cache: WorldReads
    database: WorldReads
    clock: HandClock
    metrics: TallyMetrics
    passwords: PlainPasswords
    checks: dict[str, str | None]
    parts: Parts

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, key: str | None = None
    ) -> "Answer":
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        async with self.client.request(method, path, json=body, headers=headers) as response:
            return await Answer.of(response)

    async def person(self, name: str, **profile: Any) -> "Person":
        body = {"email": f"{name}@example.com", "password": "correct horse", "name": name, **profile}
        account = await self.ask("POST", "/v1/users", body)
        assert account.status == 201, account
        session = await self.ask("POST", "/v1/sessions", {"email": body["email"], "password": body["password"]})
        assert session.status == 201, session
        return Person(self, account.json["id"], session.json["token"], session.json["session"], body["email"])

    async def friends(self) -> tuple["Person", "Person"]:
        ada, bob = await self.person("ada"), await self.person("bob")
        await ada.ask("POST", "/v1/connections", {"user": bob.id, "interest": "interested"})
        accepted = await bob.ask("POST", f"/v1/connections/{ada.id}/review", {"verdict": "accepted"})
        assert accepted.status == 200, accepted
        return ada, bob

    def give_role(self, user: str, role: str) -> None:
        found = self.world.user(user)
        fields = {name: getattr(found, name) for name in User.__struct_fields__}
        self.world.put(User(**{**fields, "role": role}))


@dataclass(frozen=True)
class Answer:
    """A response, read."""

    status: int
    headers: Mapping[str, str]
    json: Any = field(repr=True)
    text: str = field(repr=False)

    @classmethod
    async def of(cls, response: ClientResponse) -> "Answer":
        text = await response.text()
        is_json = response.content_type.endswith("json")
        return cls(response.status, response.headers, await response.json(content_type=None) if is_json else None, text)


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in."""

    house: House
    id: str
    token: str
    session: str
    email: str

    async def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        return await self.house.ask(method, path, body, token=self.token, key=key)


def ids() -> Iterator[str]:
    """User ids that nobody has."""
    for number in range(1, 1000):
        yield f"{number:032x}"


def is_problem(answer: Answer, status: int, code: str) -> bool:
    """Whether this is that problem, in the shape of the interface."""
    found = answer.json
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer
    assert found["type"] == f"/problems/{found['code']}"
    assert found["status"] == answer.status
    assert found["title"]
    assert found["detail"]
    if status == 503:
        assert answer.headers["Retry-After"] == "1"
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (answer.status, found["code"]) == (status, code), answer
    return True


@asynccontextmanager
async def gateway(change: Callable[[Parts], Parts] | None = None, **settings: Any) -> AsyncIterator[House]:
    """A gateway on fakes, served."""
    world, clock, metrics, passwords = World(), HandClock(), TallyMetrics(), PlainPasswords()
    cache, database = WorldReads(world, "cache"), WorldReads(world, "database")
    desk = WorldDesk(world)
    states: dict[str, str | None] = {"kafka": None, "redis": None, "mongo": None}

    def check(name: str) -> Callable[[], Any]:
        async def look() -> str | None:
            return states[name]

        return look

    parts = Parts(
        cache=cache,
        database=database,
        credentials=world,
        commands=world,
        desk=desk,
        clock=clock,
        metrics=metrics,
        passwords=passwords,
        settings=Settings(data_dir=Path("/nowhere"), partitions=PARTITIONS, **settings),
        signing_key=KEY,
        checks={name: check(name) for name in states},
        scrape=lambda: ("text/plain; version=0.0.4; charset=utf-8", b"up 1\n"),
    )
    parts = change(parts) if change else parts
    async with TestClient(TestServer(create_app(parts))) as client:
        yield House(
            client=client,
            world=world,
            desk=desk,
            cache=cache,
            database=database,
            clock=clock,
            metrics=metrics,
            passwords=passwords,
            checks=states,
            parts=parts,
        )


__all__ = ["KEY", "NOON", "Answer", "House", "Person", "gateway", "ids", "is_problem", "pair_id", "replace"]
