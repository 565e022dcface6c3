"""State kept by key in memory, a partition at a time, and restored from its changelog.

A write is in the changelog before it is in memory, so what a reader of the rows sees is never ahead of what a restart
restores. Rows are held as they are written, and decoded when they are read: a million of them take little memory, and
restoring them little more time than reading them.

Of two versions of a row the one with the higher order counts. A former owner of a partition, too late to know better,
may append an older version behind a newer one; since compaction keeps the last, whoever meets such a record, in a
restore or between its own writes, appends the newer version again.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar, overload

from aiokafka.errors import KafkaError

from faust_batch.batch import Record, RevokedError
from faust_batch.changelog import Chunk

R = TypeVar("R")
D = TypeVar("D")

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
#: Records that a restore takes in before it gives the loop its turn.
SLICE = 5_000


class Log(Protocol):
    """What a table needs of its changelog."""

    async def append(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> int: ...

    def read(self, positions: Mapping[int, int]) -> AsyncIterator[Chunk]: ...


class RowCodec(Protocol[R]):
    """How a row is written and read, and which of two versions is the newer."""

    def encode(self, row: R) -> bytes: ...

    def decode(self, data: bytes) -> R: ...

    def order(self, data: bytes) -> int:
        """Grows with each version of a row; ValueError when these bytes are none. Called once a restored record."""


class Rows(Mapping[str, R]):
    """The rows of a partition as they are now: changes show, and each is decoded as it is asked for."""

    def __init__(self, data: Mapping[str, bytes], decode: Callable[[bytes], R]) -> None:
        self._data = data
        self._decode = decode

    def __getitem__(self, key: str) -> R:
        return self._decode(self._data[key])

    @overload
    def get(self, key: str, /) -> R | None: ...
    @overload
    def get(self, key: str, /, default: R | D) -> R | D: ...
    def get(self, key: str, /, default: R | D | None = None) -> R | D | None:
        """The row, or `default`."""
        data = self._data.get(key)
        return default if data is None else self._decode(data)

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)


class _Part:
    """One partition's rows, and the changelog offset up to which they are known."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.position = 0
        #: Grows whenever something of the changelog was read into the rows.
        self.reads = 0
        #: Where the changelog ended when the restore that is under way began; `begun` is where that started.
        self.begun = self.end = 0
        #: What was read since the rows were last given out: the offset of each key's last record.
        self.unreported: dict[str, int] = {}
        #: Keys whose last record in the changelog isn't their newest version.
        self.overwritten: set[str] = set()
        #: Own writes on their way, and those that the changelog has beyond `position`: first offset → next offset.
        self.writing = 0
        self.ahead: dict[int, int] = {}
        self.ready = asyncio.Event()
        self.revoked = False

    def wrote(self, first: int, following: int) -> None:
        """An own write stands at `first` and ends before `following`."""
        if following > self.position:
            self.ahead[max(first, self.position)] = following
        while self.position in self.ahead:
            self.position = self.ahead.pop(self.position)

    def has_gap(self) -> bool:
        """Whether somebody else's records stand between own writes."""
        return not self.writing and bool(self.ahead)


#: Called, and awaited, with the partition and the records that are no rows, and why each is none.
Unreadable = Callable[[int, Sequence[tuple[Record, ValueError]]], Awaitable[None]]
#: Called for what a restore has read: partition, and for each key the offset of its last record.
Restored = Callable[[int, Mapping[str, int]], None]


class BatchTable(Generic[R]):
    """Rows by text key, kept for the partitions that are assigned to this process."""

    def __init__(
        self,
        name: str,
        log: Log,
        codec: RowCodec[R],
        restored: Restored | None = None,
        *,
        unreadable: Unreadable | None = None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """`restored` is told what a restore has read, `unreadable` of records that are no rows (without it they end
        the restore), `failed` of an error that no restore can get past.
        """
        self.name = name
        self._unreadable = unreadable
        self._failed = failed
        self._log = log
        self._codec = codec
        self._restored = restored
        self._parts: dict[int, _Part] = {}
        self._restoring: asyncio.Task[None] | None = None
        #: Changelog records read to restore rows, ever.
        self.recovered = 0
        #: Rows appended again because an older version stood behind them, ever.
        self.repaired = 0

    def assign(self, partitions: Iterable[int]) -> None:
        """These partitions are ours now: catch up with their changelog, drop the rows of all others.

        What another process wrote while it held a partition is read before any row is given out.
        """
        wanted = set(partitions)
        for partition in set(self._parts) - wanted:
            part = self._parts.pop(partition)
            part.revoked = True
            part.ready.set()
        for partition in wanted:
            self._parts.setdefault(partition, _Part()).ready.clear()
        if self._restoring is not None:
            self._restoring.cancel()
            self._restoring = None
        if wanted:
            self._restoring = asyncio.create_task(self._restore(wanted), name=f"restore {self.name}")
            self._restoring.add_done_callback(self._ended)

    def partitions(self) -> set[int]:
        """The partitions that are assigned."""
        return set(self._parts)

    def is_ready(self) -> bool:
        """Whether every assigned partition is restored."""
        return all(part.ready.is_set() for part in self._parts.values())

    def progress(self) -> tuple[int, int]:
        """Of the restores that are under way: changelog offsets passed, and to pass; (0, 0) when there is none."""
        parts = [part for part in self._parts.values() if not part.ready.is_set()]
        return sum(part.position - part.begun for part in parts), sum(part.end - part.begun for part in parts)

    def __len__(self) -> int:
        return sum(len(part.rows) for part in self._parts.values())

    async def rows(self, partition: int) -> Mapping[str, R]:
        """The rows of an assigned partition, once they are restored; RevokedError when it isn't assigned."""
        part = self._part(partition)
        await part.ready.wait()
        if part.revoked:
            raise RevokedError(f"{self.name}-{partition}")
        return Rows(part.rows, self._codec.decode)

    def _part(self, partition: int) -> _Part:
        part = self._parts.get(partition)
        if part is None:
            raise RevokedError(f"{self.name}-{partition}")
        return part

    async def write(self, partition: int, changed: Mapping[str, R | None]) -> int:
        """Write rows (None: the row goes) to the changelog, and when it has them into memory.

        Returns the offset after the last. Writes to one partition may overlap, of the same key they must not.
        """
        part = self._part(partition)
        encode = self._codec.encode
        items = {key: None if row is None else encode(row) for key, row in changed.items()}
        reads = part.reads
        following = await self._append(partition, part, items)
        for key, data in items.items():
            if data is None:
                part.rows.pop(key, None)
            # Another owner may have been here while the changelog was waited for, and a restore have read its rows.
            elif reads == part.reads or not self._is_older(data, part.rows.get(key)):
                part.rows[key] = data
        if part.ready.is_set() and part.has_gap():
            await self._close_gap(partition, part)
        return following

    async def _append(self, partition: int, part: _Part, items: Mapping[str, bytes | None]) -> int:
        part.writing += 1
        try:
            last = await self._log.append(partition, [(key.encode(), data) for key, data in items.items()])
        finally:
            part.writing -= 1
        part.wrote(last + 1 - len(items), last + 1)
        return last + 1

    def _is_older(self, data: bytes, than: bytes | None) -> bool:
        return than is not None and self._codec.order(data) < self._codec.order(than)

    async def stop(self) -> None:
        """End a restore that is under way."""
        if self._restoring is not None:
            self._restoring.cancel()
            await asyncio.gather(self._restoring, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("%s can't be restored: %r", self.name, error)
            if self._failed is not None:
                self._failed(error)

    # -- what the changelog says

    async def _restore(self, partitions: set[int]) -> None:
        pending = {partition: self._parts[partition] for partition in partitions}
        began, before = time.monotonic(), self.recovered
        for part in pending.values():
            part.begun = part.end = part.position
            part.ahead.clear()
        await self._read(pending)
        for partition, part in pending.items():
            await self._repair(partition, part)
            # Whole, though the reading may have been broken off by a rebalance and begun again.
            offsets, part.unreported = part.unreported, {}
            if self._restored is not None:
                self._restored(partition, offsets)
            part.ready.set()
        logger.info(
            "%s is restored: %d records of %d partitions read in %.1f s, %d rows",
            *(self.name, self.recovered - before, len(pending), time.monotonic() - began, len(self)),
        )

    async def _close_gap(self, partition: int, part: _Part) -> None:
        """Somebody who thinks that the partition is theirs has written: take what is newer, write again what is not."""
        logger.warning("%s-%s: somebody else has written to the changelog", self.name, partition)
        part.ahead.clear()
        await self._read({partition: part})
        part.unreported.clear()
        await self._repair(partition, part)

    async def _read(self, pending: Mapping[int, _Part]) -> None:
        while True:
            try:
                async for chunk in self._log.read({number: part.position for number, part in pending.items()}):
                    await self._take(pending[chunk.partition], chunk)
                return
            except KafkaError as exc:
                logger.warning("%s: the changelog can't be read, trying again: %r", self.name, exc)
                await asyncio.sleep(RETRY_SECONDS)

    async def _repair(self, partition: int, part: _Part) -> None:
        rows = {key: part.rows[key] for key in part.overwritten if key in part.rows}
        if rows:
            await self._append(partition, part, rows)
            self.repaired += len(rows)
        part.overwritten.clear()

    async def _take(self, part: _Part, chunk: Chunk) -> None:
        part.end = max(part.end, chunk.end)
        bad: list[tuple[Record, ValueError]] = []
        for start in range(0, len(chunk.records), SLICE):
            self._take_slice(part, chunk.records[start : start + SLICE], bad)
            await asyncio.sleep(0)
        if bad:
            if self._unreadable is None:
                raise bad[0][1]
            await self._unreadable(chunk.partition, bad)
        part.position = max(part.position, chunk.next_offset)
        self.recovered += len(chunk.records)

    def _take_slice(self, part: _Part, records: Sequence[Record], bad: list[tuple[Record, ValueError]]) -> None:
        part.reads += 1
        rows, unreported, order = part.rows, part.unreported, self._codec.order
        for record in records:
            data = record.value
            if record.key is None:
                continue
            try:
                key = record.key.decode()
                if data is None:
                    rows.pop(key, None)
                    part.overwritten.discard(key)
                else:
                    place = order(data)
                    known = rows.get(key)
                    if known is not None and place < order(known):
                        part.overwritten.add(key)
                    else:
                        rows[key] = data
                        part.overwritten.discard(key)
            except ValueError as exc:
                bad.append((record, exc))
            else:
                unreported[key] = record.offset
