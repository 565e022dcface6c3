"""`bench`: benchmarks on servers of their own; nothing of a running system is touched."""

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
    console = Console(stderr=True)
    try:
        results = contest.run(options, lambda text: console.print(text, highlight=False))
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
