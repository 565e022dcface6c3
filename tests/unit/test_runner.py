"""The runner's plan and its watch: who gets which port, how long is waited, and what is said of a late process."""

from pathlib import Path

import pytest

from devconnect.runner import readiness, state
from devconnect.runner.child import next_backoff
from devconnect.runner.plan import (
    GATEWAY,
    ROOT,
    WORKER_PORTS,
    PlanError,
    environment,
    moved,
    plan,
    read_procfile,
)
from devconnect.runner.readiness import Health, understand, watch
from devconnect.settings import Settings, reachable
from devconnect.stack import Addresses
from devconnect.stack.process import Record

COMMANDS = read_procfile(ROOT / "Procfile")


def test_procfile_has_the_gateway_and_a_worker_for_every_role() -> None:
    assert set(COMMANDS) == {GATEWAY, *WORKER_PORTS}


def test_a_procfile_that_is_missing_or_has_no_gateway_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="can't be read"):
        read_procfile(tmp_path / "Procfile")
    (tmp_path / "Procfile").write_text("worker: true\n")
    with pytest.raises(PlanError, match="no process called gateway"):
        read_procfile(tmp_path / "Procfile")


def test_workers_get_their_usual_ports() -> None:
    planned = plan(COMMANDS, 8000, lambda port: True)
    assert {each.name: each.port for each in planned} == {GATEWAY: 8000, **WORKER_PORTS}
    assert moved(planned) == []


@pytest.mark.parametrize("gateway", [8000, 8012])
def test_a_worker_whose_port_is_taken_gets_a_free_one_and_nobody_gets_the_same(gateway: int) -> None:
    planned = plan(COMMANDS, gateway, lambda port: port != 8011)
    ports = [each.port for each in planned]
    assert len(set(ports)) == len(ports)
    expected = {"commands", "projections"} if gateway == 8012 else {"commands"}
    assert {each.name for each in moved(planned)} == expected


def test_a_process_is_told_where_the_parts_are_and_finds_this_python_first() -> None:
    found = environment({"PATH": "/bin", "A": "b"}, data_dir=Path("/data"), addresses=Addresses("k:1", "r", "m"))
    assert found["PATH"].endswith(":/bin")
    assert (found["A"], found["KAFKA_URL"], found["DATA_DIR"]) == ("b", "k:1", "/data")


def test_workers_have_the_name_that_was_given_them_or_one_that_goes_with_the_data_folder() -> None:
    def name(base: dict[str, str], folder: str) -> str:
        found = environment(base, data_dir=Path(folder), addresses=Addresses("k:1", "r", "m"))["WORKER_INSTANCE"]
        Settings.load({"WORKER_INSTANCE": found})
        return found

    assert name({"WORKER_INSTANCE": "mine"}, "/a") == "mine"
    assert name({}, "/a") == name({}, "/a") != name({"WORKER_INSTANCE": ""}, "/b")


@pytest.mark.parametrize(
    ("host", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("box", "box")]
)
def test_a_gateway_on_all_addresses_is_asked_at_loopback(host: str, asked: str) -> None:
    assert reachable(host) == asked


def test_backoff_doubles_to_its_limit_and_starts_over_after_a_steady_life() -> None:
    waits, last = [], None
    for _ in range(7):
        last = next_backoff(last, lived=1.0)
        waits.append(last)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert next_backoff(10.0, lived=31.0) == 0.5


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"whatever", Health(True, "ready")),
        (503, b'{"checks": {"kafka": "ok", "tables": "restoring"}}', Health(False, "tables: restoring")),
        (503, b'{"parts": {"kafka": "no answer in time", "redis": "ok"}}', Health(False, "kafka: no answer in time")),
        (500, b"<html>", Health(False, "status 500")),
        (503, b"[]", Health(False, "status 503")),
        (503, b'{"checks": "no"}', Health(False, "status 503")),
    ],
)
def test_an_answer_is_put_in_words(status: int, body: bytes, expected: Health) -> None:
    assert understand(status, body) == expected


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_watch_ends_with_the_seconds_that_it_took_and_mentions_a_late_process_once() -> None:
    clock, mentioned = Clock(), list[str]()
    passed = watch(
        lambda: Health(clock.now >= 40, "restoring"), lambda: False, mentioned.append, clock=clock, sleep=clock.sleep
    )
    assert passed == pytest.approx(40, abs=readiness.EVERY)
    assert mentioned == ["restoring"]


def test_the_watch_gives_up_when_the_process_is_gone() -> None:
    clock = Clock()
    found = watch(lambda: Health(False, ""), lambda: clock.now > 1, lambda _: None, clock=clock, sleep=clock.sleep)
    assert found is None


def test_nobody_listening_is_no_error() -> None:
    assert readiness.ask("127.0.0.1", 1) == Health(False, "it doesn't listen yet")


def test_the_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert state.read(tmp_path) is None
    run = state.Run(pid=1, created=2.5, url="http://h:1", processes={"gateway": Record(pid=3, created=4.0, port=1)})
    state.write(tmp_path, run)
    assert state.read(tmp_path) == run
    state.path_of(tmp_path).write_text("{")
    assert state.read(tmp_path) is None
    state.remove(tmp_path)
    state.remove(tmp_path)


def test_one_run_at_a_time_in_a_data_folder(tmp_path: Path) -> None:
    with state.only_one(tmp_path), pytest.raises(state.AlreadyRunningError), state.only_one(tmp_path):
        pass
    with state.only_one(tmp_path):
        pass
