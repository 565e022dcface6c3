"""The agent that fills inboxes, on stores in memory: how much at a time, and what it does when one of them has lost."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec import Raw

from agents.inbox import CHUNK, MOST, TRIES, FillInboxes
from agents.slices import Slice
from devconnect.adapters.inboxes import Inboxes
from devconnect.adapters.redis.keys import INBOX_KEPT
from devconnect.domain.inbox import Head, Item
from devconnect.events.inbox import InboxEntry
from devconnect.events.topics import INBOX_EVENTS
from devconnect.ports import metrics as m
from devconnect.ports.inbox import Kept, Placed, UnseededError
from devconnect.ports.truth import UnavailableError
from tests.fakes import MemoryMetrics, MemoryRecord
from tests.inbox_fakes import MemoryFar, MemoryInboxFeed, MemoryNear


def entry(seq: int, recipient: str = "bob", source: str = "m3") -> InboxEntry:
    data = Raw(b"{}")
    return InboxEntry(recipient=recipient, source=source, seq=seq, id=f"e{seq}", at=seq, kind="message", data=data)


def part(first: int, *found: InboxEntry, partition: int = 0) -> Slice[InboxEntry]:
    """The entries as records from that offset on."""
    records = [MemoryRecord(first + index, None, None) for index in range(len(found))]
    return Slice(INBOX_EVENTS.name, partition, records, found)


class Feed(MemoryInboxFeed):
    """Notes what it was given at a time."""

    def __init__(self, near: MemoryNear) -> None:
        super().__init__(near)
        self.given: list[list[Placed]] = []
        self.seeded: list[Mapping[str, Head]] = []

    async def append(self, entries: Sequence[Placed]) -> list[Kept]:
        self.given.append([*entries])
        return await super().append(entries)

    async def seed(self, heads: Mapping[str, Head]) -> None:
        self.seeded.append(dict(heads))
        await super().seed(heads)


class Room:
    """Both stores, and a worker."""

    def __init__(self) -> None:
        self.near, self.far, self.metrics = MemoryNear(), MemoryFar(), MemoryMetrics()
        self.start()

    def start(self) -> None:
        """Another worker; what the one before it knew is gone."""
        self.feed = Feed(self.near)
        self.agent = FillInboxes(self.feed, self.far, self.metrics)

    def items(self, user: str = "bob", epoch: int = 1) -> list[tuple[int, int]]:
        """Cursor and the one before of what is kept."""
        return [(item.cursor, item.previous) for item in self.far.items(user, epoch)]

    async def told(self, user: str, cursor: int) -> list[int]:
        """The cursors that a reader finds, as far as they follow."""
        near: Any = self.near
        far: Any = self.far
        found = await Inboxes(near, far).after(user, cursor, 1)
        assert found.complete
        return [item.cursor for item in found.items]


async def test_a_cursor_follows_from_the_offset_and_each_is_held_and_kept() -> None:
    room = Room()
    await room.agent.apply([part(4, entry(1), entry(1, "ada"), entry(2))])
    assert room.items() == [(5, 0), (7, 5)]
    assert room.items("ada") == [(6, 0)]
    assert await room.near.heads(["bob", "ada", "cem"]) == [7, 6, None]
    assert room.far.inboxes["bob"] == Head(1, 7, {"m3": 2})
    assert room.metrics.counts[m.INBOX_ENTRIES.name,] == 3


async def test_one_inbox_gets_fewer_at_a_time_than_are_held_and_each_is_kept_before_the_next() -> None:
    room = Room()
    count = 2 * MOST + 1
    held_most: list[int] = []
    keep = room.far.keep

    async def noting(kept: Sequence[Kept]) -> None:
        held_most.append(len(kept))
        assert sum(len(given) for given in room.feed.given[1:]) == sum(held_most)
        await keep(kept)

    room.far.keep = noting
    await room.agent.apply([part(0, *(entry(number + 1) for number in range(count)))])
    assert held_most == [MOST, MOST, 1]
    assert len(room.items()) == count


async def test_all_inboxes_get_so_many_at_a_time_in_order_over_all_partitions() -> None:
    room = Room()
    slices = [
        part(0, *(entry(1, f"u{partition}.{number}") for number in range(CHUNK - 1)), partition=partition)
        for partition in range(2)
    ]
    await room.agent.apply(slices)
    given = [len(chunk) for chunk in room.feed.given]
    # The first try of each finds inboxes that aren't held yet.
    assert given == [CHUNK, CHUNK, CHUNK - 2, CHUNK - 2]
    assert [placed.entry.recipient for chunk in room.feed.given[::2] for placed in chunk] == [
        value.recipient for each in slices for value in each.values
    ]


async def test_nothing_to_do_is_nothing_done() -> None:
    room = Room()
    await room.agent.apply([part(0)])
    assert room.feed.given == []
    assert room.far.entries == {}


async def test_an_inbox_that_isnt_held_is_seeded_as_far_as_it_is_kept_and_only_that_one() -> None:
    room = Room()
    await room.agent.apply([part(0, entry(1), entry(2, "ada"))])
    del room.near.held["bob"]
    await room.agent.apply([part(2, entry(2), entry(3, "ada"))])
    assert room.feed.seeded[1:] == [{"bob": Head(1, 1, {"m3": 1})}]
    assert room.items() == [(1, 0), (3, 1)]


async def test_a_redis_that_was_started_anew_is_seeded_and_repeats_stay_repeats() -> None:
    room = Room()
    await room.agent.apply([part(0, entry(1), entry(2))])
    room.near.wipe()
    await room.agent.apply([part(1, entry(2), entry(1), entry(3))])
    assert room.items() == [(1, 0), (2, 1), (4, 2)]
    assert await room.told("bob", 2) == [4]


async def test_what_wasnt_kept_when_the_worker_died_comes_to_the_same_place() -> None:
    room = Room()

    async def dying(kept: Sequence[Kept]) -> None:
        raise UnavailableError("killed")

    keep, room.far.keep = room.far.keep, dying
    with pytest.raises(UnavailableError):
        await room.agent.apply([part(0, entry(1), entry(2))])
    held = room.near.held["bob"].items
    room.far.keep = keep
    room.start()
    await room.agent.apply([part(0, entry(1)), part(1, entry(2), entry(3))])
    assert room.items() == [(1, 0), (2, 1), (3, 2)]
    assert room.near.held["bob"].items[:2] == held
    assert room.far.items("bob") == room.near.held["bob"].items


async def test_a_log_that_was_lost_begins_another_epoch_and_is_told_in_it() -> None:
    room = Room()
    await room.agent.apply([part(100, entry(1), entry(1, "ada"))])
    await room.agent.apply([part(0, entry(2), entry(3))])
    assert room.items() == [(101, 0)]
    assert room.items(epoch=2) == [(1, 0), (2, 1)]
    assert room.far.inboxes["ada"].epoch == 1
    near: Any = room.near
    far: Any = room.far
    assert not (await Inboxes(near, far).after("bob", 101, 1)).complete


async def test_a_redis_that_forgets_at_once_is_waited_for_and_no_endless_loop() -> None:
    room = Room()

    class Forgetful(Feed):
        async def append(self, entries: Sequence[Placed]) -> list[Kept]:
            self.given.append([*entries])
            raise UnseededError(["bob"])

    feed = Forgetful(room.near)
    with pytest.raises(UnavailableError):
        await FillInboxes(feed, room.far, room.metrics).apply([part(0, entry(1))])
    assert len(feed.given) == TRIES


async def test_a_store_that_is_down_is_told_to_who_tries_again() -> None:
    room = Room()

    async def down(users: Any) -> Mapping[str, Head]:
        raise UnavailableError("the database is down")

    room.far.heads = down
    with pytest.raises(UnavailableError):
        await room.agent.apply([part(0, entry(1))])
    del room.far.heads
    await room.agent.apply([part(0, entry(1))])
    assert room.items() == [(1, 0)]


async def test_a_worker_that_seeds_too_late_takes_nothing_back() -> None:
    """It was paused after it had looked how far the inbox is; another one owns its partition by now."""
    room = Room()
    await room.agent.apply([part(0, entry(1))])
    room.near.wipe()
    paused = asyncio.Event()

    class Late(Feed):
        async def seed(self, heads: Mapping[str, Head]) -> None:
            await paused.wait()
            await super().seed(heads)

    late = asyncio.create_task(FillInboxes(Late(room.near), room.far, room.metrics).apply([part(1, entry(2))]))
    await asyncio.sleep(0)
    room.start()
    await room.agent.apply([part(1, entry(2), entry(3))])
    paused.set()
    await late
    await room.agent.apply([part(3, entry(4))])
    assert await room.told("bob", 1) == [2, 3, 4]
    assert room.items() == [(1, 0), (2, 1), (3, 2), (4, 3)]


def test_what_isnt_kept_yet_is_always_held() -> None:
    """A worker may die with so much unkept, and the next one have put in as much before it comes to that."""
    assert INBOX_KEPT >= 2 * MOST


def test_items_are_read_as_they_were_put() -> None:
    near = MemoryNear()
    near.seed("bob", 1, Head())
    [kept] = near.append("bob", 1, [Placed(5, entry(1))]) or []
    assert near.held["bob"].items == [Item(5, 0, "message", kept.text.encode())]
