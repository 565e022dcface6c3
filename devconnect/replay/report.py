"""What a replay has come to, as numbers and as lines."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from devconnect.replay.client import Measured
from devconnect.replay.compare import Difference, others_wrote
from devconnect.replay.limits import TOO_TIGHT
from devconnect.replay.plan import Tally
from devconnect.replay.player import Failure

#: So many differences and refused rows are shown.
SHOWN = 10


class Summary(Struct, frozen=True, kw_only=True):
    """The whole run. `seconds` is the playing alone; `requests` are HTTP requests of any kind, and the times theirs.

    `differences` and `failures` are the first ten, beside how many there are.
    """

    run: str
    rows: int
    users: int
    connections: int
    messages: int
    requests: int
    seconds: float
    requests_per_second: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    retried: int
    pending: int
    limited: int
    equal: bool
    difference_count: int
    differences: list[Difference]
    failure_count: int
    failures: list[Failure]
    notes: list[str]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the sorted values that `share` (0 to 1) of them don't exceed; 0.0 of none."""
    if not ordered:
        return 0.0
    rank = max(1, -int(-len(ordered) * share // 1))
    return ordered[min(rank, len(ordered)) - 1]


def summarize(
    run: str,
    expected: Tally,
    measured: Measured,
    *,
    seconds: float,
    differences: list[Difference],
    failures: list[Failure],
) -> Summary:
    """All of it in one value."""
    times = sorted(measured.seconds)
    notes = []
    if others_wrote(differences):
        notes.append("everybody's tables have grown by more than this run: does somebody else write at the same time?")
    if measured.limited:
        notes.append(f"{measured.limited} requests were answered 429: {TOO_TIGHT}")
    return Summary(
        run=run,
        rows=expected.rows,
        users=len(expected.people),
        connections=expected.connections,
        messages=expected.messages,
        requests=len(times),
        seconds=round(seconds, 3),
        requests_per_second=round(len(times) / seconds, 1) if seconds else 0.0,
        mean_ms=round(1000 * sum(times) / len(times), 3) if times else 0.0,
        p50_ms=round(1000 * percentile(times, 0.5), 3),
        p99_ms=round(1000 * percentile(times, 0.99), 3),
        retried=measured.retried,
        pending=measured.pending,
        limited=measured.limited,
        equal=not differences and not failures,
        difference_count=len(differences),
        differences=differences[:SHOWN],
        failure_count=len(failures),
        failures=failures[:SHOWN],
        notes=notes,
    )


def lines(summary: Summary) -> Iterator[str]:
    """The summary for people."""
    yield (
        f"{summary.rows} rows: {summary.users} users, {summary.connections} connections, {summary.messages} messages"
    )
    yield (
        f"{summary.requests} requests in {summary.seconds:.1f} s: {summary.requests_per_second:.0f}/s, "
        f"p50 {summary.p50_ms:.1f} ms, p99 {summary.p99_ms:.1f} ms, mean {summary.mean_ms:.1f} ms; "
        f"{summary.retried} repeated, {summary.pending} answered later (202)"
    )
    if summary.failure_count:
        yield f"{summary.failure_count} rows were refused, the first of them:"
        yield from (f"  line {each.line} ({each.what}): {each.why}" for each in summary.failures)
    if summary.difference_count:
        yield f"{summary.difference_count} differences between the file and the tables, the first of them:"
        for each in summary.differences:
            yield f"  {each.table} {each.key} {each.column}: expected {each.expected}, found {each.found}"
    yield from summary.notes
    if summary.equal:
        yield "the tables say exactly what the file says"
