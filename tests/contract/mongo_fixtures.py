"""A MongoDB to test against: the embedded server, or the one at MONGO_URL; each test on Motor and on PyMongo's client.

Test modules import `mongo_server` and `db` by name.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import PyMongoError

from devconnect.adapters.mongo.connect import Database, close, connect
from devconnect.adapters.mongo.layout import ensure_indexes
from devconnect.domain.model import Audit, Connection, Conversation, Decision, Login, Logins, Message, User, message_key
from devconnect.domain.projections import AddNotification
from devconnect.events.base import pair_id
from devconnect.events.facts import Profile
from devconnect.stack.ports import pick

DRIVERS: tuple[Callable[..., Any], ...] = (AsyncIOMotorClient, AsyncMongoClient)
NOON = 1_700_000_000_000


class Server:
    """The embedded server on a data folder and a port that it keeps over restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = pick()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        (self.folder / "pid").unlink(missing_ok=True)
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        run = "from nx_27017.nx_27017 import main; main()"
        where = ["--data-dir", str(self.folder / "data"), "--host", "127.0.0.1", "--port", str(self.port)]
        files = ["--log-file", "/dev/null", "--pid-file", str(self.folder / "pid"), "--journal-mode", "WAL"]
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen([sys.executable, "-c", run, *where, *files], stdout=out, stderr=out)
        wait_for_mongo(self.url)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


def wait_for_mongo(url: str, seconds: float = 20.0) -> None:
    """Return when the server answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=200) as client:
                client.admin.command("ping")
                return
        except PyMongoError:
            if time.monotonic() > deadline:
                raise


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """An embedded server for one test alone, to be killed as it likes."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server for the module."""
    given = os.environ.get("MONGO_URL")
    if given:
        yield given
        return
    server = Server(tmp_path_factory.mktemp("mongo"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.__name__)
async def db(mongo_server: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """An empty database with its indexes, through each of the two drivers."""
    async with opened(mongo_server, f"test-{uuid.uuid4().hex[:12]}", driver=request.param) as handle:
        await ensure_indexes(handle)
        yield handle
        await handle.client.drop_database(handle.name)


@asynccontextmanager
async def opened(url: str, name: str, **options: Any) -> AsyncIterator[Database]:
    """A handle that is closed whatever happens: a loop can't end over the tasks of a client that was left open."""
    handle = connect(url, name, **options)
    try:
        yield handle
    finally:
        await close(handle)


class Failing:
    """A database whose writes to one collection fail, as if the process had died before them."""

    def __init__(self, db: Database, collection: str, error: Exception) -> None:
        self._db, self._collection, self._error = db, collection, error

    def __getitem__(self, name: str) -> Any:
        return self if name == self._collection else self._db[name]

    async def _fail(self, *args: object, **kwargs: object) -> None:
        await asyncio.sleep(0)
        raise self._error

    insert_many = bulk_write = _fail


async def timed(call: Awaitable[object]) -> tuple[BaseException | None, float]:
    """What a call raised, if anything, and the seconds it took."""
    started = time.monotonic()
    error: BaseException | None = None
    try:
        await call
    except Exception as raised:
        error = raised
    return error, time.monotonic() - started


def a_user(user: str, seq: int = 1, at: int = NOON, headline: str = "") -> User:
    return User(
        id=user,
        seq=seq,
        email=f"{user}@example.org",
        profile=Profile(name=user.title(), headline=headline, skills=("python", "kafka")),
        tier="free",
        role="member",
        created_at=at,
        updated_at=at + seq,
    )


def some_logins(user: str, *sessions: str, seq: int = 1) -> Logins:
    """Open sessions: the first was used first."""
    return Logins(
        id=user,
        seq=seq,
        sessions={
            session: Login(
                device="phone",
                place="192.0.2.0/24",
                created_at=NOON,
                used_at=NOON + number,
                expires_at=NOON + 1_000,
                ends_at=NOON + 9_000,
                generation=number,
                role="analyst",
            )
            for number, session in enumerate(sessions)
        },
    )


def an_audit(number: int, user: str = "ada") -> Audit:
    at, name = NOON + number, f"event-{number}"
    said: dict[str, Any] = {"what": "tier", "before": "free", "after": "gold", "reason": "Paid."}
    return Audit(id=name, seq=number, user=user, by="olga", at=at, **said)


def a_connection(
    one: str, other: str, seq: int = 1, *, state: Any = "accepted", by: str = "", at: int = 0
) -> Connection:
    first, second = sorted((one, other))
    at = at or NOON + seq
    return Connection(id=pair_id(one, other), seq=seq, users=(first, second), state=state, by=by or one, at=at)


def a_conversation(one: str, other: str, seq: int = 1, **fields: Any) -> Conversation:
    first, second = sorted((one, other))
    fields = {"last": seq, "last_at": NOON + seq, "count": seq, "positions": {}, **fields}
    return Conversation(id=pair_id(one, other), seq=seq, users=(first, second), **fields)


def a_message(one: str, other: str, seq: int = 1, text: str = "hello") -> Message:
    pair = pair_id(one, other)
    return Message(
        id=message_key(pair, seq),
        seq=seq,
        message=f"command-{seq}",
        conversation=pair,
        sender=one,
        recipient=other,
        text=text,
        at=NOON + seq,
    )


def a_decision(command: str, actor: str = "ada", **fields: Any) -> Decision:
    place = {"command": "user.log_in", "topic": "user-commands", "partition": 3, "seq": 256}
    fields = {**place, "result": {"ok": True}, **fields}
    return Decision(id=command, actor=actor, fingerprint=f"print-{actor}", at=NOON, **fields)


def a_notification(user: str, number: int) -> AddNotification:
    at = NOON + number
    return AddNotification(user, f"{at:013d}-event{number}.0", "message_received", {"user": "bob"}, at)
