"""`bench`: benchmarks on servers of their own; nothing of a running system is touched."""

from collections.abc import Callable

import click
import msgspec
from rich.console import Console
from rich.table import Table

from devconnect.cli.errors import CliError
from devconnect.stack import StackError

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


@click.group()
def bench() -> None:
    """Measure the fleet against its peers, and how soon a lone command takes effect."""


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--events", type=click.IntRange(min=1000), default=200_000, show_default=True, help="Recorded events.")
@click.option("--keys", type=click.IntRange(min=100), default=5_000, show_default=True, help="Users that write them.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each contender.")
@click.option("--partitions", type=click.IntRange(1, 64), default=4, show_default=True, help="Of every topic.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes for scale-out.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the recorded events.")
@click.option("--only", multiple=True, type=click.Choice(CONTENDERS), help="Only this contender; can be repeated.")
def fleet(
    *,
    as_json: bool,
    events: int,
    keys: int,
    rounds: int,
    partitions: int,
    workers: int,
    seed: int,
    only: tuple[str, ...],
) -> None:
    """Run every contender on the same recorded events, in turn, and show events a second."""
    from bench import fleet as contest, rig  # noqa: PLC0415  (only who measures needs it)

    options = contest.Options(
        events=events, keys=keys, rounds=rounds, partitions=partitions, workers=workers, seed=seed, only=only
    )
    try:
        results = contest.run(options, _say())
    except (rig.BenchError, StackError) as error:
        raise CliError(str(error)) from None
    figures = {name: result.events_per_second for name, result in results.items()}
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({**figures, "contenders": results}), indent=2))
    else:
        grid = Table("contender", "events/s", "spread", "memory MB")
        for name, result in results.items():
            grid.add_row(
                name,
                f"{result.events_per_second or 0:,.0f}",
                f"{result.spread or 0:.0%}",
                str((result.memory or 0) >> 20),
            )
        Console().print(grid)
    if any(result.failure for result in results.values()):
        raise SystemExit(1)


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--samples", type=click.IntRange(min=10), default=300, show_default=True, help="Commands, and round trips."
)
@click.option("--partitions", type=click.IntRange(1, 64), default=4, show_default=True, help="Of every topic.")
@click.option("--stages", is_flag=True, help="Say where the time of a command goes.")
def latency(*, as_json: bool, samples: int, partitions: int, stages: bool) -> None:
    """Compare a lone command, from its acknowledgement to its event applied, with a bare round trip."""
    from bench import latency as measure, rig  # noqa: PLC0415  (only who measures needs it)

    options = measure.Options(samples=samples, partitions=partitions, stages=stages)
    try:
        found = measure.run(options, _say())
    except (rig.BenchError, StackError) as error:
        raise CliError(str(error)) from None
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
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


def _say() -> Callable[[str], None]:
    """Tells how far it is, on stderr."""
    console = Console(stderr=True)
    return lambda text: console.print(text, highlight=False)
