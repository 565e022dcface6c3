"""The agents that decide deliveries: once each, whatever is repeated and wherever a process ends."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from agents.deliveries import SLACK_MS, DecideDeliveries, KeepDeliveries, RaiseDigests, SendDue
from agents.notifications import DecideNotifications
from agents.processing import Slice
from devconnect.domain import delivering as d, notifications as n
from devconnect.domain.delivering import Rule
from devconnect.domain.model import AnyDocument, Conversation, Position, User, ref_of
from devconnect.domain.projections import AddNotification, MarkNotificationsRead, MarkNotificationsSeen
from devconnect.events import facts as f
from devconnect.events.topics import (
    MAIL_REQUESTS,
    NOTIFICATION_EVENTS,
    PUSH_REQUESTS,
    USER_EVENTS,
    WEBHOOK_REQUESTS,
    delivery_requests,
    mail_requests,
    notification_events,
)
from devconnect.ports.deliveries import Advance
from tests.delivery_fakes import SET_UP, MemoryDeliveries, MemoryDigests, MemoryFocus, MemoryOccasions
from tests.fakes import CrashError, Hook, ManualClock, MemoryMetrics, MemoryPublisher, MemoryRecord, MemoryTruth
from tests.unit.test_delivering import EVERYTHING, HOUR, NIGHT, NOW, a_user, prefers, raised


class Desk:
    """The agents on stores in memory; bob is the only person."""

    def __init__(self, user: User | None = None) -> None:
        self.truth, self.publisher, self.clock = MemoryTruth(), MemoryPublisher(), ManualClock(NOW)
        self.deliveries, self.digests = MemoryDeliveries(self.truth), MemoryDigests(self.truth)
        self.focus, self.metrics = MemoryFocus(), MemoryMetrics()
        self.decide = DecideDeliveries(
            truth=self.truth,
            deliveries=self.deliveries,
            focus=self.focus,
            publisher=self.publisher,
            clock=self.clock,
            metrics=self.metrics,
        )
        ports: dict[str, Any] = {"truth": self.truth, "publisher": self.publisher, "clock": self.clock}
        self.due = SendDue(deliveries=self.deliveries, **ports)
        self.digest = RaiseDigests(digests=self.digests, **ports)
        self.is_so(user or a_user())
        self.is_so(SET_UP)

    def is_so(self, document: AnyDocument) -> None:
        self.truth.documents[ref_of(document)] = document

    async def raised(self, *events: f.NotificationRaised, offset: int = 0) -> None:
        await self.decide.apply([slice_of(events, offset)])

    def asked(self) -> list[f.DeliveryRequested | f.MailRequested]:
        """What the channels were asked for, each id once, as they take it."""
        topics = ((PUSH_REQUESTS, delivery_requests), (WEBHOOK_REQUESTS, delivery_requests))
        found: dict[str, Any] = {}
        for topic, codec in (*topics, (MAIL_REQUESTS, mail_requests)):
            for record in self.publisher.logs.get((topic.name, 0), []):
                one: Any = codec.decode(record.value)
                assert found.setdefault(one.id, one) == one, "the same request says the same"
                assert record.key == one.user.encode()
        return list(found.values())

    def pushes(self) -> list[f.DeliveryRequested | f.MailRequested]:
        return [each for each in self.asked() if each.id.endswith(":push")]

    def rules(self, channel: str = "push") -> list[tuple[str, Rule]]:
        found = [each for each in self.deliveries.stored.values() if each.channel == channel]
        return [(each.state, each.rule) for each in sorted(found, key=lambda each: each.id)]


def slice_of(events: Sequence[Any], offset: int = 0, topic: str = NOTIFICATION_EVENTS.name) -> Slice[Any]:
    records = [MemoryRecord(offset + index, b"bob", None) for index in range(len(events))]
    return Slice(topic, 0, records, list(events))


async def test_a_replay_decides_nothing_and_asks_for_the_same() -> None:
    desk = Desk()
    for _ in range(3):
        await desk.raised(raised(), raised(n.WELCOME, 1))
        desk.clock.now += 400_000
    assert Counter(each.id.rpartition(":")[2] for each in desk.asked()) == {"push": 2, "webhook": 2, "email": 2}
    assert {each.decided_at for each in desk.deliveries.stored.values()} == {NOW}
    assert len(desk.deliveries.stored) == 8
    assert desk.metrics.counts["deliveries_decided", "push", "wanted"] == 2


async def test_a_notification_that_is_there_twice_in_a_batch_is_decided_once() -> None:
    desk = Desk()
    await desk.raised(raised(), raised())
    assert len(desk.pushes()) == 1
    assert desk.rules() == [("queued", Rule.WANTED)]


@given(st.integers(1, 40), st.lists(st.integers(0, 90_000), min_size=1, max_size=5))
async def test_wherever_the_process_ends_each_is_decided_once_and_asked_for(step: int, gaps: list[int]) -> None:
    desk, steps = Desk(), 0

    def crash(_: str) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise CrashError

    desk.deliveries.hook = desk.publisher.hook = crash
    for number, gap in enumerate(gaps):
        desk.clock.now += gap
        while True:
            try:
                await desk.raised(raised(number=number), offset=number)
                break
            except CrashError:
                desk.clock.now += 30_000
    desk.clock.now += HOUR
    while True:
        try:
            await desk.due.tick()
            break
        except CrashError:
            desk.clock.now += 1
    states = {each.state for each in desk.deliveries.stored.values() if each.channel == "push"}
    assert states <= {"queued", "skipped"}
    told = {each.id: each for each in desk.deliveries.stored.values() if each.channel == "push"}
    leaders = {each.id for each in desk.pushes()}
    assert all(name in leaders or one.into in leaders for name, one in told.items())


def once(name: str) -> Hook:
    """Ends the process the first time that this is done."""
    left = [name]

    def hook(step: str) -> None:
        if left == [step]:
            left.clear()
            raise CrashError

    return hook


async def test_a_window_that_a_crash_has_lost_is_there_after_the_replay() -> None:
    desk = Desk()
    desk.deliveries.hook = once("window")
    with pytest.raises(CrashError):
        await desk.raised(raised())
    assert desk.deliveries.stored_windows == {}
    await desk.raised(raised())
    await desk.raised(raised(number=1), offset=1)
    assert desk.rules() == [("queued", Rule.WANTED), ("held", Rule.GATHERED)]


async def test_what_is_due_is_asked_for_though_the_process_ends_as_it_asks() -> None:
    desk = Desk(prefers(quiet_hours=NIGHT))
    await desk.raised(raised())
    desk.clock.now += 2 * HOUR
    desk.publisher.hook = once("publish")
    with pytest.raises(CrashError):
        await desk.due.tick()
    for _ in range(3):
        await desk.due.tick()
    assert {each.id.rpartition(":")[2] for each in desk.asked()} == {"push", "email", "webhook"}


async def test_one_that_can_not_be_asked_for_keeps_back_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(prefers(quiet_hours=NIGHT))
    await desk.raised(raised(n.WELCOME), raised(n.WELCOME, 1))
    desk.clock.now += 2 * HOUR
    real = desk.deliveries.let_go

    async def fails_of_one(delivery: d.Delivery) -> None:
        if delivery.notification == raised().notification:
            raise ValueError("can't")
        await real(delivery)

    monkeypatch.setattr(desk.deliveries, "let_go", fails_of_one)
    await desk.due.tick()
    assert [state for state, _ in desk.rules()] == ["held", "queued"]
    monkeypatch.undo()
    await desk.due.tick()
    assert [state for state, _ in desk.rules()] == ["queued", "queued"]


async def test_five_messages_of_one_conversation_are_one_push_at_once_and_one_that_counts_them() -> None:
    desk = Desk()
    for number in range(5):
        await desk.raised(raised(number=number), offset=number)
        desk.clock.now += 10_000
    assert len(desk.pushes()) == 1
    desk.clock.now = NOW + d.GATHER_MS["push"] + SLACK_MS - 1
    await desk.due.tick()
    assert len(desk.pushes()) == 1
    desk.clock.now += 1
    for _ in range(2):
        await desk.due.tick()
    first, second = desk.pushes()
    assert (first.count, second.count) == (1, 5), "it takes the first one's place"
    assert isinstance(second, f.DeliveryRequested)
    assert second.group == "conversation:ann.bob"
    assert desk.rules()[1][0] == "queued"


async def test_a_gathered_one_counts_only_what_was_not_seen() -> None:
    desk = Desk()
    for number in range(4):
        await desk.raised(raised(number=number), offset=number)
    seen = raised(number=1).notification
    await desk.truth.mark_notifications_seen([MarkNotificationsSeen("bob", seen)])
    desk.clock.now += HOUR
    await desk.due.tick()
    assert [each.count for each in desk.pushes()] == [1, 2]


@pytest.mark.parametrize("how", ["seen", "read", "said"])
async def test_what_was_seen_before_it_is_due_is_not_sent(how: str) -> None:
    desk = Desk(prefers(quiet_hours=NIGHT))
    await desk.raised(raised())
    name = raised().notification
    if how == "seen":
        await desk.truth.mark_notifications_seen([MarkNotificationsSeen("bob", name)])
    elif how == "read":
        await desk.truth.mark_notifications_read([MarkNotificationsRead("bob", (name,), NOW)])
    else:
        read = {"bob": Position(delivered=256, read=256)}
        desk.is_so(
            Conversation(id="ann.bob", seq=1, users=("ann", "bob"), last=256, last_at=1, count=1, positions=read)
        )
    desk.clock.now += 2 * HOUR
    await desk.due.tick()
    assert desk.rules() == desk.rules("email") == [("skipped", Rule.SEEN_ALREADY)]
    assert [each.id.rpartition(":")[2] for each in desk.asked()] == ["webhook"]


async def test_what_is_held_goes_when_the_quiet_hours_end_and_not_before() -> None:
    desk = Desk(prefers(quiet_hours=NIGHT))
    await desk.raised(raised())
    desk.clock.now += HOUR
    await desk.due.tick()
    assert desk.pushes() == []
    desk.clock.now = NOW + HOUR + HOUR // 2 + SLACK_MS
    await desk.due.tick()
    assert [each.count for each in desk.pushes()] == [1]


async def test_nothing_is_pushed_that_is_on_screen_as_long_as_the_device_says_so() -> None:
    desk = Desk()
    await desk.focus.look_at("bob", "phone", "conversation:ann.bob", NOW + 1)
    await desk.raised(raised())
    desk.clock.now += 1
    await desk.raised(raised(number=1), offset=1)
    assert desk.rules() == [("skipped", Rule.ON_SCREEN), ("queued", Rule.WANTED)]


async def test_what_was_seen_is_so_in_the_deliveries_and_states_go_forward_only() -> None:
    desk = Desk()
    await desk.raised(raised(n.WELCOME), raised(n.WELCOME, 1), raised(n.WELCOME, 2))
    names = [each.id for each in desk.deliveries.stored.values() if each.channel == "push"]
    await desk.deliveries.advance([Advance(delivery=names[0], state="sent", at=NOW + 1)])
    keep = KeepDeliveries(desk.deliveries, desk.digests)
    marks: list[Any] = [
        f.NotificationsSeen(id="s.0", seq=1, at=NOW + 5, user="bob", up_to=raised(number=1).notification),
        f.NotificationsRead(id="s.1", seq=2, at=NOW + 6, user="bob", notifications=(raised(number=1).notification,)),
        f.NotificationsSeen(id="s.2", seq=3, at=NOW + 7, user="eve", up_to=raised(number=2).notification),
    ]
    for _ in range(2):
        await keep.apply([slice_of(marks, topic=USER_EVENTS.name)])
    await desk.deliveries.advance([Advance(delivery=names[0], state="delivered", at=NOW + 9)])
    assert [state for state, _ in desk.rules()] == ["seen", "seen", "queued"]
    assert desk.deliveries.stored[names[0]].moved_at == NOW + 5


# -- what is raised


async def test_people_to_meet_are_raised_at_the_first_log_in_of_a_day_however_often_it_is_repeated() -> None:
    desk, occasions = Desk(), MemoryOccasions()
    publisher = desk.publisher
    step = DecideNotifications(USER_EVENTS, publisher, desk.truth, occasions)
    logins = [
        f.UserLoggedIn(id=f"l{number}.0", seq=number, at=NOW + number, user="bob", session="s", expires_at=9)
        for number in range(3)
    ]
    for batch in (logins[:2], logins[1:], logins):
        await step.apply([slice_of(batch, topic=USER_EVENTS.name)])
    found = [notification_events.decode(each.value) for each in publisher.logs[NOTIFICATION_EVENTS.name, 0]]
    assert {each.cause for each in found} == {"l0.0"}


async def test_nobody_is_told_of_people_to_meet_on_their_first_day_or_after_their_last() -> None:
    logged_in = f.UserLoggedIn(id="l.0", seq=1, at=NOW, user="bob", session="s", expires_at=9)
    for user in (a_user(created_at=NOW - n.DAY_MS + 1), a_user(deleted=True)):
        desk = Desk(user)
        step = DecideNotifications(USER_EVENTS, desk.publisher, desk.truth, MemoryOccasions())
        await step.apply([slice_of([logged_in], topic=USER_EVENTS.name)])
        assert desk.publisher.logs == {}


async def test_what_is_switched_off_in_the_list_is_raised_and_not_listed() -> None:
    off = replace(EVERYTHING, message_received=f.Switches(in_app=False))
    desk = Desk(prefers(kinds=off))
    step = DecideNotifications(USER_EVENTS, desk.publisher, desk.truth, MemoryOccasions())
    said = f.MessageSent(
        id="m.0",
        seq=1,
        at=NOW,
        conversation="ann.bob",
        message="m",
        sender="ann",
        recipient="bob",
        text="hi",
        previous=0,
    )
    welcome = f.UserSignedUp(
        id="w.0", seq=2, at=NOW, user="bob", email="b@x", profile=f.Profile(name="Bob"), tier="free", role="member"
    )
    await step.apply([slice_of([said, welcome], topic=USER_EVENTS.name)])
    found = [notification_events.decode(each.value) for each in desk.publisher.logs[NOTIFICATION_EVENTS.name, 0]]
    assert [(each.kind, each.listed) for each in found] == [(n.NEW_MESSAGE, False), (n.WELCOME, True)]


# -- digests


async def a_digest(desk: Desk, *kinds: str) -> list[f.NotificationRaised]:
    """What is raised when the first digest is due, after these notifications."""
    preferences = f.NotificationPreferences(kinds=EVERYTHING, digest=f.Digest(every="daily", hour=20))
    changed = f.NotificationPreferencesChanged(id="p.0", seq=7, at=NOW, user="bob", preferences=preferences)
    desk.is_so(a_user(notification_preferences=preferences))
    for _ in range(2):
        await KeepDeliveries(desk.deliveries, desk.digests).apply([slice_of([changed], topic=USER_EVENTS.name)])
    for number, kind in enumerate(kinds):
        name = f"{NOW + number:013d}-x{number}"
        await desk.truth.add_notifications([AddNotification("bob", name, kind, {}, NOW + number)])
    desk.clock.now = NOW + 8 * HOUR - 1
    await desk.digest.tick()
    assert (NOTIFICATION_EVENTS.name, 0) not in desk.publisher.logs
    desk.clock.now += 1
    for _ in range(2):
        await desk.digest.tick()
    records = desk.publisher.logs.get((NOTIFICATION_EVENTS.name, 0), [])
    return [notification_events.decode(each.value) for each in records]


async def test_a_digest_counts_what_is_not_read_by_kind_and_comes_once() -> None:
    desk = Desk()
    [digest] = await a_digest(desk, n.NEW_MESSAGE, n.NEW_REQUEST, n.NEW_MESSAGE, n.SUGGESTIONS)
    assert digest.about == {"connection_requested": "1", "message_received": "2"}
    assert (digest.recipient, digest.at) == ("bob", NOW + 8 * HOUR)
    due = desk.digests.schedules["bob"]
    assert (due.at, due.since) == (NOW + 32 * HOUR, NOW + 8 * HOUR)


async def test_there_is_no_digest_of_nothing_or_of_what_had_a_mail_of_its_own() -> None:
    assert await a_digest(Desk(), *n.CRITICAL) == []


async def test_a_digest_whose_worker_was_killed_is_raised_again_as_the_same_and_told_of_once() -> None:
    desk = Desk()

    def crash(_: str) -> None:
        desk.digests.hook = lambda _: None
        raise CrashError

    desk.digests.hook = crash
    with pytest.raises(CrashError):
        await a_digest(desk, n.NEW_MESSAGE)
    await desk.digest.tick()
    records = desk.publisher.logs[NOTIFICATION_EVENTS.name, 0]
    first, second = [notification_events.decode(each.value) for each in records]
    assert first == second
    await desk.raised(first, second)
    assert len([each for each in desk.asked() if each.id.endswith(":email")]) == 1


async def test_whoever_is_gone_or_wants_none_gets_no_digest() -> None:
    desk = Desk()
    await a_digest(desk)
    keep = KeepDeliveries(desk.deliveries, desk.digests)
    await keep.apply(
        [slice_of([f.UserDeleted(id="d.0", seq=9, at=NOW, user="bob", email="b")], topic=USER_EVENTS.name)]
    )
    assert desk.digests.schedules["bob"].at is None
