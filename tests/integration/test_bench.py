"""The benchmarks end to end, small: every contender of ours is right, and nothing is left whatever happens."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import tools
from devconnect.cli.bench import GATEWAYS, REALTIME
from devconnect.runner.plan import ROOT

pytestmark = pytest.mark.timeout(300)

OURS = ("raw", "ours_stateless", "ours_stateful", "ours_analytics", "ours_projections")
PEERS = ("faust", "quix", "kafka_streams")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`python -m devconnect bench …`; whatever it keeps is in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "devconnect", "bench", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def report(folder: Path, *arguments: str) -> dict[str, Any]:
    """What it says in JSON, when it succeeds."""
    with start(folder, *arguments, "--json") as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    return dict(json.loads(output))


def left(folder: Path) -> list[str]:
    """Files and processes that are left of what ran there."""
    processes = [
        " ".join(found.info["cmdline"])
        for found in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in found.info["cmdline"] or [])
    ]
    return [*map(str, folder.iterdir()), *processes]


def test_ours_are_right_alone_and_shared_out_and_restored(tmp_path: Path) -> None:
    only = [word for name in OURS for word in ("--only", name)]
    found = report(tmp_path, "fleet", "--events", "2000", "--keys", "200", "--rounds", "1", "--workers", "2", *only)
    assert all(found[name] > 0 for name in OURS)
    assert all(found[name] is None for name in PEERS)
    assert (found["events"], found["keys"], found["rounds"]) == (2_000, 200, 1)
    assert all(found["contenders"][name]["memory"] > 0 for name in OURS)
    assert found["scale_out"]["many"] > 0
    assert found["recovery"]["keys_per_second"] > 0
    assert found["growth"] is None
    assert left(tmp_path) == []


def test_growth_goes_on_from_what_was_kept(tmp_path: Path) -> None:
    found = report(
        tmp_path,
        *("fleet", "--events", "1000", "--keys", "6000", "--rounds", "2", "--no-recovery", "--only", "ours_stateful"),
    )
    assert (found["keys"], found["growth"]["keys"], found["growth"]["base_keys"]) == (5_000, 6_000, 5_000)
    assert found["growth"]["ratios"]["ours_stateful"] > 0
    assert left(tmp_path) == []


def test_a_lone_command_is_followed_until_it_is_applied(tmp_path: Path) -> None:
    found = report(tmp_path, "latency", "--samples", "10", "--stages", "--people", "200", "--reads", "30")
    for name in ("round_trip_p50_ms", "round_trip_p99_ms", "applied_p50_ms", "applied_p99_ms", "ratio"):
        assert found[name] > 0
    assert found["ratio"] == pytest.approx(found["applied_p50_ms"] / found["round_trip_p50_ms"])
    assert len(found["stages"]) == 4
    assert {"decide-message-commands", "project-message-events"} <= set(found["agents"])
    assert set(found["reads"]) == {"session check", "user read", "presence", "history"}
    for each in found["reads"].values():
        assert each["speed_up"] == pytest.approx(each["database"]["p50_ms"] / each["cache"]["p50_ms"])
        assert 0 < each["cache"]["p50_ms"] <= each["cache"]["p99_ms"]
    assert found["reads"]["presence"]["note"]
    assert left(tmp_path) == []


def test_the_gateway_and_its_floors_answer_right_under_load(tmp_path: Path) -> None:
    found = report(tmp_path, "gateway", "--seconds", "0.3", "--rounds", "1")
    assert found["generator"].split()[0] in ("wrk", "own")
    for name in GATEWAYS:
        result = found["contenders"][name]
        assert found[name] == result["requests_per_second"] > 0
        assert 0 < result["p50_ms"] <= result["p99_ms"]
        assert result["server_us"] > 0
        assert result["server_share"] > 0
        assert result["generator_share"] > 0
        assert result["failure"] is None
    assert set(found["ratios"]) == {
        "ours_me / hello",
        "ours_me / redis_get",
        "ours_presence / redis_get",
        "ours_history / redis_get",
        "ours_command / produce",
    }
    assert set(found["tails"]) == {name for name in GATEWAYS if name.startswith("ours_")}
    assert left(tmp_path) == []


def test_everybody_delivers_to_sockets(tmp_path: Path) -> None:
    names = [name for name in REALTIME if name != "end_to_end"]
    only = [word for name in names for word in ("--only", name)]
    found = report(tmp_path, "realtime", "--seconds", "0.2", "--rounds", "1", "--connections", "10", *only)
    for name in names:
        result = found["contenders"][name]
        if name == "centrifuge" and shutil.which("go") is None:
            assert result["absent"] == "go isn't on PATH"
            continue
        assert (result["failure"], result["absent"]) == (None, None)
        assert 0 < result["one_to_one_p50_ms"] <= result["one_to_one_p99_ms"]
        assert 0 < result["across_p50_ms"] <= result["across_p99_ms"]
        assert result["fan_out_per_second"] > 0
        assert result["held"]["connections"] == 10
        assert (result["held"]["stall_ms"] is None) == (name == "centrifuge")
    for name in ("fan-out: ours / socketio", "fan-out: ours / aiohttp", "ours: longest stall, ms"):
        aim = found["ratios"][name]
        assert aim["held"] == (aim["value"] >= aim["aim"] if aim["bound"] == "at least" else aim["value"] <= aim["aim"])
    assert found["end_to_end"] is None
    assert left(tmp_path) == []


def test_pages_of_the_feed_are_measured_among_few_and_many(tmp_path: Path) -> None:
    found = report(tmp_path, "feed", "--users", "2000", "--users", "4000", "--readers", "10")
    assert [size["users"] for size in found["sizes"]] == [2_000, 4_000]
    for size in found["sizes"]:
        assert 0.25 < size["popular"] < 0.4
        for kind, pages in (("first", 10), ("following", 40), ("behind", 20)):
            assert size[kind]["samples"] == pages
            assert size[kind]["people"] == 10
            assert 10 < size[kind]["commands"] < 100
    assert found["ratios"]["first commands"] > 0
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_it_finds_nothing_left(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, "fleet", "--events", "20000", "--rounds", "50", "--only", "ours_stateful") as process:
        assert process.stderr is not None
        deadline = time.monotonic() + 100
        while not process.stderr.readline().startswith("round 1"):
            assert time.monotonic() < deadline
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert left(tmp_path) == []


def test_more_workers_than_partitions_is_refused(tmp_path: Path) -> None:
    with start(tmp_path, "fleet", "--workers", "5") as process:
        errors = process.communicate()[1]
    assert process.returncode == 1
    assert errors == "Error: --workers 5: with 4 partitions at most as many can work (--partitions)\n"


@pytest.mark.skipif(
    not (tools.ENVIRONMENTS / "plot" / "installed").exists(), reason="matplotlib isn't in .venv-bench yet"
)
def test_a_report_is_drawn(tmp_path: Path) -> None:
    run = {"events_per_second": 5.0}
    fleet = {
        "events": 10,
        "keys": 2,
        "contenders": {"raw": {**run, "rounds": [run]}, "quix": {"events_per_second": None, "rounds": []}},
        "growth": {"keys": 9, "base_keys": 2, "ratios": {"ours_stateful": 0.9}},
        "recovery": {"keys": 3, "keys_per_second": 2.0, "bare_read_per_second": 3.0},
    }
    latency = dict.fromkeys(("applied_p50_ms", "applied_p99_ms", "round_trip_p50_ms", "round_trip_p99_ms"), 1.0)
    files = []
    for name, content in (("fleet", fleet), ("latency", latency)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(content))
    picture = tmp_path / "picture.png"
    with start(tmp_path, "plot", *map(str, files), "-o", str(picture)) as process:
        errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert picture.read_bytes().startswith(b"\x89PNG")
