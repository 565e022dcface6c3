"""Push messages and webhooks, from request to receiver, on the real database and real HTTP, whatever fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from agents import delivering
from agents.delivering import Sender
from agents.processing import Slice
from agents.push import PushWay, queue_push
from agents.retrying import Retry
from agents.webhooks import WebhookWay, queue_webhooks
from devconnect.adapters.http.client import Outbound
from devconnect.adapters.http.push import WebPush
from devconnect.adapters.http.webhooks import Webhooks
from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.deliveries import RANKS, MongoDeliveries
from devconnect.adapters.mongo.outbox import MongoOutbox
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.domain.delivery import DAY_MS, DISABLED_AFTER_MS, PUSH_WAITS, WEBHOOK_WAITS
from devconnect.domain.letters import Letter, Name
from devconnect.domain.model import Channels, Login, Logins, Webhook
from devconnect.events.facts import DeliveryRequested
from devconnect.events.topics import USER_COMMANDS, delivery_requests, user_commands
from devconnect.push.vapid import Vapid, new_private_key
from devconnect.webhook_secrets import WebhookSecrets
from tests.contract.mongo_fixtures import NOON, a_user, db, mongo_server
from tests.contract.receivers import Browser, Receiver, insist_on_signature, insist_on_vapid
from tests.delivery_fakes import telling
from tests.fakes import (
    ManualClock,
    MemoryListings,
    MemoryMetrics,
    MemoryProjections,
    MemoryPublisher,
    MemoryRecord,
    MemoryRelations,
    MemoryTruth,
)
from tests.waiting import PATIENCE, until
from workers.channels import resend

__all__ = ["db", "mongo_server"]

SECRETS = WebhookSecrets("s" * 48)
HOUR_MS = 3_600_000
#: Seconds that a receiver has: more than a test waits for those who mustn't wait for it.
WITHIN = 2 * PATIENCE
#: Seconds that a worker has for what is under way when it ends.
FINISH = 0.3


class House:
    """A database, a receiver, and workers that come and go."""

    def __init__(self, db: Database, receiver: Receiver) -> None:
        self.db, self.receiver = db, receiver
        self.truth, self.outbox, self.deliveries = MongoTruth(db), MongoOutbox(db), MongoDeliveries(db)
        self.clock, self.metrics, self.publisher = ManualClock(NOON), MemoryMetrics(), MemoryPublisher()
        self.vapid = Vapid(new_private_key(), "mailto:us@example.org")
        self.browser = Browser()
        self.senders: list[asyncio.Task[None]] = []
        self.outbounds: list[Outbound] = []

    async def know(self, push: dict[str, str] | None = None, webhooks: dict[str, str] | None = None) -> None:
        """Ada, with a browser at each of these paths and a webhook at each of those, by id."""
        login = Login(
            device="", place="", created_at=1, used_at=1, expires_at=NOON + 9 * DAY_MS, ends_at=NOON + 9 * DAY_MS
        )
        url = self.receiver.url
        channels = Channels(
            id="ada",
            seq=1,
            push={name: self.browser.subscription(url(path)) for name, path in (push or {}).items()},
            webhooks={name: Webhook(url=url(path), created_at=1) for name, path in (webhooks or {}).items()},
        )
        await self.truth.save([a_user("ada"), a_user("bob"), Logins(id="ada", seq=1, sessions={"s1": login}), channels])

    async def ask(self, *names: str, channel: str = "push", again: bool = False, **more: Any) -> None:
        """Requests of these ids come to their agent."""
        usual: dict[str, Any] = {
            "user": "ada",
            "notification": "n1",
            "kind": "message_received",
            "about": {"user": "bob"},
        }
        usual |= {"at": NOON, "expires_at": NOON + 9 * DAY_MS, "channel": channel, **more}
        requests = [DeliveryRequested(id=name, **usual) for name in names]
        if not again:
            await self.db[layout.DELIVERIES].insert_many(
                [{"_id": name, "state": "queued", "rank": RANKS["queued"]} for name in names]
            )
        make = queue_push if channel == "push" else queue_webhooks
        step = make(self.truth, self.outbox, self.deliveries, self.clock, again=again)
        records = [MemoryRecord(offset, b"ada", None) for offset in range(len(requests))]
        for _ in range(2):  # a batch may come twice
            await step.apply([Slice(f"{channel}-requests", 3, records, requests)])

    def send(self, channel: str = "push", **more: Any) -> asyncio.Task[None]:
        """A worker that sends."""
        outbound = Outbound(private=True, within=WITHIN, now=lambda: self.clock.now_ms() / 1000)
        way: Any = PushWay(WebPush(outbound, self.vapid, self.clock), self.clock)
        if channel == "webhook":
            way = WebhookWay(Webhooks(outbound, SECRETS, self.clock))
        usual: dict[str, Any] = {"outbox": self.outbox, "truth": self.truth, "deliveries": self.deliveries}
        usual |= {"publisher": self.publisher, "clock": self.clock, "metrics": self.metrics, "chance": lambda: 0.5}
        task = asyncio.create_task(Sender(way, **{**usual, **more}).run())
        self.senders.append(task)
        self.outbounds.append(outbound)
        return task

    async def state(self, name: str) -> str:
        found = await self.db[layout.DELIVERIES].find_one({"_id": name})
        assert found is not None
        return str(found["state"])

    async def parcel(self, name: str, target: str) -> dict[str, Any]:
        found = await self.db[layout.OUTBOX].find_one({"_id": f"{name}:{target}"})
        assert found is not None
        return found

    def commands(self) -> list[Any]:
        return [
            user_commands.decode(r.value)
            for (topic, _), log in self.publisher.logs.items()
            for r in log
            if topic == USER_COMMANDS.name
        ]


def is_in(house: House, name: str, state: str) -> Callable[[], Any]:
    async def look() -> bool:
        return await house.state(name) == state

    return look


async def end(*tasks: asyncio.Task[None]) -> None:
    """As a worker is told to end; more than once, since PyMongo's client may swallow it before Python 3.12."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=5 * FINISH)


@pytest.fixture
async def house(db: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    # What is under way when a worker ends is a receiver that never answers.
    monkeypatch.setattr(delivering, "FINISH_SECONDS", FINISH)
    receiver = Receiver()
    await receiver.start()
    found = House(db, receiver)
    yield found
    await end(*found.senders)
    for outbound in found.outbounds:
        await outbound.close()
    await receiver.stop()


# -- push


async def test_a_browser_can_read_what_it_is_sent_and_its_service_knows_whose_it_is(house: House) -> None:
    await house.know(push={"p1": "one"})
    await house.ask("d1", group="talk", urgency="high", expires_at=NOON + 60_000)
    house.send()
    await until(is_in(house, "d1", "sent"), "the message")
    [(path, headers, _)] = house.receiver.taken
    [said] = house.receiver.pushed(house.browser, path)
    assert (said["id"], said["kind"], said["title"]) == (
        "n1",
        "message_received",
        f"{a_user('bob').profile.name} has written to you",
    )
    claims = insist_on_vapid(headers, house.receiver.origin, house.vapid.public_key, NOON / 1000)
    assert claims["sub"] == "mailto:us@example.org"
    assert (headers["TTL"], headers["Urgency"], headers["Content-Encoding"]) == ("60", "high", "aes128gcm")
    assert len(headers["Topic"]) == 32


async def test_what_is_asked_for_twice_is_sent_once_to_each_browser(house: House) -> None:
    await house.know(push={"p1": "one", "p2": "two"})
    await house.ask("d1", "d2")
    house.send()
    house.send()
    await until(lambda: len(house.receiver.taken) == 4, "all of them")
    await until(is_in(house, "d2", "sent"), "the state")
    assert sorted(path for path, _, _ in house.receiver.asked) == ["one", "one", "two", "two"]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_browser_that_is_gone_is_unsubscribed_by_a_command(house: House, status: int) -> None:
    await house.know(push={"p1": "one"})
    house.receiver.answers["one"] = [status]
    await house.ask("d1")
    house.send()
    await until(is_in(house, "d1", "skipped"), "the end")
    [command] = house.commands()
    assert (command.actor, command.subscription, command.reason) == ("ada", "p1", "gone")


async def test_a_browser_whose_session_is_over_is_sent_nothing(house: House) -> None:
    await house.know(push={"p1": "one"})
    await house.truth.save([Logins(id="ada", seq=2, sessions={})])
    await house.ask("d1")
    house.send()
    await until(is_in(house, "d1", "skipped"), "the end")
    assert house.receiver.asked == []
    assert [command.reason for command in house.commands()] == ["session_over"]


async def test_a_service_that_is_busy_is_asked_again_when_it_said_so(house: House) -> None:
    await house.know(push={"p1": "one"})
    house.receiver.answers["one"], house.receiver.headers = [429, 201], {"Retry-After": "100"}
    await house.ask("d1")
    house.send()
    await until(lambda: house.metrics.counts.get(("deliveries", "push", "put_off")), "the refusal")
    assert (await house.parcel("d1", "p1"))["due_at"] == NOON + 100_000
    house.clock.now = NOON + 100_000
    await until(is_in(house, "d1", "sent"), "the second try")
    assert len(house.receiver.asked) == 2


async def test_what_is_too_large_is_sent_in_fewer_words(house: House) -> None:
    await house.know(push={"p1": "one"})
    house.receiver.answers["one"] = [413, 201]
    await house.ask("d1")
    house.send()
    await until(is_in(house, "d1", "sent"), "the shorter one")
    [said] = house.receiver.pushed(house.browser, "one")
    assert set(said) == {"id", "kind", "at", "count"}


async def test_a_slow_service_holds_up_nobody_else(house: House) -> None:
    await house.know(push={"p1": "slow", "p2": "quick"})
    house.receiver.hanging.add("slow")
    await house.ask("d1", "d2", "d3")
    house.send()
    await until(lambda: len(house.receiver.pushed(house.browser, "quick")) == 3, "the others")


# -- what ends in between


async def test_a_worker_that_dies_before_it_has_sent_costs_nothing(house: House) -> None:
    await house.know(push={"p1": "one"})
    await house.ask("d1")
    [parcel] = await house.outbox.due("push", NOON, 10)
    assert await house.outbox.claim(parcel, NOON + 60_000)
    house.send()
    await asyncio.sleep(1.2)  # two looks: nobody else has it as long as that may be under way
    assert house.receiver.asked == []
    house.clock.now = NOON + 60_000
    await until(is_in(house, "d1", "sent"), "the message, once the claim is over")
    assert len(house.receiver.asked) == 1


async def test_a_parcel_is_claimed_by_one_of_many(house: House) -> None:
    await house.know(push={"p1": "one"})
    await house.ask("d1")
    [parcel] = await house.outbox.due("push", NOON, 10)
    claims = await asyncio.gather(*(house.outbox.claim(parcel, NOON + 60_000) for _ in range(8)))
    assert [claim for claim in claims if claim is not None] == [replace(parcel, due=NOON + 60_000)]


async def test_a_worker_that_comes_back_after_its_claim_changes_nothing_of_what_others_have_done(house: House) -> None:
    await house.know(push={"p1": "one"})
    await house.ask("d1")
    [parcel] = await house.outbox.due("push", NOON, 10)
    hung = await house.outbox.claim(parcel, NOON + 60_000)
    assert hung is not None
    [again] = await house.outbox.due("push", NOON + 60_000, 10)
    other = await house.outbox.claim(again, NOON + 120_000)
    assert other is not None
    await house.outbox.later(hung, NOON, "it hung")
    await house.outbox.end(hung, "failed", NOON, "it hung")
    await house.outbox.end(other, "sent", NOON + 61_000, "")
    await house.outbox.later(hung, NOON, "it hung")
    found = await house.parcel("d1", "p1")
    assert (found["state"], found["due"], found["ended_at"], found["why"]) == ("sent", None, NOON + 61_000, "")


async def test_a_fault_of_ours_counts_as_a_try_and_says_nothing_of_the_target(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(PushWay, "send", fails)
    await house.know(push={"p1": "one"})
    await house.ask("d1")
    house.send()
    for tries in range(1, len(PUSH_WAITS) + 1):
        await until(lambda tries=tries: put_off(house) == tries, "a try")
        house.clock.now += 12 * HOUR_MS
    await until(lambda: bool(house.publisher.letters), "its end")
    assert "ValueError: a fault" in house.publisher.letters[0].cause
    assert await house.db[layout.FAILING].find_one({}) is None


def put_off(house: House) -> float:
    return house.metrics.counts.get(("deliveries", "push", "put_off"), 0)


async def test_a_message_that_is_repeated_after_a_crash_has_the_topic_of_the_first(house: House) -> None:
    """Sent, and the process ends before the note: the service replaces the one that wasn't fetched yet."""
    await house.know(push={"p1": "one"})
    await house.ask("d1")
    task = house.send(outbox=_Unnoted(house.outbox))
    await until(lambda: len(house.receiver.taken) == 1, "the message")
    await end(task)
    house.clock.now = NOON + 60_000
    house.send()
    await until(is_in(house, "d1", "sent"), "the repetition")
    topics = [headers["Topic"] for _, headers, _ in house.receiver.taken]
    assert len(topics) == 2
    assert topics[0] == topics[1]


class _Unnoted:
    """An outbox of a process that never comes to note what it has sent."""

    def __init__(self, inner: MongoOutbox) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def end(self, *_: Any) -> None:
        await asyncio.Event().wait()


# -- webhooks


async def test_a_webhook_is_called_with_a_signature_that_its_owner_can_check(house: House) -> None:
    await house.know(webhooks={"w1": "hook"})
    await house.ask("d1", channel="webhook")
    house.send("webhook")
    await until(is_in(house, "d1", "delivered"), "the call")
    [(_, headers, body)] = house.receiver.taken
    insist_on_signature(SECRETS.secret("w1"), headers, body)
    with pytest.raises(AssertionError):
        insist_on_signature(SECRETS.secret("w1"), headers, body + b" ")
    with pytest.raises(AssertionError):
        insist_on_signature(SECRETS.secret("w2"), headers, body)
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("d1", str(NOON // 1000))
    said = msgspec.json.decode(body)
    assert (said["type"], said["data"]["notification"], said["data"]["about"]) == (
        "message_received",
        "n1",
        {"user": "bob"},
    )


async def test_a_webhook_that_fails_is_a_dead_letter_after_hours_and_can_be_called_again(
    house: House,
) -> None:
    await house.know(webhooks={"w1": "hook"})
    house.receiver.answers["hook"] = [500]
    await house.ask("d1", channel="webhook")
    house.send("webhook")
    for tries in range(1, len(WEBHOOK_WAITS) + 2):
        await until(lambda tries=tries: len(house.receiver.asked) == tries, f"try {tries}")

        async def noted(tries: int = tries) -> bool:
            return (await house.parcel("d1", "w1"))["tries"] == tries

        await until(noted, "the note")
        house.clock.now = max(house.clock.now, (await house.parcel("d1", "w1"))["due_at"]) + 5 * 60_000
    await until(is_in(house, "d1", "failed"), "the end")
    [letter] = house.publisher.letters
    assert (letter.agent, letter.topic, letter.partition, letter.offset) == ("send-webhook", "webhook-requests", 3, 0)
    assert letter.cause.startswith(f"given up after {len(WEBHOOK_WAITS) + 1} tries: 500")
    ids = {headers["webhook-id"] for _, headers, _ in house.receiver.asked}
    assert ids == {"d1"}
    house.receiver.answers["hook"] = [204]
    await house.ask("d1", channel="webhook", again=True)
    house.clock.now += 10 * 60_000
    await until(is_in(house, "d1", "delivered"), "the letter, sent again")


@pytest.mark.parametrize("agent", ["queue-push", "send-push", "queue-webhooks", "send-webhook"])
async def test_a_request_that_never_came_into_the_outbox_is_in_it_after_a_retry(house: House, agent: str) -> None:
    await house.know(push={"t1": "one"}, webhooks={"t1": "two"})
    soon, channel = round(time.time() * 1000) + HOUR_MS, "push" if "push" in agent else "webhook"
    request = DeliveryRequested(
        id="d1", user="ada", channel=channel, notification="n1", kind="welcome", at=NOON, expires_at=soon
    )
    value = delivery_requests.encode(request)
    letter = Letter(name=Name(f"{channel}-requests", 3, 7, agent), cause="why", at=1, key=b"ada", value=value)
    truth = MemoryTruth()
    stores: Any = (MemoryPublisher(), MemoryProjections(), MemoryListings(), MemoryRelations(truth))
    retry = Retry(telling(truth), *stores, *resend(house.db))
    for _ in range(2):
        await retry(letter)
    assert (await house.parcel("d1", "t1"))["state"] == "queued"


async def test_a_webhook_that_has_failed_for_days_is_switched_off(house: House) -> None:
    await house.know(webhooks={"w1": "hook", "w2": "well"})
    house.receiver.answers["hook"] = [500]
    await house.ask("d1", channel="webhook")
    house.send("webhook")
    await until(lambda: house.metrics.counts.get(("deliveries", "webhook", "put_off")), "the first failure")
    assert house.commands() == []
    house.clock.now = NOON + DISABLED_AFTER_MS
    await until(house.commands, "the command")
    command = house.commands()[0]
    assert (command.actor, command.webhook, command.reason) == ("ada", "w1", "failing")


async def test_a_webhook_that_says_that_it_is_gone_is_switched_off_at_once(house: House) -> None:
    await house.know(webhooks={"w1": "hook"})
    house.receiver.answers["hook"] = [410]
    await house.ask("d1", channel="webhook")
    house.send("webhook")
    await until(house.commands, "the command")
    assert house.commands()[0].reason == "gone"
    assert house.publisher.letters == []


async def test_one_channel_that_is_down_holds_up_no_other(house: House) -> None:
    await house.know(push={"p1": "one"}, webhooks={"w1": "hook"})
    house.receiver.hanging.add("hook")
    await house.ask("d1", channel="webhook")
    await house.ask("d2")
    house.send("webhook")
    house.send()
    await until(is_in(house, "d2", "sent"), "the push message")
    assert await house.state("d1") == "queued"
