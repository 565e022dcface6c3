"""Processes are killed (-9) in the middle of a replay: at its end nothing is lost, and nothing is there twice."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devconnect.runner.plan import WORKER_PORTS
from tests.e2e.replays import Replay, assert_exact
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(300)

Start = Callable[[int], Replay]


@pytest.fixture
def start(system: System, tmp_path: Path) -> Iterator[Start]:
    """Starts a replay that doesn't outlive the test."""
    started: list[Replay] = []

    def begin(rows: int) -> Replay:
        started.append(Replay(system, tmp_path, rows))
        return started[0]

    yield begin
    for each in started:
        each.stop()


def test_a_worker_of_every_role_killed_in_the_middle_changes_no_number(system: System, start: Start) -> None:
    replay = start(2000)
    killed = {}
    for number, role in enumerate(WORKER_PORTS, 1):
        replay.reaches(number / (len(WORKER_PORTS) + 2))
        killed[role] = system.kill(role)
    for role, pid in killed.items():
        assert system.restarted(role, pid) != pid
    summary = replay.summary()
    tally = replay.tally
    assert (summary["equal"], summary["messages"], summary["failure_count"]) == (True, tally.messages, 0)
    assert_exact(system, summary["run"], replay.rows)


def test_a_gateway_killed_in_the_middle_loses_nothing_and_says_nothing_twice(system: System, start: Start) -> None:
    replay = start(1000)
    replay.reaches(1 / 3)
    old = system.kill("gateway")
    system.restarted("gateway", old)
    summary = replay.summary()
    assert summary["equal"]
    assert summary["retried"] > 0
    assert_exact(system, summary["run"], replay.rows)
