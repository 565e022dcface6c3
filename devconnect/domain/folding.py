"""Folding events into the rows of the analytics tables: many at once, each row that they touch looked up once."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from operator import add, attrgetter, lt
from typing import Any, NamedTuple

from devconnect.domain.analytics import Count, Kind, Row, Table, Values, closed_until, row_of, touches
from devconnect.events import facts as f

_SEQ = attrgetter("seq")
_field: Callable[[str], Callable[[Any], str]] = cache(attrgetter)


class Group(NamedTuple):
    """The events of one type, in order, and the least and the greatest `at` among them."""

    events: Sequence[Any]
    oldest: int
    newest: int


class Run(NamedTuple):
    """Events of one source partition, sorted by type once for all tables: `first` is the least seq among them."""

    groups: Mapping[Kind, Group]
    first: int
    watermark: int

    @classmethod
    def of(cls, events: Sequence[f.AnyEvent]) -> "Run":
        """At least one event, in the partition's order. What is in them twice is passed over."""
        if not all(map(lt, (seqs := [event.seq for event in events]), seqs[1:])):
            events = _once(events)
        found: dict[Kind, list[f.AnyEvent]] = {}
        for event in events:
            try:
                found[type(event)].append(event)
            except KeyError:
                found[type(event)] = [event]
        groups = {}
        for kind, members in found.items():
            times = [event.at for event in members]
            groups[kind] = Group(members, min(times), max(times))
        return cls(groups, events[0].seq, max(group.newest for group in groups.values()))


def _once(events: Sequence[f.AnyEvent]) -> Sequence[f.AnyEvent]:
    """The events without repeats: what isn't above all before it was there before."""
    kept, last = [], events[0].seq - 1
    for event in events:
        if event.seq > last:
            kept.append(event)
            last = event.seq
    return kept


class Folded(NamedTuple):
    """The rows that are changed. `late` events have changed a window that was closed; those that are `expired` were too
    late to be counted.
    """

    changed: dict[str, Row]
    late: int = 0
    expired: int = 0


#: Events of one type in one window, the window's name ("" where the table has none), and what each of them adds.
_Span = tuple[str, Sequence[Any], tuple[Count, ...]]


def fold(table: Table, rows: Mapping[str, Row], prefix: str, run: Run) -> Folded:
    """The rows that this run changes; `rows` itself is left alone.

    `prefix` names the source topic; row keys are `prefix|name`. The time that this takes goes with the events and not
    with `rows`, and each row that is touched is looked up once.
    """
    spans, late, expired = _spans(table, run, closed_until(rows, prefix) if table.window_ms else 0)
    changed = _members(rows, prefix, spans) if table.shape == "distinct" else _sums(table, rows, prefix, run, spans)
    if not late:
        return Folded(changed, 0, expired)
    return Folded(changed, _one_by_one(_Into(table, rows, prefix, changed), late), expired)


def _spans(table: Table, run: Run, closed: int) -> tuple[list[_Span], list[f.AnyEvent], int]:
    """What is counted together; the events of windows that are closed; how many of windows that are gone."""
    spans: list[_Span] = []
    late: list[f.AnyEvent] = []
    expired = 0
    for kind, counts in table.counts.items():
        group = run.groups.get(kind)
        if group is None:
            continue
        if not table.window_ms:
            spans.append(("", group.events, counts))
            continue
        for start, events in _windows(table.window_ms, group):
            end = start + table.window_ms
            if end > closed:
                spans.append((str(start), events, counts))
            elif end > closed - table.keep_ms:
                late += events
            else:
                expired += len(events)
    return spans, late, expired


def _windows(size: int, group: Group) -> Iterable[tuple[int, Sequence[Any]]]:
    """The group by the start of its windows; mostly it lies in one."""
    start = group.oldest - group.oldest % size
    if group.newest < start + size:
        return ((start, group.events),)
    found: dict[int, list[Any]] = {}
    for event in group.events:
        found.setdefault(event.at - event.at % size, []).append(event)
    return found.items()


def _sums(table: Table, rows: Mapping[str, Row], prefix: str, run: Run, spans: Sequence[_Span]) -> dict[str, Row]:
    changed: dict[str, Row] = {}
    behind: set[str] = set()
    for name, cell in _cells(table, spans).items():
        key = f"{prefix}|{name}"
        row = rows.get(key)
        seq = cell.pop()
        if row is None:
            changed[key] = row_of((tuple(cell), seq))
        elif row[1] < run.first:
            changed[key] = row_of((tuple(map(add, row[0], cell)), seq))
        elif row[1] < seq:
            # A part of the events is in the row already: they have come again.
            behind.add(name)
    if behind:
        events = [event for _, found, _ in spans for event in found]
        _one_by_one(_Into(table, rows, prefix, changed), events, behind)
    return changed


def _cells(table: Table, spans: Sequence[_Span]) -> dict[str, list[int]]:
    """What is added to each name: the columns, then the seq of the last event."""
    cells: dict[str, list[int]] = {}
    width = len(table.columns)
    blank = [0] * (width + 1)
    for window, events, counts in spans:
        for column_name, field, name, by in counts:
            column = table.columns.index(column_name)
            if field:
                _add_each(cells, blank, events, field, column, by)
            else:
                cell = cells.setdefault(window or name, blank[:])
                cell[column] += by * len(events)
                cell[width] = max(cell[width], events[-1].seq)
    return cells


def _add_each(  # noqa: PLR0917  # the innermost loop: it gets what it needs
    cells: dict[str, list[int]], blank: list[int], events: Sequence[Any], field: str, column: int, by: int
) -> None:
    last = len(blank) - 1
    for name, seq in zip(map(_field(field), events), map(_SEQ, events), strict=True):
        cell = cells.get(name)
        if cell is None:
            cells[name] = cell = blank[:]
        cell[column] += by
        if seq > cell[last]:  # noqa: PLR1730  # as quick as can be
            cell[last] = seq


def _members(rows: Mapping[str, Row], prefix: str, spans: Sequence[_Span]) -> dict[str, Row]:
    """The rows of members that weren't there: there is nothing to add to those that were."""
    changed: dict[str, Row] = {}
    for window, events, counts in spans:
        row = Row((1,), events[-1].seq)
        for count in counts:
            for member in set(map(_field(count.field), events)):
                key = f"{prefix}|{window}|{member}"
                if key not in rows:
                    changed[key] = row
    return changed


class _Into(NamedTuple):
    """Where events are folded into one by one."""

    table: Table
    rows: Mapping[str, Row]
    prefix: str
    changed: dict[str, Row]

    def add_to(self, name: str, delta: Values, seq: int) -> bool:
        """Whether the row had not counted this."""
        key = f"{self.prefix}|{name}"
        row = self.changed.get(key) or self.rows.get(key)
        if row is None:
            self.changed[key] = Row(delta, seq)
        elif seq > row.seq and self.table.shape == "sum":
            self.changed[key] = Row(tuple(map(add, row.values, delta)), seq)
        else:
            return False
        return True


def _one_by_one(into: _Into, events: list[f.AnyEvent], only: Collection[str] | None = None) -> int:
    """Fold events in their order, into rows of the names `only` or into all; how many of them changed a row."""
    counted = 0
    for event in sorted(events, key=_SEQ):
        found = [touch for touch in touches(into.table, event) if only is None or touch[0] in only]
        counted += any([into.add_to(name, delta, event.seq) for name, delta in found])
    return counted
