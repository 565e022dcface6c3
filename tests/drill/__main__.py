"""`python -m tests.drill --seed 7 --faults 30 --json`: a drill by hand."""

import shutil
import signal
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Any

import click
import msgspec

from tests.drill.drill import Options, run

say = partial(click.echo, err=True)


@click.command()
@click.option("--seed", type=click.IntRange(0), help="Repeats a schedule; without it one is drawn and printed.")
@click.option("--faults", type=click.IntRange(1), default=30, show_default=True, help="How many faults.")
@click.option(
    "--apart", type=click.FloatRange(0.1), default=4, show_default=True, help="Seconds between two faults on average."
)
@click.option("--rate", type=click.FloatRange(1), default=40, show_default=True, help="Requests a second at most.")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="A new folder for data and logs, which stays."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of text.")
def drill(seed: int | None, keep: Path | None, as_json: bool, **rest: float) -> None:
    """Load a whole system, have faults in it, and count everything. Exit status 1: something differs."""
    if keep is not None and keep.exists():
        raise click.UsageError(f"--keep: {keep} is there already: name a new folder")
    seed = SystemRandom().randrange(2**31) if seed is None else seed
    say(f"seed {seed}")
    folder = keep or Path(tempfile.mkdtemp(prefix="drill-"))
    try:
        report = run(msgspec.convert({"seed": seed, **rest}, Options), folder, say)
    except Exception as error:
        if keep is not None:
            (keep / "drill.log").write_text(traceback.format_exc())
        raise click.ClickException(f"seed {seed} did not come to its end: {_first(error)}") from error
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        for name, value in msgspec.to_builtins(report).items():
            click.echo(f"{name}: {value}")
    if report.differences:
        for line in report.differences:
            say(f"seed {seed}: {line}")
        sys.exit(1)


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())


def _interrupted(number: int, _: Any) -> None:
    """The first signal ends the drill; the ones that follow don't disturb it at that."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> None:
    """One line for whatever ends it early."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupted)
    try:
        drill.main(standalone_mode=False)
    except click.ClickException as error:
        say(f"Error: {error.format_message()}")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        sys.exit(130)


main()
