"""State kept by key in memory, a partition at a time, and restored from its changelog.

A write is in the changelog before it is in memory, so what a reader of the rows sees is never ahead of what a restart
restores. The rows decide between versions themselves (`newer`), so the order in which the changelog holds two versions
of a row doesn't matter.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from aiokafka.errors import KafkaError

from faust_batch.batch import Record, RevokedError
from faust_batch.changelog import Chunk

R = TypeVar("R")

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class Log(Protocol):
    """What a table needs of its changelog."""

    async def append(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> int: ...

    def read(self, positions: Mapping[int, int]) -> AsyncIterator[Chunk]: ...


class RowCodec(Protocol[R]):
    """How a row is written, read, and chosen between two versions."""

    def encode(self, row: R) -> bytes: ...

    def decode(self, data: bytes) -> R:
        """The row; ValueError when these bytes are none."""

    def newer(self, one: R | None, other: R) -> R: ...


class _Part(Generic[R]):
    """One partition's rows, and the changelog offset up to which they are known."""

    def __init__(self) -> None:
        self.rows: dict[str, R] = {}
        self.position = 0
        #: What was read since the rows were last given out: the offset of each key's last record.
        self.unreported: dict[str, int] = {}
        self.ready = asyncio.Event()
        self.revoked = False


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
        self._parts: dict[int, _Part[R]] = {}
        self._restoring: asyncio.Task[None] | None = None
        #: Changelog records read to restore rows, ever.
        self.recovered = 0

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

    def __len__(self) -> int:
        return sum(len(part.rows) for part in self._parts.values())

    async def rows(self, partition: int) -> Mapping[str, R]:
        """The rows of an assigned partition, once they are restored; RevokedError when it isn't assigned."""
        part = self._part(partition)
        await part.ready.wait()
        if part.revoked:
            raise RevokedError(f"{self.name}-{partition}")
        return part.rows

    def _part(self, partition: int) -> _Part[R]:
        part = self._parts.get(partition)
        if part is None:
            raise RevokedError(f"{self.name}-{partition}")
        return part

    async def write(self, partition: int, changed: Mapping[str, R]) -> int:
        """Write rows to the changelog, and when it has them into memory; returns the offset after the last."""
        part = self._part(partition)
        last = await self._log.append(
            partition, [(key.encode(), self._codec.encode(row)) for key, row in changed.items()]
        )
        for key, row in changed.items():
            # Another owner may have been here while the changelog was waited for, and a restore have read its rows.
            part.rows[key] = self._codec.newer(part.rows.get(key), row)
        if part.ready.is_set() and last + 1 - len(changed) == part.position:
            part.position = last + 1
        return last + 1

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

    async def _restore(self, partitions: set[int]) -> None:
        pending = {partition: self._parts[partition] for partition in partitions}
        while True:
            try:
                async for chunk in self._log.read({number: part.position for number, part in pending.items()}):
                    await self._take(pending[chunk.partition], chunk)
                break
            except KafkaError as exc:
                logger.warning("%s: the changelog can't be read, trying again: %r", self.name, exc)
                await asyncio.sleep(RETRY_SECONDS)
        for partition, part in pending.items():
            # Whole, though the reading may have been broken off by a rebalance and begun again.
            offsets, part.unreported = part.unreported, {}
            if self._restored is not None:
                self._restored(partition, offsets)
            part.ready.set()

    async def _take(self, part: _Part[R], chunk: Chunk) -> None:
        bad: list[tuple[Record, ValueError]] = []
        for record in chunk.records:
            if record.key is None:
                continue
            try:
                self._take_one(part, record.key.decode(), record)
            except ValueError as exc:
                bad.append((record, exc))
        if bad:
            if self._unreadable is None:
                raise bad[0][1]
            await self._unreadable(chunk.partition, bad)
        part.position = chunk.next_offset
        self.recovered += len(chunk.records)

    def _take_one(self, part: _Part[R], key: str, record: Record) -> None:
        if record.value is None:
            part.rows.pop(key, None)
        else:
            part.rows[key] = self._codec.newer(part.rows.get(key), self._codec.decode(record.value))
        part.unreported[key] = record.offset
