"""The analytics tables come to the same answer however the events are batched, repeated and spread over partitions."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, strategies as st

from devconnect.domain import analytics
from devconnect.domain.analytics import DAY_MS, TABLES, WINDOWED, Row, mark, mark_of, touches
from devconnect.domain.folding import Folded, Run, fold
from tests.property.strategies import event_logs

tables = st.sampled_from(list(TABLES.values()))
windowed = st.sampled_from(list(WINDOWED.values()))
cuts = st.lists(st.integers(0, 30), max_size=5)
#: Around and behind the times of the events that hypothesis makes.
marks = st.integers(1_700_000_000_000 - DAY_MS, 1_700_010_000_000 + 500 * DAY_MS)


def folded(table, log, cuts=(), prefix="m", rows=None) -> dict[str, Row]:
    """The rows after the log, taken in batches that end at `cuts`."""
    rows = dict(rows or {})
    edges = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    for start, end in pairwise(edges):
        if end > start:
            rows |= fold(table, rows, prefix, Run.of(log[start:end])).changed
    return rows


def plainly(table, rows, prefix, log) -> Folded:
    """What `fold` must give, by its definition: an event at a time, and each row asked whether it has seen it."""
    closed = rows[mark_of(prefix)].values[0] if mark_of(prefix) in rows else 0
    changed: dict[str, Row] = {}
    late = expired = 0
    seen = 0
    for event in log:
        if event.seq <= seen:
            continue
        seen = event.seq
        end = event.at - event.at % table.window_ms + table.window_ms if table.window_ms else None
        touched = list(touches(table, event))
        if touched and end is not None and end <= closed - table.keep_ms:
            expired += 1
            continue
        news = 0
        for name, delta in touched:
            key = f"{prefix}|{name}"
            row = changed.get(key) or rows.get(key)
            if row is None:
                changed[key] = Row(delta, event.seq)
            elif row.seq < event.seq and table.shape == "sum":
                changed[key] = Row(tuple(map(int.__add__, row.values, delta)), event.seq)
            else:
                continue
            news = 1
        late += news if end is not None and end <= closed else 0
    return Folded(changed, late, expired)


def counts(table, rows: dict[str, Row]):
    """What of the rows must be the same on every way to them: of members, that they are there."""
    return rows if table.shape == "sum" else set(rows)


def view(table, *parts: dict[str, Row]):
    return analytics.merge(table, [(key, row.values) for part in parts for key, row in part.items()])


@given(tables, event_logs(), cuts, st.one_of(st.none(), marks), st.data())
def test_many_at_once_are_folded_as_one_by_one(table, log, cuts, closed, data) -> None:
    """Into rows of which each has seen as much as it likes, whatever comes again."""
    rows = folded(table, log, cuts)
    rows = {key: rows[key] for key in data.draw(st.sets(st.sampled_from(sorted(rows) or ["-"]))) if key in rows}
    back = data.draw(st.integers(0, len(log)))
    log = [*log[:back], *log[data.draw(st.integers(0, back)) :]]
    if table.window_ms and closed is not None:
        rows[mark_of("m")] = mark(closed)
    if log:
        found, expected = fold(table, rows, "m", Run.of(log)), plainly(table, rows, "m", log)
        assert counts(table, found.changed) == counts(table, expected.changed)
        assert found[1:] == expected[1:]


@given(tables, event_logs(), cuts)
def test_batches_make_no_difference(table, log, cuts) -> None:
    assert counts(table, folded(table, log, cuts)) == counts(table, folded(table, log))


@given(tables, event_logs(), st.integers(0, 30), st.integers(0, 30))
def test_a_replay_counts_nothing_twice(table, log, crash, back) -> None:
    crash = min(crash, len(log))
    rows = folded(table, log[:crash])
    start = max(0, crash - back)
    for end in range(start, len(log) + 1):
        rows = folded(table, log[start:end], rows=rows)
    assert counts(table, rows) == counts(table, folded(table, log))


@given(tables, event_logs(), st.sets(st.integers(0, 200)))
def test_a_crash_between_the_writes_of_a_batch_loses_and_repeats_nothing(table, log, survivors) -> None:
    whole = folded(table, log)
    written = {key: row for number, (key, row) in enumerate(whole.items()) if number in survivors}
    assert folded(table, log, rows=written) == whole


@given(windowed, event_logs(), marks, cuts)
def test_a_replay_resurrects_no_row_of_a_window_that_the_table_has_let_go_of(table, log, closed, cuts) -> None:
    kept = {
        key: row
        for key, row in folded(table, log).items()
        if analytics.window_of(key) + table.window_ms > closed - table.keep_ms
    }
    rows = {**kept, mark_of("m"): mark(closed)}
    assert folded(table, log, cuts, rows=rows) == rows
    assert set(view(table, rows)) == {str(analytics.window_of(key)) for key in kept}


@given(tables, st.lists(event_logs(10), min_size=1, max_size=4), st.randoms())
def test_the_order_of_partitions_makes_no_difference(table, logs, random) -> None:
    parts = [folded(table, log) for log in logs]
    shuffled = random.sample(parts, len(parts))
    assert view(table, *parts) == view(table, *shuffled)


@given(tables, event_logs(), event_logs())
def test_one_event_in_two_topics_has_two_clocks(table, one, other) -> None:
    """Rows of different sources don't see each other's seq."""
    rows = folded(table, one, prefix="u")
    rows = folded(table, other, prefix="c", rows=rows)
    assert view(table, rows) == view(table, folded(table, one, prefix="u"), folded(table, other, prefix="c"))


@given(event_logs())
def test_events_by_type_is_what_counting_gives(log) -> None:
    table = analytics.EVENTS_BY_TYPE
    counted = Counter(str(event.__struct_config__.tag) for event in log)
    assert view(table, folded(table, log)) == {kind: (count,) for kind, count in counted.items()}


@given(event_logs())
def test_fold_leaves_its_argument_alone(log) -> None:
    rows: dict[str, Row] = {}
    if log:
        fold(analytics.USER_ACTIVITY, rows, "m", Run.of(log))
    assert rows == {}


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=6), st.integers(0, 2**52))
def test_rows_survive_their_encoding(values, seq) -> None:
    row = Row(tuple(values), seq)
    assert analytics.decode_row(analytics.encode_row(row)) == row
