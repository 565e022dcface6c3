"""A worker whose consumer has silently stopped says that it isn't alive, and is started again; others aren't."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devconnect.runner import readiness
from tests.e2e.people import join
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.timeout(300)

#: Seconds: more than one attempt at a store that is away takes on a busy machine.
LIMIT = 8


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system whose workers may stand still for a few seconds only, and can be made deaf."""
    deaf = str(Path(__file__).with_name("deaf"))
    with System(
        tmp_path_factory.mktemp("liveness"), WORKER_STALL_SECONDS=str(LIMIT), PYTHONPATH=deaf
    ).running() as found:
        yield found


def live(system: System, role: str) -> readiness.Health:
    return readiness.ask("127.0.0.1", system.port_of(role), "/health/live")


def gauge(system: System, role: str, name: str) -> float:
    """The sum of a metric over its labels."""
    lines = system.metrics(role).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"devconnect_{name}"))


def test_a_deaf_worker_is_not_alive_and_is_started_again(own: System) -> None:
    ada, bob = join(own, "Ada", "Bob")
    ada.sees(f"/v1/users/{bob.user}", lambda body: body["name"] == "Bob")
    pids = own.pids()
    os.kill(pids["projections"], signal.SIGHUP)
    ada.connect(bob)
    wait_until(lambda: gauge(own, "projections", "consumer_lag_records") > 0, PATIENCE, "a lag")
    wait_until(lambda: gauge(own, "projections", "oldest_unprocessed_timestamp_seconds") > 0, PATIENCE, "an age")
    dead = wait_until(lambda: None if (found := live(own, "projections")).ready else found, PATIENCE, "not alive")
    assert "stands still" in dead.detail
    assert all(live(own, role).ready for role in pids if role != "projections")
    own.restarted("projections", pids["projections"], 60)
    assert "projections isn't alive (consumer: " in own.output()
    wait_until(lambda: gauge(own, "projections", "consumer_lag_records") == 0, PATIENCE, "no lag")
    assert live(own, "projections").ready
    assert {role: pid for role, pid in own.pids().items() if role != "projections"} == {
        role: pid for role, pid in pids.items() if role != "projections"
    }


def test_who_waits_for_the_database_is_alive(own: System) -> None:
    ada, bob = join(own, "Ada", "Bob")
    ada.connect(bob)
    pids = own.pids()
    own.kill("mongo")
    reply = ada.send("POST", f"/v1/conversations/{bob.user}/messages", {"text": "meanwhile"})
    assert reply.status == 202, reply

    def waited_long() -> bool:
        assert live(own, "commands").ready
        retries = gauge(own, "commands", "batch_retries_total") - before
        return time.monotonic() - began > 2 * LIMIT and retries > 4

    began, before = time.monotonic(), gauge(own, "commands", "batch_retries_total")
    wait_until(waited_long, 120, "many retries")
    assert gauge(own, "commands", "consumer_lag_records") > 0
    assert own.cli("up").returncode == 0
    ada.sees(reply.headers["location"], lambda command: command["status"] == "accepted")
    wait_until(lambda: gauge(own, "commands", "consumer_lag_records") == 0, PATIENCE, "no lag")
    assert own.pids() == pids
