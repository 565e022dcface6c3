"""Keeps the views that analysts read as new as the tables: what changed is published in the background, soon."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping

from devconnect.domain.analytics import TABLES, Row, is_mark
from devconnect.ports.projections import TableRow, TableViews
from devconnect.ports.truth import UnavailableError
from faust_batch.batch import RevokedError
from faust_batch.table import BatchTable

logger = logging.getLogger(__name__)

#: Seconds that changes gather before they are published, and between looks for a view that was lost.
GATHER_SECONDS = 0.1
AUDIT_SECONDS = 2.0
#: Seconds between tries while the store is down.
RETRY_SECONDS = 1.0
#: Rows a call.
CHUNK = 1_000

Part = tuple[str, int]


class ViewPublisher:
    """Publishes rows of tables to their views, a partition of a table at a time.

    The view of a partition knows up to which changelog offset it is complete. What a dead worker hadn't published is
    found by that when the partition is restored, and a view that was wiped is found by looking now and then.
    """

    def __init__(self, views: TableViews) -> None:
        self._views = views
        self._tables: Mapping[str, BatchTable[Row]] = {}
        #: Row keys to publish, and the changelog offset that the view is complete up to once they are.
        self._dirty: dict[Part, set[str]] = {}
        self._upto: dict[Part, int] = {}
        #: Offsets of the rows that a restore has read: what the view lacks of them is published.
        self._restored: dict[Part, Mapping[str, int]] = {}
        #: What each view is known to be complete up to; looked up anew at each audit.
        self._published: dict[Part, int] = {}
        self._changed = asyncio.Event()

    def watch(self, tables: Mapping[str, BatchTable[Row]]) -> None:
        """These are the tables."""
        self._tables = tables

    def note(self, table: str, partition: int, keys: Iterable[str], upto: int) -> None:
        """These rows have changed; the changelog ends before `upto` now."""
        self._dirty.setdefault((table, partition), set()).update(keys)
        self._upto[table, partition] = max(upto, self._upto.get((table, partition), 0))
        self._changed.set()

    def note_restored(self, table: str, partition: int, offsets: Mapping[str, int]) -> None:
        """The partition was restored; its changelog has these rows at these offsets."""
        if offsets:
            self._restored[table, partition] = {**self._restored.get((table, partition), {}), **offsets}
            upto = max(offsets.values()) + 1
            self.note(table, partition, (), upto)

    def pending(self) -> int:
        """Partitions with changes that aren't in their views yet."""
        return len(self._dirty)

    async def run(self) -> None:
        """Publish for ever; a store that is down is tried again."""
        audited = 0.0
        while True:
            try:
                async with asyncio.timeout(AUDIT_SECONDS):
                    await self._changed.wait()
                await asyncio.sleep(GATHER_SECONDS)
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                due = time.monotonic() - audited >= AUDIT_SECONDS
                if due:
                    await self._audit()
                for part in list(self._dirty):
                    await self._publish(part)
                if due:
                    await self._open()
                    audited = time.monotonic()
            except UnavailableError as exc:
                logger.warning("views wait for their store: %s", exc)
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()

    async def _audit(self) -> None:
        """Look how far each view is; one that is behind what was put into it was lost, and is due whole."""
        for part in list(self._upto):
            found = await self._views.published(*part)
            if found < self._published.get(part, found + 1):
                self._published[part] = found
                if found < self._upto[part]:
                    self._dirty.setdefault(part, set())

    async def _open(self) -> None:
        """What isn't in the views by now hasn't happened: of tables that are restored."""
        for table in self._tables.values():
            if table.partitions() and table.is_ready():
                await self._views.open(table.name)

    async def _publish(self, part: Part) -> None:
        table, partition = part
        try:
            rows = await self._tables[table].rows(partition)
        except RevokedError:
            for store in (self._dirty, self._upto, self._restored, self._published):
                store.pop(part, None)
            return
        if part not in self._published:
            self._published[part] = await self._views.published(table, partition)
        published, upto = self._published[part], self._upto[part]
        keys, restored = self._dirty.pop(part), self._restored.pop(part, {})
        if published == 0:
            keys = set(rows)
        else:
            keys |= {key for key, offset in restored.items() if offset >= published}
        if not keys and published >= upto:
            return
        try:
            await self._put(part, rows, keys, upto)
        except BaseException:
            self._dirty.setdefault(part, set()).update(keys)
            raise
        self._published[part] = upto

    async def _put(self, part: Part, rows: Mapping[str, Row], keys: set[str], upto: int) -> None:
        table, partition = part
        found: list[TableRow] = []
        closed = 0
        for key in keys:
            row = rows.get(key)
            if row is None:
                continue
            if is_mark(key):
                closed = max(closed, *row.values)
            else:
                found.append((key, *row))
        if closed:
            # Also what a worker had let go of that died before the view knew.
            await self._views.expire(table, closed - TABLES[table].keep_ms)
        for start in range(0, len(found), CHUNK):
            last = start + CHUNK >= len(found)
            await self._views.publish(table, partition, found[start : start + CHUNK], upto if last else 0)
        if not found:
            await self._views.publish(table, partition, [], upto)
