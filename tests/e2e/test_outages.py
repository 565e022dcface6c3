"""A server is wiped, or killed (-9) and started again with `up`: what is promised for that time holds, nothing is lost.

The workers and the gateway stay: they find the server again by themselves.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from devconnect import stack
from devconnect.domain.analytics import TABLES
from tests.e2e.background import Background
from tests.e2e.people import Client, Person, Unanswered, join, same_tables, set_role
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system of their own for these tests: parts of it die."""
    with System(tmp_path_factory.mktemp("outages")).running() as found:
        yield found


@pytest.fixture(autouse=True)
def whole(own: System) -> Iterator[None]:
    """Whatever a test has left dead is there again for the next."""
    yield
    up(own)


class Pair:
    """Two who are connected and have talked, and what they must read from then on, whatever happens."""

    def __init__(self, system: System) -> None:
        self.ada, self.bob = join(system, "Ada", "Bob")
        self.ada.connect(self.bob)
        self.texts = [f"before {number}" for number in range(5)]
        self.last = [self.ada.say(self.bob, text) for text in self.texts][-1]["seq"]
        self.bob.do("POST", f"/v1/conversations/{self.ada.user}/read", {"up_to": self.last})
        told = self.bob.sees("/v1/me/notifications", lambda body: len(body["items"]) == 7)
        self.told = [item["id"] for item in told["items"]]
        self.bob.do("POST", "/v1/me/notifications/read", {"notifications": self.told[:3]})
        # A session of hers that is over: it must stay so.
        gone = Person.log_in(self.ada.client, self.ada.email)["token"]
        self.gone = Person(self.ada.client, self.ada.email, self.ada.user, gone)
        self.gone.do("DELETE", "/v1/sessions/current")
        wait_until(lambda: self.sources() == {"cache"}, PATIENCE, "all of it in the cache")

    def sources(self) -> set[str]:
        """Where the reads come from; each is checked against what it must say, once it says it from anywhere."""
        found = set()
        for path, right in self._reads().items():
            reply = self.bob.send("GET", path)
            found.add(reply.source if reply.status == 200 and right(reply.body) else f"wrong: {path} {reply}")
        return found

    def all_right(self) -> set[str]:
        """Where the reads come from, each of which must be right."""
        found = self.sources()
        assert found <= {"cache", "database"}, found
        assert self.gone.send("GET", "/v1/me").problem == (401, "not_logged_in")
        return found

    def _reads(self) -> dict[str, Callable[[Any], bool]]:
        marks = {"user": self.bob.user, "delivered": self.last, "read": self.last}
        return {
            "/v1/me": lambda body: body["id"] == self.bob.user,
            f"/v1/users/{self.ada.user}": lambda body: body["name"] == "Ada",
            "/v1/connections": lambda body: [item["user"]["id"] for item in body["items"]] == [self.ada.user],
            "/v1/connections/requests": lambda body: body["items"] == [],
            f"/v1/conversations/{self.ada.user}/messages": lambda body: (
                [item["text"] for item in body["items"]] == self.texts[::-1] and marks in body["positions"]
            ),
            "/v1/me/notifications": lambda body: (
                [(item["id"], item["read"]) for item in body["items"]]
                == [(notice, number < 3) for number, notice in enumerate(self.told)]
                and body["unread"] == 4
            ),
        }


class Chatter(Background):
    """Ada writes to Bob, one message after the other, and each until it is taken; then it must be there once."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self._pair = pair
        self.said: list[str] = []

    def step(self) -> None:
        text = f"while {len(self.said)}"
        self._pair.ada.say(self._pair.bob, text)
        self.said.append(text)

    def all_there(self) -> None:
        """Bob has them all, in order, once; and was told of each of them once."""
        pair = self._pair
        pair.bob.hears(pair.ada, [*pair.texts, *self.said])
        wait_until(self._told_of_each, PATIENCE, "a notification of each message")

    def _told_of_each(self) -> bool:
        ids = [each["id"] for each in self._pair.bob.items(f"/v1/conversations/{self._pair.ada.user}/messages")]
        notices = self._pair.bob.items("/v1/me/notifications")
        told = [each["about"]["message"] for each in notices if each["kind"] == "message_received"]
        assert len(told) == len(set(told))
        return sorted(told) == sorted(ids)


class Watch(Background):
    """Asks without pause; what it must never see is an answer that `bad` says yes to."""

    def __init__(self, person: Person, bad: Callable[[int], bool]) -> None:
        super().__init__()
        self._person, self._bad = person, bad
        self.seen: set[int] = set()

    def step(self) -> None:
        with suppress(*Unanswered):
            self.seen.add(self._person.send("GET", "/v1/me").status)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        assert self.seen, "nobody answered"
        assert not any(map(self._bad, self.seen)), self.seen


def up(system: System) -> None:
    """Starts what has died, in the same data folder."""
    done = system.cli("up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(system.parts()) == {"kafka", "redis", "mongo"}


def analyst(system: System) -> Person:
    [found] = join(system, "Ann")
    set_role(system, found, "analyst")
    return found


def test_a_wiped_redis_is_filled_again_and_right_all_the_while(own: System) -> None:
    pair, ann = Pair(own), analyst(own)
    same_tables(own, ann, *TABLES)
    pids = own.pids()
    cache = redis.Redis.from_url(stack.addresses(own.settings).redis)
    cache.flushall()
    sources = pair.all_right()
    assert "database" in sources
    wait_until(lambda: pair.all_right() == {"cache"}, PATIENCE, "the read models built anew")
    wait_until(lambda: all(_is_there(ann, table) for table in TABLES), PATIENCE, "the tables' views")
    same_tables(own, ann, *TABLES)
    assert [each["id"] for each in pair.bob.items("/v1/me/notifications")] == pair.told
    assert own.pids() == pids
    with Chatter(pair) as chatter:
        chatter.more(chatter.said, 5)
    chatter.all_there()
    same_tables(own, ann, *TABLES)


def _is_there(person: Person, table: str) -> bool:
    return person.send("GET", f"/v1/analytics/tables/{table}").status == 200


def test_while_redis_is_down_reads_are_the_databases_and_who_logs_out_stays_out(own: System) -> None:
    pair = Pair(own)
    session = Person.log_in(pair.bob.client, pair.bob.email)
    leaving = Person(pair.bob.client, pair.bob.email, pair.bob.user, session["token"])
    leaving.sees("/v1/me", lambda account: True)
    pids = own.pids()
    own.kill("redis")
    # What the gateway remembers is believed until it notices; nothing is, after that.
    wait_until(lambda: pair.all_right() == {"database"}, PATIENCE, "reads from the database")
    assert pair.all_right() == {"database"}
    out = leaving.send("DELETE", "/v1/sessions/current")
    assert out.status in (200, 202), out
    wait_until(lambda: leaving.send("GET", "/v1/me").status == 401, PATIENCE, "the log-out")
    # The file that Redis starts from says that this session is open.
    with Watch(leaving, lambda status: status == 200), Chatter(pair) as chatter:
        chatter.more(chatter.said, 3)
        up(own)
        chatter.more(chatter.said, 5)
        wait_until(lambda: pair.bob.send("GET", "/v1/me").source == "cache", PATIENCE, "reads from the cache")
    assert leaving.send("GET", "/v1/me").problem == (401, "not_logged_in")
    chatter.all_there()
    assert pair.gone.send("GET", "/v1/me").problem == (401, "not_logged_in")
    assert own.pids() == pids


def test_what_is_asked_while_the_database_is_down_is_done_when_it_is_back(own: System) -> None:
    pair = Pair(own)
    pids = own.pids()
    own.kill("mongo")
    path = f"/v1/conversations/{pair.bob.user}/messages"
    key = secrets.token_hex(8)
    taken = [pair.ada.send("POST", path, {"text": "meanwhile"}, key=key) for _ in range(2)]
    assert [reply.status for reply in taken] == [202, 202]
    assert taken[0].body["command"] == taken[1].body["command"]
    assert pair.ada.read(taken[0].headers["location"])["status"] == "pending"
    assert pair.ada.read(taken[0].headers["location"])["status"] == "pending"
    assert pair.all_right() == {"cache"}
    up(own)
    pair.ada.sees(taken[0].headers["location"], lambda command: command["status"] == "accepted")
    pair.texts.append("meanwhile")
    with Chatter(pair) as chatter:
        chatter.more(chatter.said, 5)
        own.kill("mongo")
        up(own)
        chatter.more(chatter.said, 5)
    chatter.all_there()
    assert own.pids() == pids


def test_while_kafka_is_down_commands_are_turned_away_and_what_it_has_taken_is_done(own: System) -> None:
    pair, ann = Pair(own), analyst(own)
    pids = own.pids()
    with Chatter(pair) as chatter:
        chatter.more(chatter.said, 5)
        own.kill("kafka")
        refused = wait_until(lambda: _turned_away(pair.ada), PATIENCE, "a 503")
        assert refused.problem == (503, "kafka_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert pair.bob.send("GET", "/v1/connections").source == "cache"
        assert pair.gone.send("GET", "/v1/me").problem == (401, "not_logged_in")
        up(own)
        chatter.more(chatter.said, 5)
    chatter.all_there()
    assert own.pids() == pids
    same_tables(own, ann, *TABLES)


def _turned_away(person: Person) -> Any:
    """The answer to a command (one that may be carried out or not) once that is a 503."""
    reply = person.send("PUT", "/v1/me/presence", {"online": True})
    return reply if reply.status == 503 else None


def test_after_all_of_it_the_gateway_is_ready(own: System) -> None:
    ready = wait_until(lambda: _ready(own), PATIENCE, "ready")
    assert ready == {"kafka": "ok", "redis": "ok", "mongo": "ok"}


def _ready(system: System) -> Any:
    reply = Client(system.url).send("GET", "/health/ready")
    return reply.body["parts"] if reply.status == 200 and reply.body["status"] == "ready" else None
