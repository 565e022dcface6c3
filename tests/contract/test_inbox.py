"""Inboxes on the real stores: filled through crashes, repeats and lost Redises, and read without a gap."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from agents.inbox import MOST, FillInboxes
from agents.slices import Slice
from devconnect.adapters.inboxes import Inboxes
from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.inbox import MongoInboxReads, MongoInboxStore
from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.connect import close, connect
from devconnect.adapters.redis.inbox import RedisInboxFeed, RedisInboxReads, read_live
from devconnect.domain.inbox import Item
from devconnect.events.inbox import InboxEntry
from devconnect.events.topics import INBOX_EVENTS
from devconnect.ports.inbox import Found, Kept
from devconnect.ports.truth import UnavailableError
from tests.contract.mongo_fixtures import db, mongo_server
from tests.contract.redis_fixtures import Server, client, own_server, servers
from tests.fakes import MemoryMetrics, MemoryRecord
from tests.waiting import PATIENCE

__all__ = ["client", "db", "mongo_server", "own_server", "servers"]

WEEK = timedelta(days=7)


def entry(seq: int, recipient: str = "bob", source: str = "m3") -> InboxEntry:
    data = Raw(msgspec.json.encode({"said": seq}))
    return InboxEntry(recipient=recipient, source=source, seq=seq, id=f"e{seq}", at=seq, kind="message", data=data)


def batch(first: int, *found: InboxEntry) -> list[Slice[InboxEntry]]:
    """The entries as records from that offset on."""
    records = [MemoryRecord(first + index, None, None) for index in range(len(found))]
    return [Slice(INBOX_EVENTS.name, 0, records, found)]


def filling(client: Client, db: Database) -> FillInboxes:
    """A worker that has just started."""
    return FillInboxes(RedisInboxFeed(client, WEEK), MongoInboxStore(db, WEEK), MemoryMetrics())


def reading(client: Client, db: Database) -> Inboxes:
    return Inboxes(RedisInboxReads(client), MongoInboxReads(db))


def said(items: Sequence[Item]) -> list[int]:
    return [msgspec.json.decode(item.text)["data"]["said"] for item in items]


async def all_after(inboxes: Inboxes, user: str, cursor: int) -> list[Item]:
    """Everything that follows, page after page."""
    items: list[Item] = []
    while True:
        found = await inboxes.after(user, cursor, 1)
        assert found.complete
        if not found.items:
            return items
        items += found.items
        cursor = items[-1].cursor


async def test_what_was_put_in_is_read_behind_each_cursor_once_and_in_order(client: Client, db: Database) -> None:
    await filling(client, db).apply(batch(0, entry(1), entry(2, "ada"), entry(3), entry(4)))
    inboxes = reading(client, db)
    assert said(await all_after(inboxes, "bob", 0)) == [1, 3, 4]
    assert said(await all_after(inboxes, "bob", 3)) == [4]
    assert await all_after(inboxes, "bob", 4) == []
    assert await inboxes.heads(["bob", "ada", "nobody"]) == [4, 2, None]


async def test_a_repeat_changes_nothing_at_its_old_place_and_at_a_new_one(client: Client, db: Database) -> None:
    worker = filling(client, db)
    await worker.apply(batch(0, entry(1), entry(2)))
    await worker.apply(batch(0, entry(1), entry(2)))
    await worker.apply(batch(2, entry(1), entry(2), entry(3)))
    await filling(client, db).apply(batch(1, entry(2), entry(1), entry(2), entry(3)))
    inboxes = reading(client, db)
    assert said(await all_after(inboxes, "bob", 0)) == [1, 2, 3]
    await client.flushall()
    assert said(await all_after(inboxes, "bob", 0)) == [1, 2, 3]


async def test_sources_have_clocks_of_their_own(client: Client, db: Database) -> None:
    await filling(client, db).apply(batch(0, entry(5), entry(2, source="m1"), entry(5, source="nm3"), entry(1)))
    assert said(await all_after(reading(client, db), "bob", 0)) == [5, 2, 5]


async def test_more_than_redis_holds_is_read_from_the_database(client: Client, db: Database) -> None:
    worker = filling(client, db)
    count = keys.INBOX_KEPT + 2 * MOST
    for start in range(0, count, 300):
        await worker.apply(batch(start, *(entry(number + 1) for number in range(start, min(start + 300, count)))))
    assert await client.xlen(keys.inbox_items("bob")) == keys.INBOX_KEPT
    assert said(await all_after(reading(client, db), "bob", 0)) == list(range(1, count + 1))


async def test_a_redis_that_was_wiped_is_no_gap_and_no_repeat(client: Client, db: Database) -> None:
    worker = filling(client, db)
    await worker.apply(batch(0, entry(1), entry(2)))
    await client.flushall()
    inboxes = reading(client, db)
    assert said(await all_after(inboxes, "bob", 1)) == [2]
    await worker.apply(batch(2, entry(2), entry(3)))
    assert said(await all_after(inboxes, "bob", 0)) == [1, 2, 3]
    assert await inboxes.heads(["bob"]) == [4]


class LosesNotes(MongoInboxStore):
    """A worker that is killed before it has kept anything."""

    async def keep(self, kept: Sequence[Kept]) -> None:
        raise UnavailableError("killed")


async def test_a_worker_killed_between_the_stores_comes_to_the_same_cursors(client: Client, db: Database) -> None:
    await filling(client, db).apply(batch(0, entry(1)))
    dying = FillInboxes(RedisInboxFeed(client, WEEK), LosesNotes(db, WEEK), MemoryMetrics())
    with pytest.raises(UnavailableError):
        await dying.apply(batch(1, entry(2), entry(3)))
    seen = await all_after(reading(client, db), "bob", 0)
    await filling(client, db).apply(batch(1, entry(2), entry(3), entry(4)))
    after = await all_after(reading(client, db), "bob", 0)
    assert after[: len(seen)] == seen
    assert said(after) == [1, 2, 3, 4]
    await client.flushall()
    assert await all_after(reading(client, db), "bob", 0) == after


async def test_a_worker_that_seeds_too_late_takes_nothing_back(client: Client, db: Database) -> None:
    """It was paused after it had looked how far the inbox is, and another one owns its partition by now."""
    await filling(client, db).apply(batch(0, entry(1)))
    late, heads = RedisInboxFeed(client, WEEK), await MongoInboxStore(db, WEEK).heads(["bob"])
    await filling(client, db).apply(batch(1, entry(2), entry(3)))
    await late.seed(heads)
    await filling(client, db).apply(batch(3, entry(4)))
    assert said(await all_after(reading(client, db), "bob", 1)) == [2, 3, 4]


async def test_a_redis_that_went_back_in_time_is_not_believed(own_server: Server, db: Database) -> None:
    """It was killed, and what it has of the inbox is from some time before: as with a replica that was behind."""
    client = connect(own_server.url)
    worker = filling(client, db)
    await worker.apply(batch(0, entry(1)))
    before = await client.dump(keys.inbox("bob"))
    items = await client.dump(keys.inbox_items("bob"))
    await worker.apply(batch(1, entry(2), entry(3)))
    inboxes = reading(client, db)
    assert said(await all_after(inboxes, "bob", 0)) == [1, 2, 3]
    await client.restore(keys.inbox("bob"), 0, before, replace=True)
    await client.restore(keys.inbox_items("bob"), 0, items, replace=True)
    own_server.kill()
    own_server.start()
    assert said(await all_after(inboxes, "bob", 0)) == [1, 2, 3]
    await worker.apply(batch(3, entry(4)))
    assert said(await all_after(inboxes, "bob", 0)) == [1, 2, 3, 4]
    assert said(await all_after(reading(client, db), "bob", 1)) == [2, 3, 4]
    await close(client)


async def test_without_redis_the_database_answers(own_server: Server, db: Database) -> None:
    client = connect(own_server.url)
    await filling(client, db).apply(batch(0, entry(1), entry(2)))
    own_server.kill()
    inboxes = reading(client, db)
    assert said(await all_after(inboxes, "bob", 0)) == [1, 2]
    with pytest.raises(UnavailableError):
        await inboxes.heads(["bob"])
    await close(client)


async def test_what_is_kept_no_more_is_said_and_the_newest_given(client: Client, db: Database) -> None:
    await filling(client, db).apply(batch(0, *(entry(number) for number in range(1, 6))))
    await db[layout.INBOX_ITEMS].delete_many({"k": {"$lte": layout.inbox_key("bob", 1, 3)}})
    await client.flushall()
    found = await reading(client, db).after("bob", 1, 1)
    assert (found.complete, said(found.items)) == (False, [4, 5])
    assert said((await reading(client, db).after("bob", 3, 1)).items) == [4, 5]


async def test_an_inbox_of_which_nothing_is_kept_any_more_says_so(client: Client, db: Database) -> None:
    await filling(client, db).apply(batch(0, entry(1), entry(2)))
    await db[layout.INBOX_ITEMS].delete_many({})
    await client.flushall()
    inboxes = reading(client, db)
    assert await inboxes.after("bob", 1, 1) == Found(1, 2, [], False)
    assert await inboxes.after("bob", 2, 1) == Found(1, 2, [], True)


async def test_a_cursor_of_another_epoch_recovers_nothing(client: Client, db: Database) -> None:
    await filling(client, db).apply(batch(0, entry(1)))
    found = await reading(client, db).after("bob", 0, 2)
    assert (found.complete, found.epoch) == (False, 1)


async def test_a_log_that_was_lost_begins_another_epoch(client: Client, db: Database) -> None:
    await filling(client, db).apply(batch(100, entry(1), entry(2)))
    await filling(client, db).apply(batch(0, entry(3)))
    inboxes = reading(client, db)
    assert not (await inboxes.after("bob", 101, 1)).complete
    found = await inboxes.after("bob", 0, 2)
    assert (found.complete, said(found.items)) == (True, [3])
    await filling(client, db).apply(batch(1, entry(4)))
    await client.flushall()
    assert said((await inboxes.after("bob", 0, 2)).items) == [3, 4]


async def test_an_entry_that_the_database_hasn_t_got_yet_is_waited_for(client: Client, db: Database) -> None:
    """A batch is written there in any order."""
    await filling(client, db).apply(batch(0, entry(1), entry(2), entry(3)))
    await client.flushall()
    table = db[layout.INBOX_ITEMS]
    [early] = await table.find({"k": layout.inbox_key("bob", 1, 2)}).to_list(None)
    await table.delete_one({"_id": early["_id"]})
    inboxes = reading(client, db)
    assert said((await inboxes.after("bob", 0, 1)).items) == [1]
    later = asyncio.create_task(inboxes.after("bob", 1, 1))
    await asyncio.sleep(0.15)
    await table.insert_one(early)
    assert said((await later).items) == [2, 3]


@pytest.fixture
async def listening(client: Client) -> AsyncIterator[Any]:
    if not hasattr(client, "pubsub"):
        pytest.skip("a cluster client hears nothing here")
    pubsub = client.pubsub()
    await pubsub.subscribe(keys.live("bob"))
    await pubsub.get_message(timeout=5)
    yield pubsub
    await pubsub.aclose()


async def test_whoever_listens_hears_what_is_new_and_no_repeat(client: Client, db: Database, listening: Any) -> None:
    worker = filling(client, db)
    await worker.apply(batch(0, entry(1), entry(2, "ada"), entry(3)))
    await worker.apply(batch(2, entry(3), entry(1), entry(4)))
    heard: list[Any] = []
    while (message := await listening.get_message(timeout=0.5 if len(heard) == 3 else PATIENCE)) is not None:
        if message["type"] == "message":
            heard.append(read_live(message["data"].encode()))
    assert heard == await all_after(reading(client, db), "bob", 0)
    assert [(item.cursor, item.previous) for item in heard] == [(1, 0), (3, 1), (5, 3)]


async def test_a_redis_that_stands_still_is_waited_for_and_nothing_is_lost(own_server: Server, db: Database) -> None:
    client = connect(own_server.url, socket_timeout=0.3)
    worker = filling(client, db)
    await worker.apply(batch(0, entry(1)))
    own_server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(UnavailableError):
            await worker.apply(batch(1, entry(2)))
    finally:
        own_server.signal(signal.SIGCONT)
    await worker.apply(batch(1, entry(2), entry(3)))
    assert said(await all_after(reading(client, db), "bob", 0)) == [1, 2, 3]
    await close(client)
