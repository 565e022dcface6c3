"""When windows close, what a source partition tells of those that do, and when a window is whole, all of it pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import add
from typing import NamedTuple

from devconnect.domain.analytics import WINDOWED, Row, Table, Values, mark, mark_of, name_of, window_of
from devconnect.events.facts import WindowClosed
from devconnect.events.parts import AnyPart, Closed, Part, Published

#: Members of a window a record.
CHUNK = 5_000


def closable(table: Table, watermark: int, grace_ms: int) -> int:
    """Up to where windows may be closed when nothing before the watermark is to come, but for what is late."""
    ready = watermark - grace_ms
    return ready - ready % table.window_ms


class Closing:
    """Closes the windows of one source partition that end after `since` and by `until`.

    Takes the keys of its rows in as many calls as it likes. What is further back than the table keeps goes.
    """

    def __init__(self, table: Table, topic: str, prefix: str, *, since: int, until: int) -> None:
        self._table = table
        self._topic = topic
        self._prefix = prefix
        self._since = since
        self._until = until
        self._sums: dict[int, Row] = {}
        self._members: dict[int, list[str]] = {}
        self._gone: list[str] = []

    def take(self, keys: Iterable[str], rows: Mapping[str, Row]) -> None:
        """Look at these rows, those of other sources among them."""
        start, size = f"{self._prefix}|", self._table.window_ms
        floor = self._until - self._table.keep_ms
        for key in keys:
            if not key.startswith(start):
                continue
            window = window_of(key)
            end = window + size
            if self._since < end <= self._until:
                if self._table.shape == "sum":
                    self._sums[window] = rows[key]
                else:
                    self._members.setdefault(window, []).append(name_of(key).partition("|")[2])
            if end <= floor:
                self._gone.append(key)

    def __len__(self) -> int:
        """How many windows are closed in which something has happened."""
        return len(self._sums) + len(self._members)

    @property
    def gone(self) -> int:
        """How many rows go."""
        return len(self._gone)

    def parts(self, partition: int, at: int) -> Iterator[AnyPart]:
        """What the others must know, in this order: the parts, and that there are no more of them."""
        name, topic = self._table.name, self._topic
        for window, row in sorted(self._sums.items()):
            yield Part(
                table=name, window=window, topic=topic, partition=partition, at=at, values=row.values, seq=row.seq
            )
        for window, members in sorted(self._members.items()):
            for number, start in enumerate(range(0, len(members), CHUNK)):
                found = tuple(members[start : start + CHUNK])
                yield Part(
                    table=name, window=window, topic=topic, partition=partition, at=at, number=number, members=found
                )
        yield Closed(table=name, topic=topic, partition=partition, until=self._until)

    def changes(self) -> dict[str, Row | None]:
        """What is then written to the table. The mark comes first: a row that is gone can't come back where it is."""
        return {mark_of(self._prefix): mark(self._until), **dict.fromkeys(self._gone)}


class Publication(NamedTuple):
    """What is to be published at once: the totals of windows, how far the tables are then, and the keys of parts that
    nobody needs any more.
    """

    events: Sequence[WindowClosed]
    published: Sequence[Published]
    erased: Sequence[str]


class _Window:
    """The parts of one window so far."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, int], Row] = {}
        self.members: set[str] = set()
        self.keys: set[str] = set()

    def take(self, part: Part) -> None:
        self.keys.add(part.key)
        self.members.update(part.members)
        if part.values:
            source = (part.topic, part.partition)
            known = self.sums.get(source)
            if known is None or part.seq > known.seq:
                self.sums[source] = Row(part.values, part.seq)

    def totals(self, table: Table) -> Values:
        if table.shape == "distinct":
            return (len(self.members),)
        values: Values = (0,) * len(table.columns)
        for row in self.sums.values():
            values = tuple(map(add, values, row.values))
        return values


class Merge:
    """The windows that aren't published yet, and how far each source partition is.

    A window is whole when every partition of every source of its table is closed beyond it. Parts may come in any order
    and again and again, but those of a source partition before its `Closed`.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._closed: dict[tuple[str, str, int], int] = {}
        self._published: dict[str, int] = {}
        self._windows: dict[str, dict[int, _Window]] = {name: {} for name in WINDOWED}
        self._rubbish: set[str] = set()

    def take(self, parts: Iterable[AnyPart]) -> None:
        """Take in parts; those of windows that are published are to be erased."""
        for part in parts:
            if part.table not in WINDOWED:
                continue
            match part:
                case Published():
                    self._move(part)
                case Closed():
                    source = (part.table, part.topic, part.partition)
                    self._closed[source] = max(part.until, self._closed.get(source, 0))
                case Part() if part.window + WINDOWED[part.table].window_ms <= self.published(part.table):
                    self._rubbish.add(part.key)
                case Part():
                    self._windows[part.table].setdefault(part.window, _Window()).take(part)

    def published(self, table: str) -> int:
        """Up to where the table's windows are published; 0 before any is."""
        return self._published.get(table, 0)

    def whole(self, table: Table) -> int:
        """Up to where all source partitions of the table are closed; 0 before all of them have said so."""
        return min(
            self._closed.get((table.name, topic, partition), 0)
            for topic in table.sources
            for partition in range(self._partitions)
        )

    def due(self, at: int, most: int) -> Publication | None:
        """What can be published now, at most so many windows, the oldest first; None when there is nothing."""
        events: list[WindowClosed] = []
        published: list[Published] = []
        erased = set(self._rubbish)
        for table in WINDOWED.values():
            until = self.whole(table)
            open_windows = self._windows[table.name]
            found = sorted(window for window in open_windows if window + table.window_ms <= until)
            taken = found[: most - len(events)]
            for window in taken:
                events.append(_closed(table, window, at, open_windows[window].totals(table)))
                erased |= open_windows[window].keys
            if taken:
                reached = until if len(taken) == len(found) else taken[-1] + table.window_ms
                published.append(Published(table=table.name, until=reached))
        return Publication(events, published, sorted(erased)) if events else None

    def settle(self, publication: Publication) -> None:
        """That has been published."""
        self.take(publication.published)
        self._rubbish.difference_update(publication.erased)

    def _move(self, part: Published) -> None:
        until = max(part.until, self.published(part.table))
        self._published[part.table] = until
        windows = self._windows[part.table]
        for window in [window for window in windows if window + WINDOWED[part.table].window_ms <= until]:
            self._rubbish |= windows.pop(window).keys


def _closed(table: Table, window: int, at: int, values: Values) -> WindowClosed:
    totals = dict(zip(table.columns, values, strict=True))
    return WindowClosed(table=table.name, window=window, size=table.window_ms, at=at, values=totals)
