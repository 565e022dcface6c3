"""`bench`: benchmarks on servers of their own; nothing of a running system is touched."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from devconnect.cli.bench_realtime import realtime_grids
from devconnect.cli.errors import CliError
from devconnect.stack import StackError

if TYPE_CHECKING:
    from bench.fleet import Report
    from bench.gateways.report import Report as GatewayReport
    from bench.latency import Latency

CONTENDERS = (
    "raw",
    "faust",
    "quix",
    "kafka_streams",
    "ours_stateless",
    "ours_stateful",
    "ours_analytics",
    "ours_projections",
)
REALTIME = ("aiohttp", "socketio", "socketio_plain", "ours", "centrifuge", "end_to_end")
GATEWAYS = ("hello", "redis_get", "ours_me", "ours_presence", "ours_history", "produce", "ours_command")


@click.group()
def bench() -> None:
    """Measure the fleet and sockets against peers, the gateway against its floors, how soon a command takes effect."""


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--events", type=click.IntRange(min=1000), default=200_000, show_default=True, help="Recorded events.")
@click.option(
    "--keys",
    type=click.IntRange(min=100),
    default=5_000,
    show_default=True,
    help="Users that write them; above 5000 for growth: the stateful ones are run with 5000 and with so many.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each contender.")
@click.option("--partitions", type=click.IntRange(1, 64), default=4, show_default=True, help="Of every topic.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="For scale-out: ours_stateful as one process and as so many.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the recorded events.")
@click.option("--only", multiple=True, type=click.Choice(CONTENDERS), help="Only this contender; can be repeated.")
@click.option("--recovery/--no-recovery", default=True, show_default=True, help="Restore a table, too.")
def fleet(*, as_json: bool, workers: int, partitions: int, **asked: Any) -> None:
    """Run every contender on the same recorded events, in turn, and show events a second."""
    from bench import fleet as contest  # noqa: PLC0415  (only who measures needs it)

    if workers > partitions:
        raise CliError(f"--workers {workers}: with {partitions} partitions at most as many can work (--partitions)")
    options = contest.Options(workers=workers, partitions=partitions, **asked)
    with _told():
        report = contest.run(options, _say())
    if as_json:
        figures: dict[str, float | None] = dict.fromkeys(CONTENDERS)
        figures |= {name: result.events_per_second for name, result in report.contenders.items()}
        click.echo(_json({**figures, **msgspec.to_builtins(report)}))
    else:
        for grid in _grids(report):
            Console().print(grid)
    if failures := report.failures():
        raise CliError("; ".join(failures))


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _grids(report: "Report") -> Iterator[Table]:
    """A report as tables for people."""
    rates = Table("contender", "events/s", "spread", "2nd half", "memory MB", "changelog", title=_title(report))
    for name, result in report.contenders.items():
        if result.events_per_second is None:
            rates.add_row(name, "-", result.failure or result.absent)
            continue
        rates.add_row(
            name,
            f"{result.events_per_second:,.0f}",
            f"{result.spread:.0%}",
            f"{result.second_half:,.0f}",
            f"{(result.memory or 0) >> 20}",
            f"{result.rounds[-1].changelog_records:,}",
        )
    yield rates
    ratios = Table("ratio", "")
    for name, ratio in report.ratios.items():
        ratios.add_row(name, f"{ratio:.2f}")
    if report.growth is not None:
        for name, ratio in report.growth.ratios.items():
            ratios.add_row(f"{name}: {report.growth.keys:,} keys / {report.growth.base_keys:,}", f"{ratio:.2f}")
    if report.scale_out is not None:
        ratios.add_row(f"ours_stateful: {report.scale_out.workers} workers / 1", f"{report.scale_out.ratio:.2f}")
    if report.recovery is not None:
        found = report.recovery
        what = f"{found.keys_per_second:,.0f} keys/s, {found.memory >> 20} MB for {found.keys:,} keys"
        ratios.add_row(f"recovery ({what}) / bare read", f"{found.ratio:.2f}")
    yield ratios


def _title(report: "Report") -> str:
    return f"{report.events:,} events of {report.keys:,} users, {report.partitions} partitions, {report.rounds} rounds"


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--samples", type=click.IntRange(min=10), default=300, show_default=True, help="Commands, and round trips."
)
@click.option("--partitions", type=click.IntRange(1, 64), default=4, show_default=True, help="Of every topic.")
@click.option("--stages", is_flag=True, help="Say where the time of a command goes.")
@click.option(
    "--people", type=click.IntRange(min=0), default=20_000, show_default=True, help="For the reads; 0 leaves them out."
)
@click.option("--reads", type=click.IntRange(min=10), default=1000, show_default=True, help="Of each kind and store.")
def latency(*, as_json: bool, **asked: Any) -> None:
    """Compare a lone command with a bare round trip, and reads from Redis with the same from MongoDB."""
    from bench import latency as measure  # noqa: PLC0415  (only who measures needs it)

    with _told():
        found = measure.run(measure.Options(**asked), _say())
    if as_json:
        click.echo(_json(found))
        return
    grid = Table("", "p50 ms", "p99 ms")
    grid.add_row("bare round trip", f"{found.round_trip_p50_ms:.2f}", f"{found.round_trip_p99_ms:.2f}")
    grid.add_row("command acknowledged", f"{found.acknowledged_p50_ms:.2f}", f"{found.acknowledged_p99_ms:.2f}")
    grid.add_row("acknowledged to applied", f"{found.applied_p50_ms:.2f}", f"{found.applied_p99_ms:.2f}")
    for name, (half, most) in found.stages.items():
        grid.add_row(f"  {name}", f"{half:.2f}", f"{most:.2f}")
    for name, mean in found.agents.items():
        grid.add_row(f"  {name}, mean a batch", f"{mean:.2f}", "")
    Console().print(grid)
    click.echo(f"applied / round trip, p50: {found.ratio:.2f}")
    if found.reads:
        Console().print(_reads_grid(found))


def _reads_grid(found: "Latency") -> Table:
    grid = Table("p50, p99 ms", "Redis", "MongoDB", "times", "claimed", title=f"reads of {found.people:,} people")
    for name, each in found.reads.items():
        stores = [f"{store.p50_ms:.2f}, {store.p99_ms:.2f}" for store in (each.cache, each.database)]
        grid.add_row(name + " *" * bool(each.note), *stores, f"{each.speed_up:.1f}", f"{each.claimed}")
    grid.caption = "\n".join(f"* {each.note}" for each in found.reads.values() if each.note)
    return grid


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--commands", type=click.IntRange(min=100), default=50_000, show_default=True, help="To be decided.")
@click.option(
    "--conversations", type=click.IntRange(min=1), default=2_000, show_default=True, help="In which they are said."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="On fresh servers each.")
@click.option("--partitions", type=click.IntRange(1, 64), default=4, show_default=True, help="Of every topic.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the commands.")
def commands(*, as_json: bool, **asked: int) -> None:
    """Decide a backlog of commands, and show commands a second and who had the processors meanwhile."""
    from bench import commands as measure  # noqa: PLC0415  (only who measures needs it)

    with _told():
        runs = measure.run(measure.Options(**asked), _say())
    found = measure.summed_up(runs)
    if as_json:
        click.echo(_json({**msgspec.to_builtins(found), "options": asked, "rounds": runs}))
        return
    grid = Table("", "", title=f"{asked['commands']:,} commands, {asked['rounds']} rounds")
    grid.add_row("commands/s", f"{found.commands:,.0f}")
    grid.add_row("processor: MongoDB", f"{found.mongo_share:.0%}")
    grid.add_row("processor: worker", f"{found.worker_share:.0%}")
    grid.add_row("commands a batch", f"{found.batch_commands:,.0f}")
    grid.add_row("batch, p50 and p99", f"{found.batch_p50:.3f} s, {found.batch_p99:.3f} s")
    for name, count in found.calls.items():
        grid.add_row(f"{name}, a batch", f"{count:.1f} calls, {found.documents[name]:,.0f} documents")
    Console().print(grid)


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 600), default=5.0, show_default=True, help="Of each load; wrk rounds up."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Loads of each contender.")
@click.option(
    "--connections",
    type=click.IntRange(1, 1000),
    default=32,
    show_default=True,
    help="Each with one request at a time.",
)
@click.option("--partitions", type=click.IntRange(1, 64), default=4, show_default=True, help="Of every topic.")
@click.option("--generator", type=click.Choice(("wrk", "own")), help="Of load; wrk where it is on PATH, else our own.")
@click.option("--only", multiple=True, type=click.Choice(GATEWAYS), help="Only this contender; can be repeated.")
def gateway(*, as_json: bool, **asked: Any) -> None:
    """Load the gateway and its floors in turn, and show requests a second with p50 and p99."""
    from bench import gateway as contest  # noqa: PLC0415  (only who measures needs it)

    with _told():
        report = contest.run(contest.Options(**asked), _say())
    if as_json:
        figures: dict[str, float | None] = dict.fromkeys(GATEWAYS)
        figures |= {name: result.requests_per_second for name, result in report.contenders.items()}
        click.echo(_json({**figures, **msgspec.to_builtins(report)}))
    else:
        for grid in _gateway_grids(report):
            Console().print(grid)
        for warning in report.warnings:
            click.echo(f"note: {warning}", err=True)
    if failures := report.failures():
        raise CliError("; ".join(failures))


def _gateway_grids(report: "GatewayReport") -> Iterator[Table]:
    title = (
        f"{report.connections} connections, {report.rounds} rounds of {report.seconds:g} s, load by {report.generator}"
    )
    rates = Table("contender", "requests/s", "p50, p99 ms", "spread", "µs", "server", "load", title=title)
    for column in rates.columns[:3]:
        column.no_wrap = True
    for name, result in report.contenders.items():
        if result.requests_per_second is None:
            rates.add_row(name, "-")
            continue
        rates.add_row(
            name,
            f"{result.requests_per_second:,.0f}",
            f"{result.p50_ms:.2f}, {result.p99_ms:.2f}",
            f"{result.spread:.0%}",
            f"{result.server_us:.0f}",
            f"{result.server_share:.0%}",
            f"{result.generator_share:.0%}",
        )
    yield rates
    ratios = Table("ratio", "", "aim")
    for name, held in report.ratios.items():
        ratios.add_row(name, f"{held.ratio:.2f}", f"at least {held.aim:g}")
    for name, held in report.tails.items():
        ratios.add_row(f"{name}: p99 / p50", f"{held.ratio:.1f}", f"at most {held.aim:g}")
    yield ratios


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=5.0, show_default=True, help="Of each load.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Of each contender.")
@click.option(
    "--connections",
    type=click.IntRange(0, 60_000),
    default=10_000,
    show_default=True,
    help="Held at the end, after the rounds; 0 leaves this out.",
)
@click.option("--only", multiple=True, type=click.Choice(REALTIME), help="Only this part; can be repeated.")
def realtime(*, as_json: bool, **asked: Any) -> None:
    """Compare sockets: memory, latency, fan-out, many connections; and follow messages from POST to the socket."""
    from bench import realtime as contest  # noqa: PLC0415  (only who measures needs it)

    with _told():
        report = contest.run(contest.Options(**asked), _say())
    if as_json:
        click.echo(_json(report))
    else:
        for grid in realtime_grids(report):
            Console().print(grid)
        for warning in report.warnings:
            click.echo(f"note: {warning}", err=True)
    if failures := report.failures():
        raise CliError("; ".join(failures))


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--users",
    multiple=True,
    type=click.IntRange(min=2_000),
    default=(10_000, 1_000_000),
    show_default=True,
    help="How many there are; can be repeated.",
)
@click.option("--readers", type=click.IntRange(min=10), default=300, show_default=True, help="Who read, of each size.")
@click.option("--limit", type=click.IntRange(1, 200), default=10, show_default=True, help="People a page.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the people.")
def feed(*, as_json: bool, **asked: Any) -> None:
    """Compare what a page of people to meet costs among few users and among many."""
    from bench import feed as measure  # noqa: PLC0415  (only who measures needs it)

    with _told():
        found = measure.run(measure.Options(**asked), _say())
    if as_json:
        click.echo(_json(found))
        return
    grid = Table(
        "users",
        "page",
        "p50 ms",
        "p99 ms",
        "reader ms",
        "Redis ms",
        "commands",
        title=f"{asked['limit']} people a page",
    )
    for size in found.sizes:
        for kind in measure.KINDS:
            pages = getattr(size, kind)
            figures = (pages.p50_ms, pages.p99_ms, pages.reader_ms, pages.redis_ms, pages.commands)
            grid.add_row(f"{size.users:,}", kind, *(f"{figure:.2f}" for figure in figures))
    Console().print(grid)
    for name, ratio in found.ratios.items():
        click.echo(f"{name}, most users / fewest: {ratio:.2f}")


@bench.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The PNG to write."
)
def plot(*, files: tuple[Path, ...], output: Path) -> None:
    """Draw what `fleet --json` and `latency --json` have written to FILES. Fetches matplotlib on first use."""
    from bench import tools  # noqa: PLC0415  (only who draws needs it)

    if not output.parent.is_dir():
        raise CliError(f"{output.parent} is no folder")
    with _told():
        python = tools.python_with("plot", tools.HERE / "plot.lock")
    command = [str(python), str(tools.HERE / "plot.py"), str(output), *map(str, files)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603  (our own command)
    if done.returncode:
        raise CliError((done.stderr.strip() or "the picture could not be drawn").splitlines()[-1])
    click.echo(f"drawn: {output}")


@contextmanager
def _told() -> Iterator[None]:
    """What keeps a benchmark from its end is one line."""
    from bench.rig import BenchError  # noqa: PLC0415  (only who measures needs it)

    try:
        yield
    except (BenchError, StackError) as error:
        raise CliError(str(error)) from None


def _say() -> Callable[[str], None]:
    """Tells how far it is, on stderr."""
    console = Console(stderr=True)
    return lambda text: console.print(text, highlight=False)
