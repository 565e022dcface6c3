"""The analytics tables come to the same answer however the events are batched, repeated and spread over partitions."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, strategies as st

from devconnect.domain import analytics
from devconnect.domain.analytics import TABLES, Row
from tests.property.strategies import event_logs

tables = st.sampled_from(list(TABLES.values()))


def folded(table, log, cuts=(), prefix="m") -> dict[str, Row]:
    """The rows after the log, taken in batches that end at `cuts`."""
    rows: dict[str, Row] = {}
    edges = [0, *sorted(cuts), len(log)]
    for start, end in pairwise(edges):
        rows |= analytics.fold(table, rows, prefix, log[start:end])
    return rows


def view(table, *parts: dict[str, Row]):
    return analytics.merge(table, [(key, row.values) for part in parts for key, row in part.items()])


@given(tables, event_logs(), st.lists(st.integers(0, 30), max_size=5))
def test_batches_make_no_difference(table, log, cuts) -> None:
    assert folded(table, log, [min(cut, len(log)) for cut in cuts]) == folded(table, log)


@given(tables, event_logs(), st.integers(0, 30), st.integers(0, 30))
def test_a_replay_counts_nothing_twice(table, log, crash, back) -> None:
    crash = min(crash, len(log))
    rows = folded(table, log[:crash])
    start = max(0, crash - back)
    for end in range(start, len(log) + 1):
        rows |= analytics.fold(table, rows, "m", log[start:end])
    assert rows == folded(table, log)


@given(tables, event_logs(), st.sets(st.integers(0, 200)))
def test_a_crash_between_the_writes_of_a_batch_loses_and_repeats_nothing(table, log, survivors) -> None:
    whole = folded(table, log)
    written = {key: row for number, (key, row) in enumerate(whole.items()) if number in survivors}
    assert {**written, **analytics.fold(table, written, "m", log)} == whole


@given(tables, st.lists(event_logs(10), min_size=1, max_size=4), st.randoms())
def test_the_order_of_partitions_makes_no_difference(table, logs, random) -> None:
    parts = [folded(table, log) for log in logs]
    shuffled = random.sample(parts, len(parts))
    assert view(table, *parts) == view(table, *shuffled)


@given(tables, event_logs(), event_logs())
def test_one_event_in_two_topics_has_two_clocks(table, one, other) -> None:
    """Rows of different sources don't see each other's seq."""
    rows = folded(table, one, prefix="u")
    rows |= analytics.fold(table, rows, "c", other)
    assert view(table, rows) == view(table, folded(table, one, prefix="u"), folded(table, other, prefix="c"))


@given(event_logs())
def test_events_by_type_is_what_counting_gives(log) -> None:
    table = analytics.EVENTS_BY_TYPE
    counted = Counter(str(event.__struct_config__.tag) for event in log)
    assert view(table, folded(table, log)) == {kind: (count,) for kind, count in counted.items()}


@given(event_logs())
def test_fold_leaves_its_argument_alone(log) -> None:
    rows: dict[str, Row] = {}
    analytics.fold(analytics.USER_ACTIVITY, rows, "m", log)
    assert rows == {}


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=6), st.integers(0, 2**52))
def test_rows_survive_their_encoding(values, seq) -> None:
    row = Row(tuple(values), seq)
    assert analytics.decode_row(analytics.encode_row(row)) == row
