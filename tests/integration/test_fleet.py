"""Processes of their own under the runner: one that dies is started again, and at the end none is left, in order."""

import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devconnect.runner import fleet, readiness, state
from devconnect.runner.fleet import Fleet
from devconnect.runner.lines import Lines
from devconnect.runner.plan import Planned
from devconnect.stack import ports
from tests.waiting import wait_until

#: Serves /health/ready on PORT, starts a child of its own, and writes down when it was told to end.
PROGRAM = """
import http.server, os, signal, subprocess, sys, time
role, log = sys.argv[1], sys.argv[2]
child = subprocess.Popen(["sleep", "300"])
def note(word):
    with open(log, "a") as file:
        file.write(f"{role} {word} {os.getpid()} {child.pid}\\n")
def end(*_):
    note("told")
    if role != "stubborn":
        os._exit(0)
signal.signal(signal.SIGTERM, end)
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        dead = self.path == "/health/live" and os.path.exists(f"{log}.{role}.{os.getpid()}.dead")
        self.send_response(503 if dead else 200); self.end_headers()
    def log_message(self, *_): pass
note("up")
print("hello from", role, flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Ready).serve_forever()
"""


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class System:
    """A gateway, a worker and a stubborn one, of the program above."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        program = folder / "program.py"
        program.write_text(PROGRAM)
        self.log.touch()
        self.output = io.StringIO()
        self.became_ready: list[float] = []
        planned, taken = [], set[int]()
        for name in ("worker", "gateway", "stubborn"):
            port = ports.pick(avoid=frozenset(taken))
            taken.add(port)
            planned.append(Planned(name, f"python {program} {name} {self.log}", port))
        self.fleet = Fleet(
            planned,
            env={
                **os.environ,
                "WORKER_INSTANCE": "here",
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            cwd=folder,
            data_dir=folder,
            host="127.0.0.1",
            lines=Lines([each.name for each in planned], self.output),
            on_ready=lambda: self.became_ready.append(time.monotonic()),
        )

    def notes(self, word: str) -> list[str]:
        return [line.split()[0] for line in self.log.read_text().splitlines() if line.split()[1] == word]

    def pids(self) -> set[int]:
        return {int(pid) for line in self.log.read_text().splitlines() for pid in line.split()[2:]}

    def pid(self, name: str) -> int:
        run = state.read(self.folder)
        assert run is not None
        return run.processes[name].pid


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    monkeypatch.setattr(fleet, "WORKER_DEADLINE", 2.0)
    monkeypatch.setattr(fleet, "DEAD_GRACE", 0.5)
    monkeypatch.setattr(readiness, "LIFE_EVERY", 0.05)
    found = System(tmp_path)
    found.fleet.start()
    wait_until(lambda: found.became_ready)
    yield found
    found.fleet.stop()


def test_all_are_started_and_told_ready_once(system: System) -> None:
    run = state.read(system.folder)
    assert run is not None
    assert (run.pid, run.ready, set(run.processes)) == (os.getpid(), True, {"worker", "gateway", "stubborn"})
    assert len(system.became_ready) == 1
    assert "hello from worker" in system.output.getvalue()


def test_no_shell_stays_between(system: System) -> None:
    assert psutil.Process(system.pid("gateway")).cmdline()[1].endswith("program.py")


def test_one_that_is_killed_is_started_again_and_its_children_are_gone(system: System) -> None:
    before = system.pid("worker")
    children = [child.pid for child in psutil.Process(before).children()]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: system.pid("worker") != before)
    assert "worker died (signal SIGKILL); starts again in 0.5 s" in system.output.getvalue()
    assert not any(alive(child) for child in children)
    wait_until(lambda: system.output.getvalue().count("worker is ready") == 2)
    assert len(system.became_ready) == 1


@pytest.mark.parametrize("name", ["worker", "stubborn"])
def test_one_that_says_that_it_is_not_alive_is_ended_and_started_again(system: System, name: str) -> None:
    before, others = system.pid(name), {system.pid(each) for each in ("gateway", "worker", "stubborn") if each != name}
    Path(f"{system.log}.{name}.{before}.dead").touch()
    wait_until(lambda: system.output.getvalue().count(f"{name} is ready") == 2)
    assert system.pid(name) != before
    assert f"{name} isn't alive (status 503): ending it" in system.output.getvalue()
    assert not alive(before)
    assert all(alive(pid) for pid in others)


def test_one_that_does_not_answer_any_more_is_ended_and_started_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "PATIENCE", 0.2)
    before = system.pid("worker")
    os.kill(before, signal.SIGSTOP)
    wait_until(lambda: system.output.getvalue().count("worker is ready") == 2)
    assert system.pid("worker") != before
    assert not alive(before)


def test_the_gateway_stops_first_the_stubborn_are_killed_and_nobody_is_left(system: System) -> None:
    began = time.monotonic()
    system.fleet.stop()
    assert time.monotonic() - began < 4
    told = system.notes("told")
    assert told[0] == "gateway"
    assert set(told) == {"gateway", "worker", "stubborn"}
    assert "stubborn did not end within " in system.output.getvalue()
    assert len(system.pids()) == 6
    wait_until(lambda: not any(alive(pid) for pid in system.pids()))
    assert state.read(system.folder) is None
