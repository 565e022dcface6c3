"""`replay`: plays a recorded trace through the gateway and holds the tables against the file."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from devconnect.cli.errors import CliError
from devconnect.cli.users import set_role
from devconnect.replay import plan, trace
from devconnect.replay.client import LimitedError, RefusedError, UnreachableError
from devconnect.replay.limits import TOO_TIGHT
from devconnect.replay.report import Summary, lines
from devconnect.replay.session import Options, replay as play
from devconnect.settings import Settings, reachable


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", help="Address of the gateway (default: by HOST and PORT).")
@click.option("--limit", type=click.IntRange(min=1), help="Play only the first so many rows.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most so many requests a second.")
@click.option("--concurrency", type=click.IntRange(1, 4096), default=32, show_default=True, help="Requests at once.")
@click.option(
    "--settle", type=click.FloatRange(min=0), default=60, show_default=True, help="Seconds to wait for the tables."
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Seconds to go on trying when the gateway doesn't answer.",
)
@click.option("--analyst-token", help="A token that may read the tables (default: an analyst signs up).")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def replay(
    *,
    file: Path,
    url: str | None,
    limit: int | None,
    rate: float | None,
    concurrency: int,
    settle: float,
    patience: float,
    analyst_token: str | None,
    as_json: bool,
) -> None:
    """Play the trace in FILE through the gateway, then compare the tables with what it says.

    FILE has a meeting a line, tab-separated: unix time, person, person, group, group. Exit status 0: all is equal.
    """
    settings = Settings.load()
    options = Options(
        file=file,
        url=url or f"http://{reachable(settings.host)}:{settings.port}",
        limit=limit,
        rate=rate,
        concurrency=concurrency,
        settle=settle,
        patience=patience,
        token=analyst_token,
    )
    summary = _play(settings, options, quiet=as_json)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(summary), indent=2))
    else:
        for line in lines(summary):
            click.echo(line)
    if not summary.equal:
        sys.stdout.flush()
        raise SystemExit(1)


def _play(settings: Settings, options: Options, *, quiet: bool) -> Summary:
    async def promote(email: str) -> None:
        await set_role(settings, email, "analyst")

    try:
        # Once over the file first: a bad line is told before anybody has signed up.
        expected = plan.tally(trace.read(options.file, options.limit))
        with _progress(expected.rows, quiet=quiet) as bar:
            return asyncio.run(play(options, expected, promote, bar.row, bar.say))
    except trace.TraceError as error:
        raise CliError(f"{options.file}: {error}") from None
    except (RefusedError, UnreachableError) as error:
        raise CliError(_advice(error, options)) from None
    except ExceptionGroup as group:
        first = _first(group)
        if isinstance(first, UnreachableError):
            raise CliError(_advice(first, options)) from None
        raise first from None


def _advice(error: Exception, options: Options) -> str:
    if isinstance(error, LimitedError):
        return f"the gateway's limits are in the way ({error}): {TOO_TIGHT}"
    if isinstance(error, UnreachableError):
        return f"{error}: is it running (`make run`), and is {options.url} its address (--url)?"
    return f"the analyst was refused ({error}); give a token of one with --analyst-token"


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


class _Bar:
    """Rows done, for whoever watches; with no bar to move, it keeps quiet."""

    def __init__(self, progress: Progress | None, rows: int) -> None:
        self._progress = progress
        self._task = progress.add_task("playing", total=rows) if progress else None

    def row(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)

    def say(self, text: str) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text)


@contextmanager
def _progress(rows: int, *, quiet: bool) -> Iterator[_Bar]:
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield _Bar(None, rows)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress, rows)
