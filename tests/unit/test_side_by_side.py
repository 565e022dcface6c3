"""Test processes that run side by side have no port in common, and an interrupted run leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devconnect.runner.plan import can_listen
from devconnect.stack import ports
from tests import side_by_side

#: Takes longer to stop what it has started than xdist waits before it interrupts (5 s) and kills (10 s).
SLOW = """
import pathlib, time
import pytest

@pytest.fixture(scope="session")
def system():
    yield
    for _ in range(105):
        time.sleep(0.1)
    pathlib.Path("stopped").touch()

def test_something(system):
    pathlib.Path("started").touch()
    time.sleep(60)
"""


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port in place of those that workers usually have; the environment stays as it was."""
    port = ports.pick()
    monkeypatch.setenv(ports.RANGE, "20000-31999")
    monkeypatch.setattr(side_by_side, "WORKER_PORTS", {"worker": port})
    monkeypatch.setattr(side_by_side, "_held", [])
    return port


def test_no_two_processes_have_a_port_in_common(usual: int) -> None:
    given = []
    for number in range(3):
        side_by_side.keep_apart(f"gw{number}", 3)
        lowest, highest = map(int, os.environ[ports.RANGE].split("-"))
        assert lowest <= ports.pick() <= highest
        given += range(lowest, highest + 1)
    assert sorted(given) == list(range(20_000, 32_000))


def test_nobody_gets_a_usual_port_while_any_process_is_there(usual: int) -> None:
    assert can_listen(ports.LOOPBACK, usual)
    for number in range(2):
        side_by_side.keep_apart(f"gw{number}", 2)
    first, last = side_by_side._held
    for holder in (first, last):
        assert not can_listen(ports.LOOPBACK, usual)
        holder.close()
    assert can_listen(ports.LOOPBACK, usual)


def test_an_interrupted_run_stops_what_it_has_started_though_that_takes_a_while(tmp_path: Path) -> None:
    (tmp_path / "test_slow.py").write_text(SLOW)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True) as run:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does
        run.wait(40)
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert (tmp_path / "stopped").exists()
