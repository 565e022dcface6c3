"""`run`: one start brings up everything, one signal takes it away, and what is in the way is told in one line."""

import http.client
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from devconnect.runner import readiness
from devconnect.runner.plan import ROOT, read_procfile
from tests.e2e.system import System
from tests.waiting import wait_until

ROLES = set(read_procfile(ROOT / "Procfile"))


def test_every_process_of_procfile_is_ready_and_says_where(system: System) -> None:
    assert set(system.pids()) == ROLES
    for role in ROLES:
        assert readiness.ask("127.0.0.1", system.port_of(role)).ready, role
        assert f"{role} is ready: http://127.0.0.1:{system.port_of(role)}" in system.output()
    assert f"ready: {system.url}" in system.output()


def test_every_process_has_metrics(system: System) -> None:
    for role in ROLES:
        connection = http.client.HTTPConnection("127.0.0.1", system.port_of(role), timeout=5)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert (answer.status, b"devconnect_" in answer.read()) == (200, True), role
        connection.close()


def test_a_second_run_in_the_same_folder_is_told_that_one_runs_already(system: System) -> None:
    second = system.cli("run")
    assert second.returncode == 1
    assert second.stdout == ""
    assert f"it runs already in {system.data_dir}: {system.url}" in second.stderr


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_process_that_is_killed_is_started_again(system: System, role: str) -> None:
    old = system.kill(role)
    new = system.restarted(role, old)
    assert new != old
    assert f"{role} died (signal SIGKILL); starts again in " in system.output()


def test_a_taken_port_is_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = System(tmp_path, PORT=str(taken.getsockname()[1]))
        ended = found.cli("run")
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"Error: port {found.port} (PORT) is taken by ")
        assert len(ended.stderr.splitlines()) == 1
        assert found.parts() == {}


def test_sigterm_stops_all_of_it_and_a_second_start_finds_its_ports_again(tmp_path: Path) -> None:
    found = System(tmp_path)
    found.start()
    before = {name: psutil.Process(pid).pid for name, pid in found.parts().items()}
    assert set(before) == {"kafka", "redis", "mongo"}
    found.stop(signal.SIGTERM)
    found.start()
    assert set(found.parts()) == {"kafka", "redis", "mongo"}
    found.stop(signal.SIGINT)


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    found = System(tmp_path)
    found.launch()
    wait_until((found.data_dir / "run" / "redis.json").exists, 60, "the start of the stack")
    found.stop()


def test_what_a_killed_run_left_behind_is_ended_by_the_next(tmp_path: Path) -> None:
    found = System(tmp_path)
    found.start()
    orphans = found.pids()
    os.kill(found.runner.pid, signal.SIGKILL)
    found.runner.wait()
    assert all(psutil.pid_exists(pid) for pid in orphans.values())
    found.start()
    assert "gateway of an earlier run is still there" in found.output()
    assert not any(psutil.pid_exists(pid) for pid in orphans.values())
    assert set(found.pids()) == ROLES
    found.stop()
