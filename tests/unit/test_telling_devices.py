"""The command agents tell devices: of each event just what the domain says, whoever decided it, before any answer."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agents.commands import DecideCommands
from agents.slices import Slice
from devconnect.domain import inbox
from devconnect.domain.deciding import Answer
from devconnect.domain.model import Connection
from devconnect.events import commands as c
from devconnect.events.inbox import InboxEntry
from devconnect.events.topics import INBOX_EVENTS, MESSAGE_COMMANDS, MESSAGE_EVENTS, inbox_events
from devconnect.ports.metrics import NoMetrics
from devconnect.ports.publisher import Record
from devconnect.ports.truth import UnavailableError
from tests.fakes import MemoryAnswers, MemoryProjections, MemoryPublisher, MemoryRecord, MemoryTruth

PARTITION = 3


class Deaf(MemoryPublisher):
    """Takes nothing for inboxes while it is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.down = False

    async def spread(self, topic: str, records: Sequence[Record]) -> None:
        await self.open.wait()
        if self.down:
            raise UnavailableError("Kafka is down")
        await super().spread(topic, records)


class Room:
    """The agent of messages, and all that is around it."""

    def __init__(self) -> None:
        self.truth, self.publisher, self.answers = MemoryTruth(), Deaf(), MemoryAnswers()
        between = Connection(id="ann.bob", seq=1, users=("ann", "bob"), state="accepted", by="ann", at=0)
        asyncio.run(self.truth.save([between]))

    async def decide(self, *commands: c.AnyCommand, first: int = 0) -> None:
        """By an agent that has just started."""
        agent = DecideCommands(
            MESSAGE_COMMANDS,
            truth=self.truth,
            publisher=self.publisher,
            projections=MemoryProjections(),
            answers=self.answers,
            metrics=NoMetrics(),
        )
        records = [MemoryRecord(first + number, None, None) for number in range(len(commands))]
        await agent.apply([Slice(MESSAGE_COMMANDS.name, PARTITION, records, commands)])

    @property
    def told(self) -> list[InboxEntry]:
        """What is in the topic, in order."""
        return [
            inbox_events.decode(record.value or b"") for record in self.publisher.logs.get((INBOX_EVENTS.name, 0), [])
        ]

    @property
    def due(self) -> list[InboxEntry]:
        """What the events in their topic call for."""
        codec = MESSAGE_EVENTS.codec
        assert codec is not None
        events: list[Any] = [
            codec.decode(record.value or b"") for record in self.publisher.logs[MESSAGE_EVENTS.name, PARTITION]
        ]
        return [entry for event in events for entry in inbox.entries(event, f"m{PARTITION}")]


def send(number: int, **more: Any) -> c.SendMessage:
    return c.SendMessage(id=f"c{number}", actor="ann", at=number, to="bob", text=f"t{number}", **more)


CHANGES: tuple[c.AnyCommand, ...] = (
    send(1),
    c.EditMessage(id="c2", actor="ann", at=2, peer="bob", message=256, text="e"),
    c.MarkDelivered(id="c3", actor="bob", at=3, peer="ann", up_to=256),
    c.MarkRead(id="c4", actor="bob", at=4, peer="ann", up_to=256),
    c.DeleteMessage(id="c5", actor="ann", at=5, peer="bob", message=256),
)


@pytest.fixture
def room() -> Room:
    return Room()


def test_each_event_is_told_as_the_domain_says(room: Room) -> None:
    asyncio.run(room.decide(*CHANGES))
    assert room.told == room.due
    assert {entry.recipient for entry in room.told} == {"ann", "bob"}
    assert [entry.kind for entry in room.told if entry.recipient == "bob"] == [
        "message", "message_changed", "status", "status", "message_changed"
    ]  # fmt: skip


def test_what_is_refused_or_asked_again_is_told_to_nobody(room: Room) -> None:
    asyncio.run(room.decide(c.SendMessage(id="c0", actor="ann", at=0, to="cem", text="x"), send(1)))
    asyncio.run(room.decide(send(1, fingerprint="other"), first=2))
    assert [entry.recipient for entry in room.told] == ["ann", "bob"]


def test_a_decision_that_is_carried_on_from_is_told_too(room: Room) -> None:
    """Its agent died with the decision stored, and nothing told; the next one finds it."""
    room.publisher.down = True
    with pytest.raises(UnavailableError):
        asyncio.run(room.decide(*CHANGES))
    assert len(room.truth.stored) == len(CHANGES)
    assert room.told == []
    room.publisher.down = False
    asyncio.run(room.decide(*CHANGES))
    assert {entry.id for entry in room.told} == {entry.id for entry in room.due}
    assert len(room.told) == 2 * len(CHANGES)


def test_nobody_is_answered_before_their_devices_are_told(room: Room) -> None:
    async def decide() -> None:
        room.publisher.open.clear()
        deciding = asyncio.create_task(room.decide(send(1)))
        for _ in range(50):
            await asyncio.sleep(0)
        # All else is done.
        assert room.truth.stored
        assert len(room.publisher.logs[MESSAGE_EVENTS.name, PARTITION]) == 1
        assert room.answers.told == {}
        room.publisher.open.set()
        await deciding
        assert set(room.answers.told) == {"c1"}

    asyncio.run(decide())


def test_what_devices_arent_told_isnt_answered_at_all(room: Room) -> None:
    told: list[Answer] = []

    async def tell(answers: Sequence[Answer]) -> None:
        told.extend(answers)

    room.answers.tell = tell
    room.publisher.down = True
    with pytest.raises(UnavailableError):
        asyncio.run(room.decide(send(1)))
    assert told == []
