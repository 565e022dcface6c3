"""Deliveries on the real stores: decided once, forward only; and from an event to a request by the real agents."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from agents.deliveries import SLACK_MS, DecideDeliveries, KeepDeliveries, RaiseDigests, SendDue
from agents.notifications import DecideNotifications, DeliverInApp, on_notifications
from agents.processing import Slice
from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.deliveries import MongoDeliveries, MongoOccasions
from devconnect.adapters.mongo.digests import MongoDigests
from devconnect.adapters.mongo.layout import ensure_indexes
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.focus import RedisFocus
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.domain.delivering import CHANNELS, GATHER_MS, Delivery, Rule, Window
from devconnect.domain.projections import MarkNotificationsRead, MarkNotificationsSeen
from devconnect.events import facts as f
from devconnect.events.topics import (
    MESSAGE_EVENTS,
    NOTIFICATION_EVENTS,
    PUSH_REQUESTS,
    USER_EVENTS,
    delivery_requests,
    notification_events,
)
from devconnect.ports.deliveries import Advance, DueDigest, Schedule
from tests.contract.mongo_fixtures import NOON, a_notification, a_user, db, mongo_server
from tests.contract.redis_fixtures import client, servers
from tests.delivery_fakes import SET_UP, a_delivery
from tests.fakes import ManualClock, MemoryMetrics, MemoryPublisher, MemoryRecord

__all__ = ["client", "db", "mongo_server", "servers"]

HOUR = 3_600_000
#: Of four notifications, newest first: the newest was read, the two oldest were seen.
READ_AND_SEEN = [(True, True), (False, False), (False, True), (False, True)]


async def states(deliveries: MongoDeliveries, *found: Delivery) -> list[str]:
    known = await deliveries.find([each.id for each in found])
    return [known[each.id].state for each in found]


async def test_the_first_decision_stays(db: Database) -> None:
    deliveries = MongoDeliveries(db)
    first, other = a_delivery(), a_delivery(notification="1700000000001-x")
    assert await deliveries.decide([first]) == {}
    again = replace(first, rule=Rule.ON_SCREEN, state="skipped")
    assert await deliveries.decide([again, other]) == {first.id: first}
    assert await deliveries.find([first.id, other.id]) == {first.id: first}, "what follows may rest on it"
    assert await deliveries.decide([other, again]) == {first.id: first}
    assert await deliveries.find([first.id, other.id, "nothing"]) == {first.id: first, other.id: other}
    assert await deliveries.decide([]) == await deliveries.find([]) == {}


async def test_states_go_forward_only(db: Database) -> None:
    deliveries, one = MongoDeliveries(db), a_delivery()
    await deliveries.decide([one])
    await deliveries.advance([])
    order: list[Any] = ["failed", "sent", "delivered"]
    for number, state in enumerate(order):
        await deliveries.advance([Advance(delivery=one.id, state=state, at=NOON + number, tries=number + 1, why=state)])
        assert await states(deliveries, one) == [state]
    for state in (*order, "skipped"):
        await deliveries.advance([Advance(delivery=one.id, state=state, at=NOON + 9)])
    found = (await deliveries.find([one.id]))[one.id]
    assert (found.state, found.tries, found.why, found.moved_at) == ("delivered", 3, "delivered", NOON + 2)
    await deliveries.advance([Advance(delivery="nobody's", state="sent", at=NOON)])
    assert await deliveries.find(["nobody's"]) == {}


async def test_what_is_seen_is_seen_up_to_a_notification_and_of_one_person(db: Database) -> None:
    await ensure_indexes(db)
    deliveries = MongoDeliveries(db)
    mine = [a_delivery(notification=f"170000000000{number}-x") for number in range(4)]
    theirs = a_delivery("bobby", notification="1700000000000-x")
    waits = a_delivery(notification="1700000000000-y", state="held", due=NOON)
    await deliveries.decide([*mine, theirs, waits])
    await deliveries.seen("bob", mine[1].notification, NOON)
    await deliveries.read("bob", [mine[3].notification, "unknown"], NOON + 1)
    assert await states(deliveries, *mine) == ["seen", "seen", "queued", "seen"]
    assert await states(deliveries, theirs, waits) == ["queued", "held"]
    await deliveries.seen("bob", mine[3].notification, NOON + 5)
    assert (await deliveries.find([mine[0].id]))[mine[0].id].moved_at == NOON


async def test_what_is_held_is_due_in_order_and_let_go_of_once(db: Database) -> None:
    await ensure_indexes(db)
    deliveries = MongoDeliveries(db)
    held = [a_delivery(notification=f"n{number}", state="held", due=NOON + number) for number in (2, 0, 1, 9)]
    await deliveries.decide([*held, a_delivery(), a_delivery(notification="g", state="skipped", into=held[0].id)])
    assert [each.due - NOON for each in await deliveries.due(NOON + 5, 10)] == [0, 1, 2]
    assert [each.due - NOON for each in await deliveries.due(NOON + 5, 2)] == [0, 1]
    assert [each.notification for each in await deliveries.gathered(held[0].id)] == ["g"]
    await deliveries.let_go(replace(held[1], state="queued", count=3))
    await deliveries.let_go(replace(held[1], state="skipped"))
    await deliveries.let_go(replace(held[2], due=NOON + 20))
    assert [each.due - NOON for each in await deliveries.due(NOON + 30, 10)] == [2, 9, 20]
    found = (await deliveries.find([held[1].id]))[held[1].id]
    assert (found.state, found.count) == ("queued", 3)


async def test_windows_go_forward_only(db: Database) -> None:
    deliveries = MongoDeliveries(db)
    window = Window(id="bob:push:g", seq=5, ends=NOON, opener="a", gatherer="b")
    await deliveries.put_windows([window])
    await deliveries.put_windows([replace(window, seq=4, gatherer=""), replace(window, id="x", seq=1)])
    assert (await deliveries.windows([window.id, "none"])) == {window.id: window}
    await deliveries.put_windows([])


async def test_it_is_known_what_was_seen_or_read(db: Database) -> None:
    truth, deliveries = MongoTruth(db), MongoDeliveries(db)
    notes = [a_notification("ada", number) for number in range(4)]
    await truth.add_notifications(notes)
    names = [("ada", each.notification) for each in notes]
    assert await deliveries.seen_ones(names) == set()
    await truth.mark_notifications_seen([MarkNotificationsSeen("ada", notes[1].notification)])
    await truth.mark_notifications_seen([MarkNotificationsSeen("ada", notes[0].notification)])
    await truth.mark_notifications_seen([])
    await truth.mark_notifications_read([MarkNotificationsRead("ada", (notes[3].notification,), NOON)])
    assert await deliveries.seen_ones(names) == {names[0], names[1], names[3]}
    assert await deliveries.seen_ones([("eve", notes[0].notification)]) == set()
    reads = MongoReads(db)
    page = await reads.notifications("ada", None, 10)
    assert [(each.read, each.seen) for each in page.items] == READ_AND_SEEN
    assert (await reads.unread_notifications("ada"), await reads.unseen_notifications("ada")) == (3, 1)
    assert await reads.unseen_notifications("eve") == 0


async def test_one_event_has_an_occasion(db: Database) -> None:
    occasions = MongoOccasions(db)
    found = await asyncio.gather(*(occasions.claim({"bob:suggestions:1": f"l{number}"}) for number in range(4)))
    assert len({each["bob:suggestions:1"] for each in found}) == 1
    assert await occasions.claim({"bob:suggestions:2": "m"}) == {"bob:suggestions:2": "m"}


async def test_digests_are_due_as_the_newest_preferences_say(db: Database) -> None:
    await ensure_indexes(db)
    digests, truth = MongoDigests(db), MongoTruth(db)
    await digests.schedule(
        [Schedule(user="ada", seq=2, at=NOON, since=1), Schedule(user="bob", seq=1, at=NOON + 1, since=2)]
    )
    await digests.schedule([Schedule(user="ada", seq=1, at=None, since=0)])
    first = DueDigest(user="ada", at=NOON, since=1)
    assert await digests.due(NOON, 10) == [first]
    await digests.done(first, NOON + 5)
    await digests.done(first, NOON + 99)
    assert [(each.user, each.at, each.since) for each in await digests.due(NOON + 5, 10)] == [
        ("bob", NOON + 1, 2),
        ("ada", NOON + 5, NOON),
    ]
    await digests.schedule([Schedule(user="bob", seq=2, at=None, since=0)])
    assert [each.user for each in await digests.due(NOON + 5, 10)] == ["ada"]
    notes = [a_notification("ada", number) for number in range(4)]
    await truth.add_notifications(notes)
    await truth.mark_notifications_read([MarkNotificationsRead("ada", (notes[1].notification,), NOON)])
    assert await digests.unread("ada", NOON, NOON + 3) == {"message_received": 2}


# -- Redis


async def test_what_is_on_screen_counts_until_the_device_says_otherwise_or_its_time_is_over(client: Client) -> None:
    focus = RedisFocus(client)
    far = 4_000_000_000_000
    await focus.look_at("ada", "s1", "conversation:ada.bob", far)
    await focus.look_at("ada", "s2", "conversation:ada.eve", far + 5)
    assert await focus.on_screen(["ada", "bob"], far - 1) == {
        "ada": frozenset(("conversation:ada.bob", "conversation:ada.eve")),
        "bob": frozenset(),
    }
    assert await focus.on_screen(["ada"], far) == {"ada": frozenset(("conversation:ada.eve",))}
    await focus.look_at("ada", "s2", "conversation:ada.zoe", far - 9)
    await focus.look_away("ada", "s1")
    assert await focus.on_screen(["ada"], far - 10) == {"ada": frozenset(("conversation:ada.zoe",))}
    assert await client.pttl(keys.focus("ada")) > 0


async def test_the_mark_of_what_was_seen_goes_forward_only(client: Client) -> None:
    store, reads = RedisProjections(client), RedisReads(client)
    await store.declare_complete()
    notes = [a_notification("ada", number) for number in range(4)]
    await store.apply([*notes, MarkNotificationsSeen("ada", notes[1].notification)])
    await store.apply([MarkNotificationsSeen("ada", notes[0].notification)])
    await store.apply([MarkNotificationsRead("ada", (notes[3].notification,), NOON)])
    assert (await reads.unread_notifications("ada"), await reads.unseen_notifications("ada")) == (3, 1)
    page = await reads.notifications("ada", None, 10)
    assert page is not None
    assert [(each.read, each.seen) for each in page.items] == READ_AND_SEEN
    assert await reads.unseen_notifications("eve") == 0


# -- the agents


class Whole:
    """From events to requests, on the real stores; Kafka is a list."""

    def __init__(self, db: Database, redis: Client) -> None:
        self.truth, self.publisher, self.clock = MongoTruth(db), MemoryPublisher(), ManualClock(NOON)
        self.deliveries, self.occasions = MongoDeliveries(db), MongoOccasions(db)
        self.keep = KeepDeliveries(self.deliveries, MongoDigests(db))
        decide = DecideDeliveries(
            truth=self.truth,
            deliveries=self.deliveries,
            focus=RedisFocus(redis),
            publisher=self.publisher,
            clock=self.clock,
            metrics=MemoryMetrics(),
        )
        self.told = on_notifications(DeliverInApp(self.truth, RedisProjections(redis), self.publisher), decide)
        ports: dict[str, Any] = {"truth": self.truth, "publisher": self.publisher, "clock": self.clock}
        self.due = SendDue(deliveries=self.deliveries, **ports)
        self.digests = RaiseDigests(digests=MongoDigests(db), **ports)

    async def happens(self, *events: f.AnyEvent) -> None:
        topic = MESSAGE_EVENTS if isinstance(events[0], f.MessageEvent) else USER_EVENTS
        records = [MemoryRecord(number, None, None) for number in range(len(events))]
        step = DecideNotifications(topic, self.publisher, self.truth, self.occasions)
        await step.apply([Slice(topic.name, 0, records, list(events))])
        if topic is USER_EVENTS:
            await self.keep.apply([Slice[Any](topic.name, 0, records, list(events))])
        await self.notify()

    async def notify(self) -> None:
        """All that was raised, from the beginning: as after a crash."""
        log = self.publisher.logs.get((NOTIFICATION_EVENTS.name, 0), [])
        records = [MemoryRecord(number, each.key, each.value) for number, each in enumerate(log)]
        values = [notification_events.decode(each.value) for each in log]
        await self.told.apply([Slice(NOTIFICATION_EVENTS.name, 0, records, values)])

    def pushes(self) -> dict[str, int]:
        """By request how many it counts."""
        log = self.publisher.logs.get((PUSH_REQUESTS.name, 0), [])
        found = [delivery_requests.decode(each.value) for each in log]
        return {each.id: each.count for each in found}


def said(number: int) -> f.MessageSent:
    place: dict[str, Any] = {"id": f"m{number}.0", "seq": 256 * (number + 1), "at": NOON + number, "previous": 0}
    return f.MessageSent(
        **place, conversation="ada.bob", message=f"m{number}", sender="ada", recipient="bob", text="hi"
    )


async def test_messages_of_one_conversation_are_told_of_in_two_and_each_can_be_asked_for(
    db: Database, client: Client
) -> None:
    await ensure_indexes(db)
    whole = Whole(db, client)
    await whole.truth.save([a_user("bob"), a_user("ada"), SET_UP])
    for number in range(4):
        await whole.happens(said(number))
        whole.clock.now += 1_000
    whole.clock.now += GATHER_MS["push"] + SLACK_MS
    for _ in range(2):
        await whole.due.tick()
        await whole.notify()
    assert list(whole.pushes().values()) == [1, 4]
    why = await MongoReads(db).deliveries("bob", f"{NOON + 2:013d}-m2.0")
    assert [each.channel for each in why] == list(CHANNELS)
    by_channel = {each.channel: (each.state, each.rule) for each in why}
    assert by_channel["in_app"] == ("delivered", Rule.WANTED)
    assert by_channel["push"] == ("skipped", Rule.GROUPED)
    assert by_channel["email"] == ("skipped", Rule.SWITCHED_OFF)
    assert by_channel["webhook"] == ("queued", Rule.WANTED)


async def test_quiet_hours_hold_a_push_until_they_end_unless_it_is_seen(db: Database, client: Client) -> None:
    await ensure_indexes(db)
    whole = Whole(db, client)
    # NOON of these samples is 22:13 UTC.
    quiet = f.NotificationPreferences(quiet_hours=f.QuietHours(start="22:00", end="07:00"))
    await whole.truth.save([replace(a_user("bob"), notification_preferences=quiet), SET_UP])
    await whole.happens(said(0), replace(said(1), conversation="bob.eve", sender="eve"))
    await whole.happens(f.PasswordChanged(id="p.0", seq=1, at=NOON, user="bob"))
    assert [name.split(":")[1] for name in whole.pushes()] == [f"{NOON:013d}-p.0"], "what is critical passes"
    first = f"{NOON:013d}-m0.0"
    seen = f.NotificationsSeen(id="s.0", seq=2, at=NOON, user="bob", up_to=first)
    await whole.truth.mark_notifications_seen([MarkNotificationsSeen("bob", first)])
    await whole.happens(seen)
    whole.clock.now += 10 * HOUR
    await whole.due.tick()
    assert [name.split(":")[1] for name in whole.pushes()] == [f"{NOON:013d}-p.0", f"{NOON + 1:013d}-m1.0"]
    found = {each.channel: each for each in await MongoReads(db).deliveries("bob", first)}
    assert (found["push"].state, found["push"].rule) == ("skipped", Rule.SEEN_ALREADY)
    assert found["in_app"].state == "seen"


async def test_nothing_is_pushed_of_what_is_on_screen(db: Database, client: Client) -> None:
    whole = Whole(db, client)
    await whole.truth.save([a_user("bob"), SET_UP])
    await RedisFocus(client).look_at("bob", "phone", "conversation:ada.bob", 4_000_000_000_000)
    await whole.happens(said(0))
    assert whole.pushes() == {}


async def test_a_digest_tells_of_what_is_not_read(db: Database, client: Client) -> None:
    await ensure_indexes(db)
    whole = Whole(db, client)
    preferences = f.NotificationPreferences(digest=f.Digest(every="daily", hour=8))
    await whole.truth.save([replace(a_user("bob"), notification_preferences=preferences, email_verified=True)])
    await whole.happens(
        f.NotificationPreferencesChanged(id="p.0", seq=1, at=NOON - 1, user="bob", preferences=preferences)
    )
    await whole.happens(said(0), said(1))
    whole.clock.now += 12 * HOUR
    for _ in range(2):
        await whole.digests.tick()
    await whole.notify()
    log = whole.publisher.logs["mail-requests", 0]
    assert len(log) == 1
    assert b'"about":{"message_received":"2"}' in (log[0].value or b"")


@pytest.mark.parametrize("fails_at", ["decide", "windows"])
async def test_a_database_that_fails_in_the_middle_changes_nothing_of_what_is_decided(
    db: Database, client: Client, fails_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Whole(db, client)
    await whole.truth.save([a_user("bob"), SET_UP])
    await whole.happens(said(0))
    method = {"decide": "decide", "windows": "put_windows"}[fails_at]
    real, failures = getattr(whole.deliveries, method), [ConnectionError("gone")]

    async def failing(argument: Any) -> Any:
        found = await real(argument)
        if failures:
            raise failures.pop()
        return found

    monkeypatch.setattr(whole.deliveries, method, failing)
    whole.clock.now += 1_000
    with pytest.raises(ConnectionError):
        await whole.happens(said(1))
    whole.clock.now += 1_000
    await whole.notify()
    await whole.happens(said(2))
    push = [
        (await whole.deliveries.find([f"bob:{NOON + number:013d}-m{number}.0:push"])).popitem()[1]
        for number in range(3)
    ]
    assert [(each.state, each.rule) for each in push] == [
        ("queued", Rule.WANTED),
        ("held", Rule.GATHERED),
        ("skipped", Rule.GROUPED),
    ]
    assert push[2].into == push[1].id
