"""Inboxes in memory: what Redis holds and what the database keeps of them, each with the promises of its adapter."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from devconnect.domain.inbox import Head, Item, text_of
from devconnect.ports.inbox import Heard, InboxFeed, InboxStore, Kept, Placed, ResetError, UnseededError
from devconnect.ports.truth import UnavailableError


@dataclass
class Held:
    """One inbox in Redis, in the run in which it was put there."""

    run: int
    epoch: int
    head: int
    sources: dict[str, int]
    items: list[Item] = field(default_factory=list)


class MemoryNear:
    """Redis: the newest of each inbox, and who listens. Also the near half of ports.inbox.Inbox."""

    def __init__(self, most: int = 500) -> None:
        self.run = 1
        self.held: dict[str, Held] = {}
        self.most = most
        self.down = False
        self.listeners: dict[str, Heard] = {}

    def wipe(self) -> None:
        """It was started anew, and has lost everything."""
        self.run += 1
        self.held.clear()

    def append(self, user: str, run: int, own: Sequence[Placed]) -> list[Kept] | None:
        """What is in the inbox now of these; None where it isn't held in this run. ResetError for another log."""
        held = self.held.get(user)
        if held is None or held.run != run:
            return None
        kept: list[Kept] = []
        for cursor, entry in ((placed.cursor, placed.entry) for placed in own):
            last = held.sources.get(entry.source, 0)
            if cursor > held.head and entry.seq > last:
                item = Item(cursor, held.head, entry.kind, text_of(entry, held.epoch, cursor).encode())
                held.items = [*held.items, item][-self.most :]
                held.head, held.sources[entry.source] = cursor, entry.seq
                if user in self.listeners:
                    self.listeners[user](item)
            elif cursor <= held.head and entry.seq > last:
                raise ResetError([user])
            there = next((item for item in held.items if item.cursor == cursor), None)
            if there is not None:
                kept.append(Kept(Placed(cursor, entry), held.epoch, there.previous, there.text.decode()))
        return kept

    def seed(self, user: str, run: int, head: Head) -> None:
        """Hold it from here on, unless it is held already, and as far as that."""
        held = self.held.get(user)
        if held is None or held.run != run or (held.epoch, held.head) < (head.epoch, head.cursor):
            self.held[user] = Held(run, head.epoch, head.cursor, dict(head.sources))

    async def heads(self, users: Sequence[str]) -> list[int | None]:
        self._insist()
        return [held.head if (held := self._held(user)) is not None else None for user in users]

    async def after(self, user: str, cursor: int) -> tuple[int, int, list[Item]] | None:
        self._insist()
        held = self._held(user)
        if held is None:
            return None
        return held.epoch, held.head, [item for item in held.items if item.cursor > cursor]

    def _held(self, user: str) -> Held | None:
        held = self.held.get(user)
        return held if held is not None and held.run == self.run else None

    def _insist(self) -> None:
        if self.down:
            raise UnavailableError("Redis is down")


class MemoryInboxFeed(InboxFeed):
    """One worker's way there: it finds out that Redis was started anew when an append fails."""

    def __init__(self, near: MemoryNear) -> None:
        self._near = near
        self._run: int | None = None

    async def append(self, entries: Sequence[Placed]) -> list[Kept]:
        run = self._current()
        inboxes: dict[str, list[Placed]] = {}
        for placed in entries:
            inboxes.setdefault(placed.entry.recipient, []).append(placed)
        kept: list[Kept] = []
        unheld: list[str] = []
        again: list[str] = []
        for user, own in inboxes.items():
            try:
                found = self._near.append(user, run, own)
            except ResetError:
                again.append(user)
                continue
            if found is None:
                unheld.append(user)
            else:
                kept += found
        if self._near.run != run:
            self._run = None
        if unheld:
            raise UnseededError(unheld)
        if again:
            raise ResetError(again)
        return kept

    async def seed(self, heads: Mapping[str, Head]) -> None:
        run = self._current()
        for user, head in heads.items():
            self._near.seed(user, run, head)

    def _current(self) -> int:
        if self._run is None:
            self._run = self._near.run
        return self._run


@dataclass
class Stored:
    """An entry in the database."""

    epoch: int
    item: Item


class MemoryFar(InboxStore):
    """The database: each entry by recipient, source and seq, and how far each inbox is. Also the far half of Inbox."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str, int], Stored] = {}
        self.inboxes: dict[str, Head] = {}
        self.down = False

    async def heads(self, users: Collection[str]) -> Mapping[str, Head]:
        return {user: self.inboxes.get(user, Head()) for user in users}

    async def keep(self, kept: Sequence[Kept]) -> None:
        self.keep_entries(kept)
        for each in kept:
            entry, head = each.placed.entry, self.inboxes.get(each.placed.entry.recipient, Head())
            if head.epoch == each.epoch:
                sources = {**head.sources, entry.source: max(entry.seq, head.sources.get(entry.source, 0))}
                cursor = max(head.cursor, each.placed.cursor)
                self.inboxes[entry.recipient] = replace(head, cursor=cursor, sources=sources)

    def keep_entries(self, kept: Sequence[Kept]) -> None:
        """The first half of it: heads are moved once all entries are there."""
        for each in kept:
            entry = each.placed.entry
            item = Item(each.placed.cursor, each.previous, entry.kind, each.text.encode())
            self.entries.setdefault((entry.recipient, entry.source, entry.seq), Stored(each.epoch, item))

    async def renew(self, users: Collection[str]) -> None:
        for user in users:
            head = self.inboxes.get(user, Head())
            self.inboxes[user] = replace(head, epoch=head.epoch + 1, cursor=0)

    async def after(self, user: str, cursor: int, limit: int) -> tuple[int, int, list[Item]]:
        self._insist()
        head = self.inboxes.get(user, Head())
        return head.epoch, head.cursor, [item for item in self.items(user, head.epoch) if item.cursor > cursor][:limit]

    async def newest(self, user: str, epoch: int, limit: int) -> list[Item]:
        self._insist()
        return self.items(user, epoch)[-limit:]

    def items(self, user: str, epoch: int = 1) -> list[Item]:
        """What is kept of an inbox, in order."""
        found = [each for (of, _, _), each in self.entries.items() if of == user and each.epoch == epoch]
        return sorted((each.item for each in found), key=lambda item: item.cursor)

    def _insist(self) -> None:
        if self.down:
            raise UnavailableError("the database is down")
