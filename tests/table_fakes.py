"""The ports of tables and of windows in memory. They keep the promises of the ports' docstrings."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from devconnect.domain.windows import Publication
from devconnect.events.facts import WindowClosed
from devconnect.events.parts import AnyPart, Erased
from devconnect.events.topics import ANALYTICS_PARTS, analytics_parts
from devconnect.ports.projections import TableRow, TableViews
from devconnect.ports.publisher import Record
from devconnect.ports.truth import UnavailableError
from devconnect.ports.windows import WindowLog
from faust_batch.changelog import Chunk
from faust_batch.table import Log
from tests.fakes import Hook, MemoryPublisher, MemoryRecord, no_hook


class MemoryViews(TableViews):
    """The views' rows by table, partition and row key, each the newest by its seq, and how far each view is good.

    One that has lost what it was last seen to hold says so, until it is asked how far it is.
    """

    def __init__(self) -> None:
        self.hook: Hook = no_hook
        self.rows: dict[tuple[str, int], dict[str, tuple[tuple[int, ...], int]]] = {}
        self.upto: dict[tuple[str, int], int] = {}
        self.opened: set[str] = set()
        self.floors: dict[str, int] = {}
        self._seen: dict[tuple[str, int], int] = {}
        #: The keys of each call.
        self.calls: list[set[str]] = []

    async def published(self, table: str, partition: int) -> int:
        self.hook("published")
        self._seen[table, partition] = self.upto.get((table, partition), 0)
        return self._seen[table, partition]

    async def publish(self, table: str, partition: int, rows: Sequence[TableRow], upto: int) -> None:
        self.hook("publish")
        if self.upto.get((table, partition), 0) < self._seen.get((table, partition), 0):
            raise UnavailableError("the view is lost")
        view = self.rows.setdefault((table, partition), {})
        for key, values, seq in rows:
            if key not in view or view[key][1] < seq:
                view[key] = (values, seq)
        self.calls.append({key for key, _, _ in rows})
        self.upto[table, partition] = max(upto, self.upto.get((table, partition), 0))
        self._seen[table, partition] = self.upto[table, partition]

    async def expire(self, table: str, before: int) -> None:
        self.hook("expire")
        self.floors[table] = max(before, self.floors.get(table, before))

    async def open(self, table: str) -> None:
        self.hook("open")
        self.opened.add(table)

    def wipe(self) -> None:
        """What Redis does when it loses its memory."""
        self.rows.clear()
        self.upto.clear()
        self.floors.clear()
        self.opened.clear()


class MemoryLog(Log):
    """A changelog that keeps every record. `chunk` is how many a read hands over at once."""

    def __init__(self, chunk: int = 2) -> None:
        self.partitions: dict[int, list[MemoryRecord]] = {}
        self.chunk = chunk
        #: Errors for the next appends and reads, the first first; a read fails behind its first chunk.
        self.append_errors: list[Exception] = []
        self.read_errors: list[Exception] = []
        #: The positions that each read began at.
        self.reads: list[dict[int, int]] = []
        #: While these are clear, appends are not acknowledged, and reads wait behind each chunk.
        self.acknowledging = asyncio.Event()
        self.acknowledging.set()
        self.reading = asyncio.Event()
        self.reading.set()

    async def append(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> int:
        await self.acknowledging.wait()
        if self.append_errors:
            raise self.append_errors.pop(0)
        log = self.partitions.setdefault(partition, [])
        log += [MemoryRecord(len(log) + n, key, value) for n, (key, value) in enumerate(items)]
        return len(log) - 1

    async def read(self, positions: Mapping[int, int]) -> AsyncIterator[Chunk]:
        self.reads.append(dict(positions))
        for partition, position in positions.items():
            log = self.partitions.get(partition, [])
            for start in range(position, len(log), self.chunk):
                records = log[start : start + self.chunk]
                yield Chunk(partition, records, start + len(records), len(log))
                await self.reading.wait()
                if self.read_errors:
                    raise self.read_errors.pop(0)
        if self.read_errors:
            raise self.read_errors.pop(0)


class MemoryWindows:
    """The topic of parts and that of closed windows, as every worker sees them; see `MemoryWindowLog`."""

    def __init__(self, publisher: MemoryPublisher) -> None:
        self.parts = publisher.logs.setdefault((ANALYTICS_PARTS.name, 0), [])
        self.events: list[WindowClosed] = []
        self.epoch = 0


class MemoryWindowLog(WindowLog):
    """One worker's way to them: what another has opened since is closed to it."""

    def __init__(self, windows: MemoryWindows) -> None:
        self.hook: Hook = no_hook
        self._windows = windows
        self._epoch = -1

    async def open(self) -> Sequence[AnyPart]:
        self.hook("open")
        self._windows.epoch += 1
        self._epoch = self._windows.epoch
        found: dict[bytes | None, AnyPart] = {}
        for record in self._windows.parts:
            part = analytics_parts.decode(record.value)
            found.pop(record.key, None)
            if not isinstance(part, Erased):
                found[record.key] = part
        self.hook("opened")
        return list(found.values())

    async def publish(self, publication: Publication) -> None:
        self.hook("transaction")
        if self._epoch != self._windows.epoch:
            raise UnavailableError("fenced")
        self._windows.events += publication.events
        self._windows.parts += [
            Record(part.key.encode(), analytics_parts.encode(part)) for part in publication.published
        ]
        self._windows.parts += [Record(key.encode(), None) for key in publication.erased]
        self.hook("committed")

    async def close(self) -> None:
        self._epoch = -1
