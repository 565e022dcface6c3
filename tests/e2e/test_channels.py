"""Push messages and webhooks of a whole system, whose workers are killed (-9) with them in hand."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devconnect.events.facts import DeliveryRequested
from devconnect.events.topics import PUSH_REQUESTS, WEBHOOK_REQUESTS, delivery_requests
from devconnect.ports.clock import SystemClock
from devconnect.runner.plan import ROOT
from tests.contract.receivers import Browser, Receiver, insist_on_signature, insist_on_vapid, text
from tests.e2e.kafka import produce
from tests.e2e.people import Client, Person, join
from tests.e2e.system import System
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

#: What follows from a kill takes as long as the worker's claims.
PATIENCE = 120.0


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that may send to this machine, and whose workers' claims are over soon."""
    hasty = f"{Path(__file__).with_name('hasty')}:{ROOT}"
    with System(tmp_path_factory.mktemp("channels"), OUTBOUND_PRIVATE="1", PYTHONPATH=hasty).running() as found:
        yield found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on a loop of its own."""
    loop, found = asyncio.new_event_loop(), Receiver()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(found.start(), loop).result(10)
        yield found
        asyncio.run_coroutine_threadsafe(found.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def ask(office: System, person: Person, channel: Any, names: list[str]) -> None:
    """These requests are in Kafka."""
    now = SystemClock().now_ms()
    topic = PUSH_REQUESTS if channel == "push" else WEBHOOK_REQUESTS
    usual: dict[str, Any] = {"user": person.user, "channel": channel, "kind": "welcome", "at": now}
    requests = [DeliveryRequested(id=name, notification=name, expires_at=now + 3_600_000, **usual) for name in names]
    produce(office, topic.name, person.user, [delivery_requests.encode(request) for request in requests])


def told_of_nothing(person: Person) -> None:
    """Waits until it is decided that nobody calls them about their own sign-up."""
    [welcome] = person.sees("/v1/me/notifications", lambda body: body["items"])["items"]
    person.sees(f"/v1/me/notifications/{welcome['id']}/deliveries", lambda body: body["items"])


def test_a_worker_that_is_killed_loses_nothing_and_what_it_repeats_can_be_told(
    office: System, receiver: Receiver
) -> None:
    [ada] = join(office, "Ada")
    told_of_nothing(ada)
    browser = Browser()
    keys = {"p256dh": text(browser.point), "auth": text(browser.auth)}
    ada.do("POST", "/v1/me/push-subscriptions", {"endpoint": receiver.url("push"), "keys": keys})
    hook = ada.do("POST", "/v1/me/webhooks", {"url": receiver.url("hook")}, key="hook")
    public_key = Client(office.url).result("GET", "/v1/push-key")["public_key"]
    names = [f"d{number}" for number in range(40)]
    for channel in ("push", "webhook"):
        ask(office, ada, channel, names[:20])
    wait_until(lambda: len(receiver.taken) == 40, PATIENCE, "some of them")
    receiver.hanging |= {"push", "hook"}
    for channel in ("push", "webhook"):
        ask(office, ada, channel, names[20:])
    wait_until(lambda: len(receiver.asked) == 42, PATIENCE, "one of each in hand")
    old = office.kill("notifications")
    receiver.hanging.clear()
    office.restarted("notifications", old)

    def known(path: str, requests: list[Any]) -> Counter[tuple[str, str]]:
        """What each of them is about, and by what its receiver knows it."""
        found = [(headers, body) for to, headers, body in list(requests) if to == path]
        if path == "push":
            return Counter((msgspec.json.decode(browser.read(body))["id"], headers["Topic"]) for headers, body in found)
        return Counter((headers["webhook-id"], headers["webhook-id"]) for headers, _ in found)

    for path in ("push", "hook"):
        wait_until(lambda path=path: len(known(path, receiver.taken)) == len(names), PATIENCE, f"all of them at {path}")
        # Each was taken once. The one in hand was asked for again, and has the name of the first.
        assert Counter(name for name, _ in known(path, receiver.taken).elements()) == Counter(names)
        assert sorted(known(path, receiver.asked).values()) == [1] * (len(names) - 1) + [2]
    now = SystemClock().now_ms() / 1000
    for path, headers, body in receiver.taken:
        if path == "push":
            insist_on_vapid(headers, receiver.origin, public_key, now)
        else:
            insist_on_signature(hook["secret"], headers, body)
    assert len({topic for _, topic in known("push", receiver.taken)}) == len(names)


def test_a_browser_that_is_gone_and_one_that_has_logged_out_are_subscribed_no_more(
    office: System, receiver: Receiver
) -> None:
    [bob] = join(office, "Bob")
    receiver.answers["gone"] = [410]
    keys = {"p256dh": text(Browser().point), "auth": text(Browser().auth)}
    bob.do("POST", "/v1/me/push-subscriptions", {"endpoint": receiver.url("gone"), "keys": keys})
    other = bob.again()
    other.do("POST", "/v1/me/push-subscriptions", {"endpoint": receiver.url("out"), "keys": keys})
    other.do("DELETE", "/v1/sessions/current")
    ask(office, bob, "push", ["e1"])
    bob.sees("/v1/me/push-subscriptions", lambda body: body["items"] == [], "none left")
    assert {path for path, _, _ in receiver.asked} == {"gone"}


def test_a_dead_letter_is_called_again_when_an_operator_says_so(office: System, receiver: Receiver) -> None:
    """A push service that refuses (403) is not asked again by itself."""
    [eve] = join(office, "Eve")
    receiver.answers["no"] = [403, 201]
    keys = {"p256dh": text(Browser().point), "auth": text(Browser().auth)}
    eve.do("POST", "/v1/me/push-subscriptions", {"endpoint": receiver.url("no"), "keys": keys})
    ask(office, eve, "push", ["f1"])
    wait_until(lambda: "send-push" in office.cli("dlq", "list", "--json").stdout, PATIENCE, "the letter")
    [letter] = msgspec.json.decode(office.cli("dlq", "list", "--agent", "send-push", "--json").stdout)["items"]
    assert "403" in letter["cause"]
    done = office.cli("dlq", "retry", letter["id"])
    assert done.returncode == 0, done.stderr
    wait_until(lambda: receiver.taken, PATIENCE, "the second try")
