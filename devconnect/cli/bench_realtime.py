"""What `bench realtime` prints."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from bench.sockets.endtoend import EndToEnd
    from bench.sockets.report import Report


def realtime_grids(report: "Report") -> Iterator[Table]:
    """A report as tables for people."""
    if report.contenders:
        yield _rounds(report)
    if any(result.held for result in report.contenders.values()):
        yield _held(report)
    if report.end_to_end is not None:
        yield _end_to_end(report.end_to_end)
    aims = Table("", "", "aim", "")
    for name, aim in report.ratios.items():
        aims.add_row(name, f"{aim.value:.2f}", f"{aim.bound} {aim.aim:g}", "" if aim.held else "missed")
    yield aims


def _rounds(report: "Report") -> Table:
    title = f"{report.rounds} rounds of {report.seconds:g} s, {report.idle:,} idle, a room of {report.room}"
    grid = Table("", "idle KB", "one to one ms", "across ms", "deliveries/s", "µs", "spread", "load", title=title)
    for name, result in report.contenders.items():
        if result.memory is None:
            grid.add_row(name, "-")
            continue
        grid.add_row(
            name,
            f"{result.memory / 1024:.1f}",
            f"{result.one_to_one_p50_ms:.2f}, {result.one_to_one_p99_ms:.2f}",
            f"{result.across_p50_ms:.2f}, {result.across_p99_ms:.2f}",
            f"{result.fan_out_per_second:,.0f}",
            f"{result.server_us:.1f}",
            f"{result.spread:.0%}",
            f"{result.generator_share:.0%}",
        )
    return grid


def _held(report: "Report") -> Table:
    grid = Table("", "KB each", "opened in", "stall ms", "busiest ms", title=f"{report.connections:,} connections")
    for name, result in report.contenders.items():
        if (held := result.held) is not None:
            stalls = ["not measured"]
            if held.stall_ms is not None:
                stalls = [f"{held.stall_ms:.1f}", f"{held.busiest_ms:.1f}"]
            grid.add_row(name, f"{held.memory / 1024:.1f}", f"{held.opened_in:.1f} s", *stalls)
    return grid


def _end_to_end(found: "EndToEnd") -> Table:
    grid = Table("from POST to the socket", "p50 ms", "p99 ms")
    grid.add_row("bare round trip", f"{found.round_trip_p50_ms:.2f}", f"{found.round_trip_p99_ms:.2f}")
    for name, sampled in found.sampled.items():
        grid.add_row(name, f"{sampled.p50_ms:.2f}", f"{sampled.p99_ms:.2f}")
    return grid
