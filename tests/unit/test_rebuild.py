"""Read models that were lost are built anew from every event there is, and are complete only then."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents import rebuild as rebuild_module
from agents.rebuild import RebuildProjections
from devconnect.domain import projections
from devconnect.domain.projections import Update
from devconnect.events import facts as f
from devconnect.events.topics import CONNECTION_EVENTS, MESSAGE_EVENTS, NOTIFICATION_EVENTS, USER_EVENTS, Topic
from devconnect.ports.truth import UnavailableError
from faust_batch.changelog import Chunk
from tests.fakes import MemoryProjections
from tests.table_fakes import MemoryLog
from tests.waiting import until

AT = 1_700_000_000_000
TOPICS = (USER_EVENTS, CONNECTION_EVENTS, MESSAGE_EVENTS, NOTIFICATION_EVENTS)
USERS = [f.TierChanged(id=f"c{n}.0", seq=n * 256, at=AT + n, user=f"u{n}", tier="gold") for n in range(1, 6)]
PAIRS = [f.ConnectionAccepted(id=f"c{n}.0", seq=n * 256, at=AT + n, by="ann", other=f"u{n}") for n in range(1, 4)]
RAISED = [
    f.NotificationRaised(
        id=event.id, seq=event.seq, at=event.at, notification=event.id, recipient="bob", kind="k", cause="c", about={}
    )
    for event in PAIRS
]
SAID: list[f.AnyMessageEvent] = [
    f.MessageSent(
        id="c6.0",
        seq=6 * 256,
        at=AT,
        conversation="ann.bob",
        message="c6",
        sender="ann",
        recipient="bob",
        text="Hello",
        previous=0,
    ),
    f.MessageEdited(
        id="c7.0", seq=7 * 256, at=AT, conversation="ann.bob", of=6 * 256, message="c6", sender="ann", text="Hallo"
    ),
    f.MessageDeleted(id="c8.0", seq=8 * 256, at=AT, conversation="ann.bob", of=6 * 256, message="c6", sender="ann"),
]
EVERY: list[Update] = [update for event in (*USERS, *PAIRS, *SAID, *RAISED) for update in projections.project(event)]


class Store(MemoryProjections):
    """Read models that can be down, and be wiped."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.failures: list[Exception] = []

    async def complete(self) -> bool:
        self.looks += 1
        self.hook("complete")
        return await super().complete()

    async def declare_complete(self) -> None:
        self.hook("declare")
        await super().declare_complete()

    def wipe(self) -> None:
        self.updates.clear()
        self.whole = False


class Events:
    """What the topics hold; a partition a topic, two for the users."""

    def __init__(self) -> None:
        self.logs = {topic.name: MemoryLog() for topic in TOPICS}
        self.reads: list[str] = []

    async def fill(self) -> None:
        for topic, partition, events in (
            (USER_EVENTS, 0, USERS[:3]),
            (USER_EVENTS, 1, USERS[3:]),
            (CONNECTION_EVENTS, 0, PAIRS),
            (MESSAGE_EVENTS, 0, SAID),
            (NOTIFICATION_EVENTS, 0, RAISED),
        ):
            await self.put(topic, partition, *(topic.codec.encode(event) for event in events))

    async def put(self, topic: Topic, partition: int, *values: bytes | None) -> None:
        await self.logs[topic.name].append(partition, [(b"key", value) for value in values])

    def read(self, topic: str) -> AsyncIterator[Chunk]:
        self.reads.append(topic)
        return self.logs[topic].read({0: 0, 1: 0})


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def events() -> Events:
    found = Events()
    await found.fill()
    return found


@pytest.fixture
def rebuild(store: Store, events: Events) -> RebuildProjections:
    return RebuildProjections(TOPICS, events.read, store)


@pytest.fixture
async def running(rebuild: RebuildProjections, monkeypatch: pytest.MonkeyPatch):
    """Called, it lets the rebuilding look for ever, a thousand times a second."""
    monkeypatch.setattr(rebuild_module, "AUDIT_SECONDS", 0.001)
    tasks: list[asyncio.Task[None]] = []
    yield lambda: tasks.append(asyncio.create_task(rebuild.run()))
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def by_text(updates: list[Update]) -> list[str]:
    return sorted(map(repr, updates))


async def test_every_event_of_every_topic_and_partition_is_applied(rebuild: RebuildProjections, store: Store) -> None:
    await rebuild.rebuild()
    assert by_text(store.updates) == by_text(EVERY)
    assert store.whole
    assert rebuild.complete


async def test_the_events_of_a_partition_are_applied_in_order(rebuild: RebuildProjections, store: Store) -> None:
    await rebuild.rebuild()
    users = [update.user for update in store.updates if isinstance(update, projections.PutUser)]
    assert [user for user in users if user in {"u1", "u2", "u3"}] == ["u1", "u2", "u3"]


async def test_what_can_not_be_decoded_is_passed_by(rebuild: RebuildProjections, store: Store, events: Events) -> None:
    """The agent that met it first has buried it."""
    await events.put(USER_EVENTS, 0, b"hello", None, b"\xff", b'{"type":"nobody.knows"}')
    await events.put(USER_EVENTS, 0, b'{"type":"user.tier_changed"}', b'{"type":"nobody.knows", broken')
    await rebuild.rebuild()
    assert by_text(store.updates) == by_text(EVERY)
    assert store.whole


async def test_empty_topics_are_complete_at_once(store: Store) -> None:
    rebuild = RebuildProjections(TOPICS, Events().read, store)
    await rebuild.rebuild()
    assert store.updates == []
    assert rebuild.complete


async def test_the_read_models_are_complete_only_after_the_last_event(
    rebuild: RebuildProjections, store: Store
) -> None:
    steps: list[tuple[str, int]] = []
    store.hook = lambda step: steps.append((step, len(store.updates)))
    await rebuild.rebuild()
    assert steps[-1] == ("declare", len(EVERY))
    assert [step for step, _ in steps].count("declare") == 1


async def test_a_rebuild_that_fails_declares_nothing(rebuild: RebuildProjections, store: Store) -> None:
    def fail(step: str) -> None:
        if len(store.updates) > 4:
            raise UnavailableError("Redis is down")

    store.hook = fail
    with pytest.raises(UnavailableError):
        await rebuild.rebuild()
    assert not store.whole
    assert not rebuild.complete


async def test_complete_read_models_are_left_alone(
    rebuild: RebuildProjections, store: Store, events: Events, running: Any
) -> None:
    store.whole = True
    running()
    await until(lambda: store.looks > 3)
    assert events.reads == []
    assert rebuild.complete


async def test_lost_read_models_are_found_by_looking_and_built_anew_each_time(
    rebuild: RebuildProjections, store: Store, running: Any
) -> None:
    running()
    for _ in range(2):
        await until(lambda: rebuild.complete and store.whole)
        assert by_text(store.updates) == by_text(EVERY)
        store.wipe()
    await until(lambda: len(store.updates) == len(EVERY) and store.whole)


@pytest.mark.parametrize("where", ["complete", "apply", "declare"])
async def test_a_store_that_is_down_is_looked_at_again(
    rebuild: RebuildProjections, store: Store, running: Any, where: str
) -> None:
    left = 3

    def fail(step: str) -> None:
        nonlocal left
        if step == where and left:
            left -= 1
            raise UnavailableError("Redis is down")

    store.hook = fail
    running()
    await until(lambda: rebuild.complete)
    assert left == 0
    assert {repr(update) for update in store.updates} == set(by_text(EVERY))


OUT = f.UserLoggedOut(id="c9.0", seq=9 * 256, at=AT, user="u1", session="s1")


async def test_after_a_restart_of_the_store_every_event_is_applied_again(
    rebuild: RebuildProjections, store: Store, events: Events, running: Any
) -> None:
    """It may have come back as it was some time ago: whose log-out, role or block it has missed isn't known."""
    await events.put(USER_EVENTS, 1, USER_EVENTS.codec.encode(OUT))
    store.whole, store.sessions = True, False
    failures = [UnavailableError("Redis is down")] * 3

    def fail(step: str) -> None:
        if step == "apply":
            assert not store.sessions, "declared before all was applied"
            if failures:
                raise failures.pop()

    store.hook = fail
    running()
    await until(lambda: store.sessions)
    assert {*by_text(store.updates)} == {*by_text([*EVERY, *projections.project(OUT)])}


async def test_topics_that_can_not_be_read_are_read_again(
    rebuild: RebuildProjections, store: Store, events: Events, running: Any
) -> None:
    events.logs[CONNECTION_EVENTS.name].read_errors += [UnavailableError("Kafka is down")] * 3
    running()
    await until(lambda: rebuild.complete)
    assert events.reads.count(CONNECTION_EVENTS.name) == 4
    assert {repr(update) for update in store.updates} == set(by_text(EVERY))


def test_a_topic_without_a_codec_can_not_be_built_from() -> None:
    topic = Topic(name="t", key="k", written_by="w", read_by="r", config={})
    events = Events()
    events.logs["t"] = MemoryLog()

    async def run() -> None:
        await events.put(topic, 0, b"x")
        await RebuildProjections((topic,), events.read, Store()).rebuild()

    with pytest.raises(ValueError, match="t has no codec"):
        asyncio.run(run())
