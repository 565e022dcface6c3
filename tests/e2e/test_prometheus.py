"""A real Prometheus, where this machine has one, scrapes every process by ops/'s own configuration."""

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from devconnect.runner.plan import ROOT, WORKER_PORTS
from devconnect.stack import ports
from tests.e2e.system import System
from tests.waiting import wait_until

OPS = ROOT / "ops/prometheus"

pytestmark = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="needs Prometheus (apt-get install prometheus)",
)


@pytest.mark.parametrize(
    "command", ["check config prometheus.yml", "check config compose.yml", "test rules alerts.test.yml"]
)
def test_promtool_finds_nothing_wrong(command: str) -> None:
    done = subprocess.run(["promtool", *command.split()], cwd=OPS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def ask(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=5) as answer:
        return json.load(answer)["data"]


def is_up(port: int) -> bool:
    try:
        ask(port, "status/runtimeinfo")
    except OSError:
        return False
    return True


def test_prometheus_scrapes_every_process_and_its_alerts_can_be_evaluated(system: System, tmp_path: Path) -> None:
    config = (OPS / "prometheus.yml").read_text()
    for role, usual in {"gateway": 8000, **WORKER_PORTS}.items():
        config = config.replace(f"localhost:{usual}", f"127.0.0.1:{system.port_of(role)}")
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(OPS / "alerts.yml", tmp_path)
    port = ports.pick()
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: is_up(port), 20, "Prometheus")
        roles = {target["labels"].get("role", "gateway") for target in ask(port, "targets")["activeTargets"]}
        assert roles == {"gateway", *WORKER_PORTS}
        up, all_of_them = "query?query=sum(up)", [str(len(roles))]
        wait_until(lambda: [row["value"][1] for row in ask(port, up)["result"]] == all_of_them, 30, "every target up")

        def rules() -> list[Any]:
            return [rule for group in ask(port, "rules")["groups"] for rule in group["rules"]]

        wait_until(lambda: all(rule["health"] == "ok" for rule in rules()), 20, "every alert evaluated")
    finally:
        server.terminate()
        server.wait(20)
