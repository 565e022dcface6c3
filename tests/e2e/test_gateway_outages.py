"""While a part stands still or is dead, every request is answered in time, and rightly; afterwards nothing is amiss."""

import secrets
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tests.e2e.background import Background
from tests.e2e.gateways import GENEROUS, Timed, ask, at_once, paused, up, whole
from tests.e2e.people import PASSWORD, Person, Reply, join
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.timeout(300)

#: Seconds that a read may take longer without Redis (of the median), and that none takes longer than.
MORE, NEVER = 0.3, 1.0
#: Seconds that Redis has for a call: who takes less hasn't waited for it.
REDIS_DEADLINE = 0.2
#: Seconds that Kafka has; on a busy machine.
KAFKA = 1.5
#: Seconds from the return of a part until it is used again.
RETURN = 10.0
#: Connection requests that somebody of the free tier has a day.
REQUESTS = 10


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    limits = {
        **GENEROUS,
        "LIMITS_FREE": GENEROUS["LIMITS_FREE"].replace("requests=10000/sec", f"requests={REQUESTS}/day"),
    }
    with System(tmp_path_factory.mktemp("outages"), **limits).running() as found:
        yield found


@pytest.fixture(autouse=True)
def mended(own: System) -> Iterator[None]:
    """Whatever a test has left dead is there again for the next."""
    yield
    whole(own, own.url)


class Pair:
    """Two who are connected and have talked."""

    def __init__(self, system: System) -> None:
        self.ada, self.bob = join(system, "Ada", "Bob")
        self.ada.connect(self.bob)
        self.path = f"/v1/conversations/{self.bob.user}/messages"
        self.ada.say(self.bob, "before")
        self.reads = (
            "/v1/me",
            "/v1/connections",
            self.path,
            "/v1/feed",
            "/v1/conversations",
            f"/v1/presence?users={self.bob.user}",
            "/v1/me/notifications",
        )
        wait_until(lambda: self.sources() == {"cache"}, PATIENCE, "all of it in the cache")

    def read(self, path: str, **headers: str) -> Timed:
        found = ask(f"http://{self.ada.client.address}", "GET", path, token=self.ada.token, **headers)
        assert found.reply.status == 200, (path, found)
        return found

    def say(self, text: str, key: str, **headers: str) -> Timed:
        url = f"http://{self.ada.client.address}"
        return ask(url, "POST", self.path, {"text": text}, token=self.ada.token, Idempotency_Key=key, **headers)

    def sources(self) -> set[str]:
        return {self.read(path).reply.source for path in self.reads}

    def medians(self, source: str, most: float = NEVER) -> dict[str, float]:
        """Seconds of each read; all of them come from there."""
        found = {}
        for path in self.reads:
            answers = [self.read(path) for _ in range(9)]
            assert {answer.reply.source for answer in answers} == {source}, path
            assert max(answer.seconds for answer in answers) < most, path
            found[path] = statistics.median(answer.seconds for answer in answers)
        return found


@contextmanager
def dead(system: System, part: str) -> Iterator[None]:
    """A part that is killed (-9), and started again at the end."""
    system.kill(part)
    try:
        yield
    finally:
        up(system)


def still(system: System, *parts: str) -> AbstractContextManager[Any]:
    """Parts that stand still (-STOP)."""
    return paused(*(system.parts()[part] for part in parts))


AWAY: dict[str, Callable[[System, str], AbstractContextManager[Any]]] = {"standing still": still, "dead": dead}
away = pytest.mark.parametrize("how", sorted(AWAY))


@away
def test_without_redis_the_database_answers_nobody_waits_and_limits_stay(own: System, how: str) -> None:
    pair = Pair(own)
    [free] = join(own, "Free")
    usual = pair.medians("cache", PATIENCE)
    with AWAY[how](own, "redis"):
        began = time.monotonic()
        first = pair.read("/v1/me")
        assert first.seconds < NEVER
        # What was remembered is believed for half a second, and is right for so long.
        wait_until(lambda: pair.read("/v1/me").reply.source == "database", 1.0, "reads from the database")
        assert time.monotonic() - began < 2 * NEVER
        for path, seconds in pair.medians("database").items():
            assert seconds < usual[path] + min(MORE, REDIS_DEADLINE - 0.01), (path, seconds, usual[path])
        assert _requests(free, REQUESTS + 2) == {404: REQUESTS, 429: 2}
        said = pair.say("meanwhile", secrets.token_hex(8))
        assert (said.reply.status, said.reply.body["text"]) == (201, "meanwhile")
        [newest, *_] = pair.read(pair.path).reply.body["items"]
        assert newest["text"] == "meanwhile"
    wait_until(lambda: pair.sources() == {"cache"}, RETURN, "reads from the cache again")
    assert pair.ada.texts(pair.bob) == ["before", "meanwhile"]


def _requests(person: Person, count: int) -> dict[int, int]:
    """Asks so many people, whom there isn't: how often which status was answered."""
    statuses = [
        person.send("POST", "/v1/connections", {"user": secrets.token_hex(16), "interest": "interested"}).status
        for _ in range(count)
    ]
    return {status: statuses.count(status) for status in set(statuses)}


class Talker(Background):
    """Says one thing after the other, each once, and keeps what became of it."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self._pair = pair
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.slowest = 0.0

    def step(self) -> None:
        key = secrets.token_hex(8)
        said = self._pair.say(key, key)
        if said.reply.status == 503:
            assert said.reply.problem == (503, "kafka_unavailable")
            assert int(said.reply.headers["retry-after"]) > 0
            self.refused.append(key)
            self.slowest = max(self.slowest, said.seconds)
            self.over.wait(0.2)
        else:
            assert said.reply.status in (201, 202), said
            self.acknowledged.append(key)


@away
def test_without_kafka_commands_are_refused_at_once_and_nothing_is_half_done(own: System, how: str) -> None:
    pair = Pair(own)
    usual = pair.medians("cache", PATIENCE)
    with Talker(pair) as talker:
        talker.more(talker.acknowledged, 3)
        with AWAY[how](own, "kafka"):
            talker.more(talker.refused, 8)
            for path, seconds in pair.medians("cache").items():
                assert seconds < usual[path] + MORE, path
        talker.more(talker.acknowledged, 3)
    assert talker.slowest < KAFKA
    pair.ada.say(pair.bob, "last")

    def there() -> list[str]:
        return pair.ada.texts(pair.bob)

    wait_until(lambda: {*talker.acknowledged, "last"} <= {*there()}, PATIENCE, "all that was acknowledged")
    found = there()
    assert len(found) == len({*found})
    assert {*found} <= {"before", "last", *talker.acknowledged, *talker.refused}
    # What was refused may have arrived. Repeated, each is there once, as what was acknowledged is.
    for key in [*talker.refused, *talker.acknowledged[-3:]]:
        assert pair.ada.say(pair.bob, key, key=key)["text"] == key
    pair.ada.sees(pair.path, lambda body: True)
    wait_until(lambda: len(there()) >= 2 + len(talker.refused) + len(talker.acknowledged), PATIENCE, "all of them")
    assert sorted(there()) == sorted(["before", "last", *talker.acknowledged, *talker.refused])


@away
def test_without_the_database_redis_answers_and_commands_wait(own: System, how: str) -> None:
    pair = Pair(own)
    with AWAY[how](own, "mongo"):
        assert pair.sources() == {"cache"}
        said = [pair.say("meanwhile", "once") for _ in range(2)]
        assert [each.reply.status for each in said] == [202, 202]
        assert said[0].reply.headers["command-id"] == said[1].reply.headers["command-id"]
        log_in = ask(own.url, "POST", "/v1/sessions", {"email": pair.ada.email, "password": PASSWORD})
        assert log_in.reply.problem == (503, "store_unavailable")
        assert log_in.seconds < 5
        assert pair.sources() == {"cache"}
    wait_until(lambda: _status(own, pair, said[0].reply) == "accepted", PATIENCE, "carried out")
    wait_until(lambda: pair.ada.texts(pair.bob) == ["before", "meanwhile"], PATIENCE, "there once")


def _status(system: System, pair: Pair, taken: Reply) -> Any:
    return ask(system.url, "GET", taken.headers["location"], token=pair.ada.token).reply.body.get("status")


@pytest.mark.parametrize("parts", ["redis", "mongo", "kafka", "redis mongo kafka"])
def test_whatever_stands_still_no_request_outlives_its_deadline(own: System, parts: str) -> None:
    pair = Pair(own)
    [leaving], new = join(own, "Lea"), f"{secrets.token_hex(8)}@example.org"
    bound = own.settings.request_timeout + own.settings.result_wait
    kinds: list[tuple[str, str, Any, Person | None]] = [
        *(("GET", path, None, pair.ada) for path in pair.reads),
        ("GET", "/v1/sessions", None, pair.ada),
        ("GET", "/v1/messages/search?q=before", None, pair.ada),
        ("GET", f"/v1/users/{pair.bob.user}", None, pair.ada),
        ("GET", f"/v1/commands/{secrets.token_hex(16)}", None, pair.ada),
        ("GET", "/health/ready", None, None),
        ("POST", pair.path, {"text": "still?"}, pair.ada),
        ("PATCH", "/v1/me", {"headline": "still?"}, pair.ada),
        ("PUT", "/v1/me/presence", {"online": True}, pair.ada),
        ("DELETE", "/v1/sessions/current", None, leaving),
        ("POST", "/v1/sessions", {"email": pair.bob.email, "password": PASSWORD}, None),
        (
            "POST",
            "/v1/users",
            {"email": new, "password": PASSWORD, "name": "New"},
            None,
        ),
        ("POST", "/v1/password-resets", {"email": pair.bob.email}, None),
        ("POST", "/v1/sessions/renew", {"renewal_token": _renewal(pair.bob)}, None),
    ]
    assert len(kinds) == 20

    def often(kind: tuple[str, str, Any, Person | None]) -> list[Timed]:
        method, path, body, person = kind
        until, found = time.monotonic() + 3.0, []
        while time.monotonic() < until:
            found.append(ask(own.url, method, path, body, token=person.token if person else None))
        return found

    with still(own, *parts.split()):
        answers = at_once([lambda kind=kind: often(kind) for kind in kinds])
    for kind, own_answers in zip(kinds, answers, strict=True):
        assert max(each.seconds for each in own_answers) < bound, kind[:2]
        # One whose session is over is told so; whatever else there is, it is an answer of the interface.
        assert {each.reply.status for each in own_answers} <= {200, 201, 202, 401, 404, 409, 429, 503, 504}, kind[:2]


def _renewal(person: Person) -> str:
    token: str = Person.log_in(person.client, person.email)["renewal_token"]
    return token


def test_a_read_waits_for_what_its_reader_has_done_or_says_that_it_does_not_show_it(own: System) -> None:
    pair = Pair(own)
    with paused(own.pids()["projections"]) as go_on:
        mark = _headline(own, pair, "one")
        behind = pair.read("/v1/me", Read_After=mark)
        assert int(behind.reply.headers["x-behind"]) >= 1
        assert behind.reply.body["headline"] != "one"
        assert 0.9 < behind.seconds < 2.0
        waiting = threading.Timer(0.3, go_on)
        waiting.start()
        shown = wait_until(lambda: _shown(pair, mark), PATIENCE, "a read that has waited")
        waiting.join()
    assert shown["headline"] == "one"
    for number in range(10):
        mark = _headline(own, pair, f"again {number}")
        read = pair.read("/v1/me", Read_After=mark).reply
        assert (read.body["headline"], "x-behind" in read.headers) == (f"again {number}", False)


@away
def test_without_redis_a_read_shows_what_its_reader_has_done_at_once(own: System, how: str) -> None:
    pair = Pair(own)
    with AWAY[how](own, "redis"):
        for number in range(3):
            mark = _headline(own, pair, f"here {number}")
            found = pair.read("/v1/me", Read_After=mark)
            assert (found.reply.body["headline"], found.reply.source) == (f"here {number}", "database")
            assert "x-behind" not in found.reply.headers
            assert found.seconds < NEVER


def _headline(system: System, pair: Pair, headline: str) -> str:
    changed = ask(system.url, "PATCH", "/v1/me", {"headline": headline}, token=pair.ada.token).reply
    assert (changed.status, changed.body["headline"]) == (200, headline)
    return changed.headers["read-after"]


def _shown(pair: Pair, mark: str) -> Any:
    """The first answer that doesn't say that it is behind; it must have what it was to wait for."""
    read = pair.read("/v1/me", Read_After=mark).reply
    return None if "x-behind" in read.headers else read.body
