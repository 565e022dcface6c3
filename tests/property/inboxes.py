"""Inboxes in the simulation: filled behind gates, and read by people's devices now and then."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from devconnect.adapters.inboxes import Inboxes
from devconnect.domain import inbox
from devconnect.domain.inbox import Head, Item
from devconnect.events.inbox import InboxEntry
from devconnect.events.topics import COMMAND_TO_EVENT
from devconnect.ports.inbox import InboxFeed, InboxStore, Kept, Placed, ResetError, UnseededError
from devconnect.ports.truth import UnavailableError
from tests.inbox_fakes import MemoryFar, MemoryInboxFeed, MemoryNear


class Post:
    """What outlives the workers: both stores, and one device of each person, which reads from where it was."""

    def __init__(self, people: Collection[str]) -> None:
        self.near, self.far = MemoryNear(), MemoryFar()
        near: Any = self.near
        far: Any = self.far
        self._inboxes = Inboxes(near, far)
        #: What each device was told, in order.
        self.told: dict[str, list[Item]] = {user: [] for user in people}

    async def read(self, user: str) -> None:
        """All that is new, as a device reads it that comes back: what lies between is never missing."""
        told = self.told[user]
        while True:
            cursor = told[-1].cursor if told else 0
            found = await self._inboxes.after(user, cursor, 1)
            assert found.complete, (user, cursor, found)
            if not found.items:
                return
            assert found.items[0].cursor > cursor
            told += found.items


class GatedFeed(InboxFeed):
    """Redis behind the gates of a process: what one person gets is one script, so it is done or not."""

    def __init__(self, process: Any, near: MemoryNear) -> None:
        self._process, self._feed = process, MemoryInboxFeed(near)

    async def append(self, entries: Sequence[Placed]) -> list[Kept]:
        outcome = await self._process.gate("feed.append")
        users = _reached(list(dict.fromkeys(placed.entry.recipient for placed in entries)), outcome)
        try:
            kept = await self._feed.append([placed for placed in entries if placed.entry.recipient in users])
        except (UnseededError, ResetError):
            if outcome == "done":
                raise
        if outcome == "done":
            return kept
        raise UnavailableError(f"append: {outcome}")

    async def seed(self, heads: Mapping[str, Head]) -> None:
        outcome = await self._process.gate("feed.seed")
        users = _reached(list(heads), outcome)
        await self._feed.seed({user: heads[user] for user in users})
        if outcome != "done":
            raise UnavailableError(f"seed: {outcome}")


class GatedStore(InboxStore):
    """The database behind them: a bulk is written in any order, and heads once all of it is there."""

    def __init__(self, process: Any, far: MemoryFar) -> None:
        self._process, self._far = process, far

    async def heads(self, users: Collection[str]) -> Mapping[str, Head]:
        found = await self._far.heads(users)
        if await self._process.gate("store.heads") != "done":
            raise UnavailableError("heads")
        return found

    async def keep(self, kept: Sequence[Kept]) -> None:
        outcome = await self._process.gate("store.keep")
        if outcome == "done":
            # The heads are another call: a process may be gone in between.
            self._far.keep_entries(kept)
            outcome = await self._process.gate("store.keep heads")
        if outcome in ("done", "lost"):
            await self._far.keep(kept)
        else:
            self._far.keep_entries(_reached(list(kept), outcome))
        if outcome != "done":
            raise UnavailableError(f"keep: {outcome}")

    async def renew(self, users: Collection[str]) -> None:
        raise AssertionError(f"no log is lost, and so none of {users} begins anew")


def _reached(items: list[Any], outcome: str) -> list[Any]:
    match outcome:
        case "half":
            return items[::2]
        case "rest":
            return items[1::2]
        case "down":
            return []
        case _:
            return items


def assert_told(post: Post, entries: Collection[InboxEntry]) -> None:
    """Each inbox has each of these once, those of a source in their order, in one chain; each device was told so."""
    assert set(post.far.entries) == {(entry.recipient, entry.source, entry.seq) for entry in entries}
    assert {stored.epoch for stored in post.far.entries.values()} <= {1}
    for user in {entry.recipient for entry in entries} | set(post.told):
        items = post.far.items(user)
        for item, later in pairwise(items):
            assert later.previous == item.cursor, (user, item, later)
        places = sorted((stored.item.cursor, of[1:]) for of, stored in post.far.entries.items() if of[0] == user)
        last: dict[str, int] = {}
        for _, (source, seq) in places:
            assert seq > last.get(source, 0), (user, source, seq)
            last[source] = seq
        assert post.told.get(user, items) == items


def due(events: Mapping[tuple[str, int], Sequence[Any]], raised: Collection[Any]) -> list[InboxEntry]:
    """The entries that these events call for: by commands topic and partition, and the notifications raised by them."""
    found = [
        entry
        for (topic, partition), part in events.items()
        for event in part
        for entry in inbox.entries(event, inbox.source_of(COMMAND_TO_EVENT[topic].name, partition))
    ]
    return found + [entry for event in raised for entry in inbox.entries(event, f"n{event.source}")]
