"""What the projections say of how far they are: after each batch, and where nothing happens."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from agents import projections as module
from agents.projections import ProjectEvents, RefreshMarks
from agents.slices import Slice
from agents.windows import Sources
from devconnect.domain.projections import Update
from devconnect.events.base import seq_of
from devconnect.events.facts import MessageSent
from devconnect.events.topics import MESSAGE_COMMANDS, MESSAGE_EVENTS
from devconnect.ports.projections import Mark
from devconnect.ports.truth import UnavailableError
from devconnect.ports.windows import Progress
from tests.fakes import ManualClock, MemoryProjections, MemoryRecord
from tests.unit.test_notifications import SAMPLES
from tests.waiting import until

TOPIC = MESSAGE_EVENTS.name
AT = 1_700_000_000_000


def said(offset: int, at: int) -> Any:
    sample: Any = SAMPLES["message.sent"]
    return MessageSent(
        **{name: getattr(sample, name) for name in sample.__struct_fields__} | {"seq": seq_of(offset), "at": at}
    )


def part(partition: int, *events: Any) -> Slice[Any]:
    return Slice(TOPIC, partition, [MemoryRecord(n, None, b"") for n in range(len(events))], list(events))


async def test_after_a_batch_the_last_seq_and_the_newest_time_of_each_partition_are_told() -> None:
    store = MemoryProjections()
    step = ProjectEvents(MESSAGE_EVENTS, store)
    await step.apply([part(0, said(1, AT + 5), said(2, AT + 3)), part(3, said(7, AT))])
    assert store.marks == {(TOPIC, 0): Mark(seq_of(2), AT + 5), (TOPIC, 3): Mark(seq_of(7), AT)}
    await step.apply([])


async def test_nothing_is_told_before_it_is_applied() -> None:
    class Failing(MemoryProjections):
        async def apply(self, updates: Sequence[Update]) -> None:
            raise UnavailableError("down")

    store = Failing()
    with pytest.raises(UnavailableError):
        await ProjectEvents(MESSAGE_EVENTS, store).apply([part(0, said(1, AT))])
    assert store.marks == {}


class Kafka(Progress):
    """Ends of commands and events, and how far commands are decided, alike in every partition."""

    def __init__(self) -> None:
        self.accepted = self.decided = self.written = 0
        self.down = False
        self.asked = 0

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        self.asked += 1
        if self.down:
            raise UnavailableError("down")
        return dict.fromkeys(partitions, self.accepted if topic == MESSAGE_COMMANDS.name else self.written)

    async def committed(self, group: str, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        assert (group, topic) == ("deciders", MESSAGE_COMMANDS.name)
        return dict.fromkeys(partitions, self.decided)


class World:
    """A worker that applies the message events of some partitions."""

    def __init__(self) -> None:
        self.kafka, self.clock, self.store = Kafka(), ManualClock(AT), MemoryProjections()
        self.applied = {0: 0, 1: 0}
        self.assigned = {0, 1}
        self.complete = True
        source = Sources(
            MESSAGE_EVENTS,
            self.kafka,
            self.clock,
            decided_by="deciders",
            folded=lambda partition: self.applied[partition],
        )
        self.refresh = RefreshMarks([source], lambda _: self.assigned, lambda: self.complete, self.store)


async def test_where_all_is_decided_and_applied_it_is_so_up_to_now() -> None:
    world = World()
    world.kafka.accepted = world.kafka.decided = 10
    world.kafka.written, world.applied = 7, {0: 7, 1: 6}
    await world.refresh.tick()
    # Up to whatever the tenth command, of offset 9, can have led to.
    assert world.store.marks == {(TOPIC, 0): Mark(seq_of(9, 255), AT)}
    world.clock.now += 1000
    world.applied[1] = 7
    await world.refresh.tick()
    assert world.store.marks[TOPIC, 1] == world.store.marks[TOPIC, 0] == Mark(seq_of(9, 255), AT + 1000)


@pytest.mark.parametrize("behind", ["undecided", "unapplied", "incomplete", "elsewhere"])
async def test_where_something_is_still_to_come_nothing_is_told(behind: str) -> None:
    world = World()
    world.kafka.accepted, world.kafka.decided = 10, 9 if behind == "undecided" else 10
    world.kafka.written = 7
    world.applied = dict.fromkeys((0, 1), 6 if behind == "unapplied" else 7)
    world.complete = behind != "incomplete"
    world.assigned = set() if behind == "elsewhere" else {0, 1}
    await world.refresh.tick()
    assert world.store.marks == {}


async def test_what_came_while_it_was_looked_for_does_not_count_as_applied() -> None:
    world = World()

    class Growing(Kafka):
        async def committed(self, group: str, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
            found = await super().committed(group, topic, partitions)
            self.accepted = self.decided = self.written = 11
            world.applied = {0: 11, 1: 11}
            world.clock.now += 50
            return found

    growing = Growing()
    world.refresh._sources[0]._progress = growing
    growing.accepted = growing.decided = 10
    await world.refresh.tick()
    assert world.store.marks[TOPIC, 0] == Mark(seq_of(9, 255), AT)


async def test_it_goes_on_looking_when_kafka_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.001)
    world = World()
    world.kafka.down = True
    running = asyncio.create_task(world.refresh.run())
    await until(lambda: world.kafka.asked > 3)
    assert world.store.marks == {}
    world.kafka.down = False
    await until(lambda: len(world.store.marks) == 2)
    running.cancel()
