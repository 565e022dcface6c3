"""The compose file, as far as a parser can see: every process of Procfile by the same command, on pinned images."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from devconnect.ports import metrics
from devconnect.runner.plan import GATEWAY, WORKER_PORTS, read_procfile
from devconnect.settings import VARIABLES

ROOT = Path(__file__).parents[2]
PROCESSES = read_procfile(ROOT / "Procfile")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PORTS = {GATEWAY: 8000, **WORKER_PORTS}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def test_it_starts_exactly_what_is_promised() -> None:
    parts = {"kafka", "redis", "mongo", "kafka-ui", "redis-commander", "prometheus", "topics"}
    assert set(SERVICES) == parts | set(PROCESSES)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_runs_by_procfiles_own_command(name: str) -> None:
    assert SERVICES[name]["command"] == PROCESSES[name]
    assert SERVICES[name]["environment"]["PORT"] == PORTS[name]
    assert "/health/ready" in SERVICES[name]["healthcheck"]["test"][1]


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_waits_for_what_it_needs(name: str) -> None:
    waits = {other: how["condition"] for other, how in SERVICES[name]["depends_on"].items()}
    assert waits == {
        "topics": "service_completed_successfully",
        "redis": "service_healthy",
        "mongo": "service_healthy",
    }
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_and_what_is_waited_for_can_say_that_it_is_healthy(name: str) -> None:
    service = SERVICES[name]
    tag = service["image"].rpartition(":")[2]
    assert tag != "latest"
    assert re.search(r"\d", tag)
    for other, how in service.get("depends_on", {}).items():
        assert how["condition"] in CONDITIONS
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other], other


@pytest.mark.parametrize("name", [*PROCESSES, "topics"])
def test_a_process_is_given_settings_that_there_are(name: str) -> None:
    known = {variable.name: variable for variable in VARIABLES}
    for variable, value in SERVICES[name]["environment"].items():
        assert variable in known
        if not str(value).startswith("$"):
            known[variable].read(str(value))


def test_the_outside_is_reached_at_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert {port.split(":")[1] for port in published} == {"8000", "8080", "8081", "9090"}


def test_every_volume_and_every_mounted_file_is_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"], source


def test_the_image_has_every_package_that_a_process_names_and_nothing_secret() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for command in PROCESSES.values():
        assert command.split()[2].partition(".")[0] in kept
    assert {"devconnect", "requirements.lock", "Procfile"} <= kept
    assert not kept & {".env", ".data", ".git", "tests"}


@pytest.mark.parametrize(("file", "by_name"), [("prometheus.yml", False), ("compose.yml", True)])
def test_prometheus_scrapes_every_process_where_it_serves(file: str, by_name: bool) -> None:
    config = yaml.safe_load((ROOT / "ops/prometheus" / file).read_text())
    targets = {
        target for job in config["scrape_configs"] for group in job["static_configs"] for target in group["targets"]
    }
    assert targets == {f"{name if by_name else 'localhost'}:{PORTS[name]}" for name in PROCESSES}


def test_alerts_ask_for_metrics_that_there_are() -> None:
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    known = {f"devconnect_{metric.name}{suffix}" for metric in metrics.ALL for suffix in suffixes[metric.kind]}
    rules = yaml.safe_load((ROOT / "ops/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    asked = {name for rule in rules for name in re.findall(r"devconnect_\w+", rule["expr"])}
    assert asked
    assert asked <= known
