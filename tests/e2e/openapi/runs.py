"""Runs schemathesis as people do, by its command line, on a configuration that knows the real ids."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from devconnect.runner.plan import ROOT
from tests.e2e.openapi.cast import Known

STATIC = Path(__file__).with_name("schemathesis.toml")
#: How often a real value is taken where there is one, and a real cursor.
REAL, REAL_CURSOR = 0.7, 0.5
#: Seconds for one run: much more than it takes, since other tests may run, too.
SECONDS = 900


class Run(NamedTuple):
    """Who asks for what; `only` and `but` choose operations, as schemathesis' `--include-by` and `--exclude-by` do."""

    name: str
    role: str
    phases: str
    examples: int
    only: str = ""
    but: str = ""


class Caller(NamedTuple):
    """Somebody who asks: their token ("" for nobody), and what is in place for them."""

    token: str
    known: Known


class Outcome(NamedTuple):
    """What came of a run: whether nothing was found, what it said, and how often an operation was answered how."""

    ok: bool
    output: str
    answers: dict[tuple[str, int], int]


def configuration(known: Known) -> str:
    """The settings, and real values for what has any."""
    dictionaries: dict[str, list[str] | list[int]] = {}
    bound, operations = [], []
    for parameter, values in known.parameters.items():
        name = parameter.replace(".", "-")
        dictionaries[name] = values
        bound.append(f'"{parameter}" = {{ dictionary = "{name}", probability = {REAL} }}')
    for operation, cursors in known.cursors.items():
        name = f"cursor-{operation}"
        dictionaries[name] = cursors
        cursor = f'"query.cursor" = {{ dictionary = "{name}", probability = {REAL_CURSOR} }}'
        operations.append(f'[[operations]]\ninclude-operation-id = "{operation}"\nparameters = {{ {cursor} }}')
    tables = [f"[dictionaries.{name}]\nvalues = {json.dumps(values)}" for name, values in dictionaries.items()]
    return "\n\n".join([STATIC.read_text(), *tables, "[parameters]\n" + "\n".join(bound), *operations])


class Effort(NamedTuple):
    """With which seed, and how many times as many examples as usual."""

    seed: str
    times: int


def carry_out(run: Run, caller: Caller, url: str, folder: Path, effort: Effort) -> Outcome:
    """One run in a folder of its own, which has the whole output, too."""
    folder.mkdir(parents=True)
    config, tally = folder / "schemathesis.toml", folder / "tally.json"
    config.write_text(configuration(caller.known))
    done = subprocess.run(
        [*_command(run, config, effort), f"{url}/v1/openapi.json"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.e2e.openapi.hooks",
            "CALLER_URL": url,
            "CALLER_TOKEN": caller.token,
            "CALLER_TALLY": str(tally),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS * effort.times,
        check=False,
    )
    output = done.stdout + done.stderr
    (folder / "output.txt").write_text(output)
    return Outcome(done.returncode == 0, output, dict(_read(tally)))


def _command(run: Run, config: Path, effort: Effort) -> Iterator[str]:
    yield from (sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color", "run")
    yield from ("--phases", run.phases, "--max-examples", str(run.examples * effort.times), "--seed", effort.seed)
    if run.only:
        yield from ("--include-by", run.only)
    if run.but:
        yield from ("--exclude-by", run.but)


def _read(tally: Path) -> Iterator[tuple[tuple[str, int], int]]:
    if tally.exists():
        for name, status, times in json.loads(tally.read_text()):
            yield (name, status), times
