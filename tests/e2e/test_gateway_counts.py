"""Two gateways of one system count together, repeat for one another, and show nobody anything that is over."""

import itertools
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import pytest
import redis

from tests.e2e.background import Background
from tests.e2e.gateways import WIDE, Timed, Twins, ask, at_once
from tests.e2e.people import Person, Reply, Unanswered
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.timeout(300)

#: What the free tier may do, and what is sent at once.
REQUESTS, MESSAGES, SENT = 10, 20, 40


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """In which the free tier has limits, and others none to speak of."""
    free = WIDE.replace("requests=10000/sec", f"requests={REQUESTS}/day")
    free = free.replace("messages=10000/sec", f"messages={MESSAGES}/hour")
    with Twins(tmp_path_factory.mktemp("counts"), LIMITS_FREE=free).running() as found:
        yield found


def golden(twins: Twins, *names: str) -> list[Person]:
    """New people without limits."""
    found = twins.people(*names)
    for person in found:
        twins.operator().do("PUT", f"/v1/users/{person.user}/tier", {"tier": "gold"})
        person.sees("/v1/me", lambda account: account["tier"] == "gold")
    return found


class Limited(NamedTuple):
    """A kind of command that the free tier may give so often: `ask` gives the n-th of a person's."""

    amount: int
    code: int
    path: Callable[[int], str]
    body: Callable[[int], Any]


def limited(twins: Twins, kind: str) -> tuple[Person, Limited]:
    [free] = twins.people("Free")
    others = [secrets.token_hex(16) for _ in range(SENT)]
    if kind == "requests":
        # Whom they ask needn't exist: it is asked all the same.
        return free, Limited(
            REQUESTS, 404, lambda n: "/v1/connections", lambda n: {"user": others[n], "interest": "interested"}
        )
    [peer] = golden(twins, "Peer")
    peer.connect(free)
    return free, Limited(
        MESSAGES, 201, lambda n: f"/v1/conversations/{peer.user}/messages", lambda n: {"text": f"text {n}"}
    )


@pytest.mark.parametrize("kind", ["requests", "messages"])
def test_of_forty_at_once_to_both_exactly_as_many_pass_as_the_tier_may(twins: Twins, kind: str) -> None:
    person, what = limited(twins, kind)

    def send(number: int, url: str) -> Timed:
        key = f"key-{number}"
        return ask(url, "POST", what.path(number), what.body(number), token=person.token, Idempotency_Key=key)

    first = at_once([lambda n=n: send(n, twins.urls[n % 2]) for n in range(SENT)])
    statuses = Counter(answer.reply.status for answer in first)
    assert statuses == {what.code: what.amount, 429: SENT - what.amount}
    for answer in first:
        if answer.reply.status == 429:
            assert answer.reply.problem == (429, "rate_limited")
            assert int(answer.reply.headers["retry-after"]) > 0
    # The same again, each at the other gateway: what has passed is no new one, and what hasn't doesn't.
    again = at_once([lambda n=n: send(n, twins.urls[(n + 1) % 2]) for n in range(SENT)])
    assert [each.reply.status for each in again] == [each.reply.status for each in first]
    for before, after in zip(first, again, strict=True):
        if before.reply.status == what.code:
            assert before.reply.body == after.reply.body
            assert before.reply.headers["command-id"] == after.reply.headers["command-id"]


def test_a_command_repeated_at_both_gateways_at_once_counts_once_and_is_done_once(twins: Twins) -> None:
    person, what = limited(twins, "messages")
    for number in range(MESSAGES):
        answers = at_once(
            [
                lambda url=url, n=number: ask(
                    url, "POST", what.path(n), what.body(n), token=person.token, Idempotency_Key=f"both-{n}"
                )
                for url in twins.urls
            ]
        )
        assert [each.reply.status for each in answers] == [201, 201]
        assert answers[0].reply.body == answers[1].reply.body
    over = ask(twins.beside.url, "POST", what.path(0), {"text": "one more"}, token=person.token)
    assert over.reply.problem == (429, "rate_limited")
    texts = [f"text {number}" for number in range(MESSAGES)]
    person.sees(what.path(0), lambda body: [item["text"] for item in body["items"]][::-1] == texts)


class Sender(Background):
    """Says one thing after the other at one gateway; what isn't answered is repeated at the other."""

    def __init__(self, person: Person, path: str, name: str, urls: tuple[str, str]) -> None:
        super().__init__()
        self._person, self._path, self._name, self._urls = person, path, name, urls
        #: Each text with the ids of the messages that its answers told of.
        self.said: dict[str, set[str]] = {}
        self.repeated = 0

    def step(self) -> None:
        text = f"{self._name} {len(self.said)}"
        for url in itertools.cycle(self._urls):
            key = text.replace(" ", "-")
            try:
                reply = ask(
                    url, "POST", self._path, {"text": text}, token=self._person.token, Idempotency_Key=key
                ).reply
            except (*Unanswered, json.JSONDecodeError):
                self.repeated += 1
                continue
            if reply.status == 503:
                self.repeated += 1
                continue
            assert reply.status in (201, 202), reply
            self.said.setdefault(text, set()).update({reply.body["id"]} if reply.status == 201 else ())
            return


def test_a_gateway_killed_under_load_loses_and_doubles_nothing(twins: Twins) -> None:
    ada, bob = golden(twins, "Ada", "Bob")
    ada.connect(bob)
    path = f"/v1/conversations/{bob.user}/messages"
    pairs = [twins.urls, twins.urls, twins.urls, twins.urls[::-1]]
    senders = [Sender(ada, path, f"sender{number}", urls) for number, urls in enumerate(pairs)]

    def said() -> int:
        return sum(len(each.said) for each in senders)

    with ExitStack() as stack:
        for each in senders:
            stack.enter_context(each)
        for _ in range(2):
            wanted = said() + 40
            wait_until(lambda wanted=wanted: said() >= wanted, PATIENCE, "a load")
            old = twins.system.kill("gateway")
            twins.system.restarted("gateway", old)
    assert sum(each.repeated for each in senders) > 0
    acknowledged = {text: ids for each in senders for text, ids in each.said.items()}

    def there() -> dict[str, str]:
        items = [item for item in ada.items(path)]
        assert len({item["text"] for item in items}) == len(items)
        return {item["text"]: item["id"] for item in items}

    wait_until(lambda: there().keys() >= acknowledged.keys(), PATIENCE, "all that was acknowledged")
    found = there()
    assert found.keys() == acknowledged.keys()
    assert {text: ids for text, ids in acknowledged.items() if not ids <= {found[text]}} == {}


class Cutter(Background):
    """Cuts every connection to Redis again and again, now in bursts, now so seldom that much is remembered."""

    def __init__(self, client: "redis.Redis[str]") -> None:
        super().__init__()
        self._client, self._random = client, random.Random(7)
        self.cuts = 0

    def step(self) -> None:
        self.over.wait(self._random.choice((0.02, 0.1, 0.4, 1.5, 3.0)))
        with suppress(redis.RedisError):
            self._client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            self.cuts += 1


class Reader(Background):
    """Asks a gateway who they are, without pause: nothing is older than what was shown before it was asked."""

    def __init__(self, person: Person, url: str, floor: Callable[[], int]) -> None:
        super().__init__()
        self._person, self._url, self._floor = person, url, floor
        self.wrong: list[str] = []
        self.sources: Counter[str] = Counter()

    def step(self) -> None:
        floor = self._floor()
        reply = ask(self._url, "GET", "/v1/me", token=self._person.token).reply
        if reply.status != 200:
            self.wrong.append(f"{reply.status} {reply.body}")
            return
        self.sources[reply.source] += 1
        if _seq(reply) < floor:
            self.wrong.append(f"{_seq(reply)} after {floor} from {reply.source}")


def _seq(reply: Reply) -> int:
    """Grows with every change of the account: its profile, its tier, its role."""
    return int(reply.headers["etag"].strip('"'))


def test_nothing_old_is_shown_though_the_connection_to_redis_is_cut_again_and_again(twins: Twins) -> None:
    """What a read with Read-After has shown, no later read of any gateway undoes; nor does a session come back."""
    [ada] = twins.people("Ada")
    operator, shown = twins.operator(), [0]
    readers = [Reader(ada, url, lambda: shown[-1]) for url in twins.urls]
    ended: list[str] = []
    with ExitStack() as stack:
        for reader in readers:
            stack.enter_context(reader)
        cutter = stack.enter_context(Cutter(twins.redis()))
        until = time.monotonic() + 10
        for number in itertools.count(1):
            if time.monotonic() > until:
                break
            shown.append(_change(twins, ada, ("PATCH", "/v1/me"), {"headline": str(number)}))
            tier = {"tier": ("silver", "gold")[number % 2]}
            shown.append(_change(twins, ada, ("PUT", f"/v1/users/{ada.user}/tier"), tier, by=operator))
            # That of the session is the least there is: it shows in the account's seq alone.
            role = {"role": ("member", "analyst")[number % 2]}
            shown.append(_change(twins, ada, ("PUT", f"/v1/users/{ada.user}/role"), role, by=operator))
            ended.append(_ended_session(twins, ada))
    assert cutter.cuts >= 5
    assert shown == sorted(shown)
    assert not [reader.wrong[:5] for reader in readers if reader.wrong]
    for url in twins.urls:
        assert {ask(url, "GET", "/v1/me", token=token).reply.status for token in ended} == {401}
    # It was tried on what is remembered, and on what is read while nothing can be.
    assert all(reader.sources.keys() == {"cache", "database"} for reader in readers), readers[0].sources


def _change(
    twins: Twins, person: Person, what: tuple[str, str], body: dict[str, str], *, by: Person | None = None
) -> int:
    """A change that is acknowledged, and that each gateway has been seen to show; the seq that all of them have."""
    changed = ask(random.choice(twins.urls), *what, body, token=(by or person).token).reply
    assert changed.status == 200, changed
    found = []
    for url in twins.urls:

        def look(url: str = url) -> Reply | None:
            read_after = changed.headers["read-after"]
            reply = ask(url, "GET", "/v1/me", token=person.token, Read_After=read_after).reply
            assert reply.status == 200, reply
            if "x-behind" in reply.headers:
                return None
            assert "role" in body or body.items() <= reply.body.items(), (body, reply)
            return reply

        found.append(_seq(wait_until(look, PATIENCE, "the change shown")))
    return min(found)


def _ended_session(twins: Twins, person: Person) -> str:
    """The token of a session that was used everywhere, and has ended a second ago."""
    token: str = Person.log_in(person.client, person.email)["token"]
    for url in twins.urls:
        wait_until(lambda url=url: ask(url, "GET", "/v1/me", token=token).reply.status == 200, PATIENCE, "logged in")
    out = ask(twins.system.url, "DELETE", "/v1/sessions/current", token=token).reply
    assert out.status == 200, out
    at = time.monotonic()
    while ask(twins.beside.url, "GET", "/v1/me", token=token).reply.status == 200:
        assert time.monotonic() < at + 1.0, "the log-out isn't known after a second"
    return token
