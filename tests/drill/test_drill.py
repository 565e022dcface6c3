"""The drill: a seed repeats its schedule, a short one comes out exactly, and none leaves anybody behind."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psutil
import pytest

from devconnect.runner.plan import ROOT
from tests.drill.schedule import KINDS, plan
from tests.waiting import wait_until

#: What a short drill can't do without: the rest of the load is drawn, and comes now and then.
DONE = {
    "user.logged_out",
    "user.session_renewed",
    "user.password_changed",
    "user.email_changed",
    "connection.removed",
    "connection.blocked",
    "connection.unblocked",
    "connection.reported",
    "message.sent",
    "message.edited",
    "message.deleted",
    "message.read",
}
DRILL = (sys.executable, "-m", "tests.drill")


def started(*arguments: str, errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*DRILL, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)


def left(folder: Path) -> list[Sequence[str]]:
    """The command lines of all that has to do with this folder."""
    found = []
    for each in psutil.process_iter():
        try:
            if str(folder) in " ".join((*each.cmdline(), *each.environ().values())):
                found.append(each.cmdline())
        except psutil.Error:
            continue
    return found


def test_a_seed_repeats_its_schedule_and_no_other() -> None:
    assert plan(7, 30, 4.0) == plan(7, 30, 4.0)
    assert plan(7, 30, 4.0) != plan(8, 30, 4.0)


def test_thirty_faults_are_of_every_kind_and_target() -> None:
    due = {(kind, target) for kind, targets in KINDS.items() for target in targets}
    assert {(fault.kind, fault.target) for fault in plan(7, 30, 4.0)} == due


@pytest.mark.parametrize("arguments", [("--faults", "0"), ("--seed", "x"), ("--nonsense",), ("more",), ("--keep", ".")])
def test_a_bad_argument_is_told_in_one_line(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([*DRILL, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.timeout(600)
def test_a_short_drill_is_exact(tmp_path: Path) -> None:
    folder, errors = tmp_path / "drill", tmp_path / "errors.txt"
    arguments = ("--seed", "43", "--faults", "10", "--apart", "3", "--json", "--keep", str(folder))
    with errors.open("wb") as file, started(*arguments, errors=file) as process:
        out, _ = process.communicate(timeout=540)
    report = json.loads(out or "null")
    assert report is not None, errors.read_text()
    assert (process.returncode, report["differences"]) == (0, [])
    assert (report["seed"], report["faults"]) == (43, 10)
    assert report["happened"].keys() >= DONE
    assert sum(report["happened"].values()) == report["events"] - 1, "one more by the machine's operator"
    assert left(folder) == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drill_leaves_nobody(tmp_path: Path, number: signal.Signals) -> None:
    folder, errors = tmp_path / "drill", tmp_path / "errors.txt"
    with errors.open("wb") as file, started("--apart", "0.1", "--keep", str(folder), errors=file) as process:
        wait_until(lambda: errors.read_text().count("\n") > 10, 100, "ten faults")
        began = time.monotonic()
        process.send_signal(number)
        process.wait(60)
    assert process.returncode == 130
    assert errors.read_text().endswith("interrupted\n")
    assert left(folder) == [], f"after {time.monotonic() - began:.0f} s"
