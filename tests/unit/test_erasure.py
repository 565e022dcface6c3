"""What is between a deleted person and others ends, by their own commands, each of them once."""

from typing import Any

import pytest

from agents.erasure import EraseRelations
from agents.slices import Slice
from devconnect.domain import erasure
from devconnect.domain.model import Connection, ref_of
from devconnect.events import commands as c, facts as f
from devconnect.events.base import pair_id
from devconnect.events.topics import CONNECTION_COMMANDS, connection_commands
from devconnect.ports.truth import UnavailableError
from tests.fakes import MemoryPublisher, MemoryRecord, MemoryRelations, MemoryTruth

GONE = f.UserDeleted(id="c9.1", seq=9, at=77, user="ann", email="ann@x")


def between(other: str, state: Any, by: str) -> Connection:
    one, two = sorted(("ann", other))
    return Connection(id=pair_id("ann", other), seq=1, users=(one, two), state=state, by=by, at=1)


class Fixture:
    def __init__(self, *connections: Connection) -> None:
        self.truth, self.publisher = MemoryTruth(), MemoryPublisher()
        for connection in connections:
            self.truth.documents[ref_of(connection)] = connection
        self.step = EraseRelations(MemoryRelations(self.truth), self.publisher)

    async def apply(self, *events: f.AnyUserEvent) -> list[c.ConnectionCommand]:
        records = [MemoryRecord(number, None, None) for number in range(len(events))]
        await self.step.apply([Slice("user-events", 0, records, events)])
        log = self.publisher.logs.pop((CONNECTION_COMMANDS.name, 0), [])
        commands = [connection_commands.decode(record.value) for record in log]
        assert [record.key for record in log] == [command.key.encode() for command in commands]
        return commands


async def test_what_stands_is_ended_as_the_deleted_person_would_and_nothing_else() -> None:
    given = Fixture(
        between("bob", "accepted", "bob"),
        between("cem", "requested", "ann"),
        between("dea", "requested", "dea"),
        between("eve", "rejected", "ann"),
        between("fay", "removed", "fay"),
        between("gil", "ignored", "ann"),
    )
    found = await given.apply(GONE)
    assert all((command.actor, command.at, len(command.id)) == ("ann", 77, 32) for command in found)
    assert [(type(command), command.key) for command in found] == [
        (c.RemoveConnection, "ann.bob"),
        (c.WithdrawRequest, "ann.cem"),
        (c.ReviewConnection, "ann.dea"),
    ]
    assert found[2] == c.ReviewConnection(id=found[2].id, actor="ann", at=77, requester="dea", verdict="rejected")


async def test_asked_again_it_is_the_same_commands() -> None:
    """So each is decided once, however often the event comes."""
    given = Fixture(between("bob", "accepted", "bob"), between("cem", "requested", "ann"))
    assert await given.apply(GONE) == await given.apply(GONE)
    ids = {command.id for command in await given.apply(GONE)}
    another = erasure.commands(
        f.UserDeleted(id="c8.1", seq=9, at=77, user="ann", email="ann@x"), [("bob", "accepted", "bob")]
    )
    assert len(ids) == 2
    assert another[0].id not in ids


async def test_however_many_there_are_all_of_them_end() -> None:
    given = Fixture(*(between(f"user{number:04}", "accepted", "ann") for number in range(450)))
    assert len({command.id for command in await given.apply(GONE)}) == 450


async def test_other_events_end_nothing() -> None:
    given = Fixture(between("bob", "accepted", "bob"))
    assert await given.apply(f.EmailVerified(id="c9.0", seq=9, at=77, user="ann", email="ann@x")) == []


async def test_a_store_that_does_not_know_is_asked_again_later() -> None:
    class Unknown(MemoryRelations):
        async def relations(self, *_: Any, **__: Any) -> None:
            return None

    step = EraseRelations(Unknown(MemoryTruth()), MemoryPublisher())
    with pytest.raises(UnavailableError):
        await step.apply([Slice("user-events", 0, [MemoryRecord(0, None, None)], [GONE])])
