"""What the stack says when a part can't be had: one message that names it, and what to do."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from click.testing import CliRunner

from devconnect import stack
from devconnect.cli.main import main
from devconnect.settings import Settings
from devconnect.stack import Progress, StackError, kafka_jars, lock, ports, process, starter
from devconnect.stack.kafka import Kafka
from devconnect.stack.part import Launch, NotReadyError, Part, Request, without_password
from devconnect.stack.valkey import Valkey

NO_SERVER = {
    "KAFKA_URL": "kafka://127.0.0.1:1",
    "REDIS_URL": "redis://someone:hidden@127.0.0.1:1",
    "MONGO_URL": "mongodb://127.0.0.1:1",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load({"DATA_DIR": str(tmp_path / "data")})


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_stack_that_never_ran_says_how_to_start_it(settings: Settings) -> None:
    assert [part.detail for part in stack.status(settings)] == ["not started: run `python -m devconnect up`"] * 3
    with pytest.raises(StackError, match=r"python -m devconnect up.*KAFKA_URL"):
        stack.addresses(settings)
    assert not settings.data_dir.exists()


def test_stopping_a_stack_that_never_ran_does_nothing(settings: Settings) -> None:
    stack.stop(settings)
    assert not settings.data_dir.exists()


def test_urls_are_the_addresses(tmp_path: Path) -> None:
    settings = Settings.load({"DATA_DIR": str(tmp_path), **NO_SERVER})
    assert stack.addresses(settings) == stack.Addresses(
        "127.0.0.1:1", "redis://someone:hidden@127.0.0.1:1", "mongodb://127.0.0.1:1"
    )


def test_urls_where_nobody_answers_are_named_and_passwords_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "_CHECK", 0.3)
    with pytest.raises(StackError) as error:
        stack.start(Settings.load({"DATA_DIR": str(tmp_path), **NO_SERVER}))
    said = str(error.value)
    for name in NO_SERVER:
        assert f"{name} is set" in said
    assert "hidden" not in said


def test_a_taken_port_names_its_owner_and_what_to_do(settings: Settings, taken: int) -> None:
    wanted = msgspec.structs.replace(settings, redis_port=taken)
    with pytest.raises(StackError, match=rf"port {taken} \(REDIS_PORT\) is taken by pid \d+ .*set REDIS_PORT"):
        stack.start(wanted)


def test_a_missing_download_says_what_and_what_to_do(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    import jgo

    def no_network(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(jgo, "build", no_network)
    said: list[str] = []
    with pytest.raises(StackError, match=r"jars of Kafka 4.1.0 .*Network is unreachable.*set KAFKA_URL"):
        Kafka(settings).prepare(Request(1, None, said.append))
    assert "Maven Central" in said[0]


def test_jars_are_resolved_once_and_again_when_one_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = tmp_path / "a.jar"
    calls: list[str] = []

    def resolve() -> list[str]:
        calls.append("resolve")
        jar.touch()
        return [str(jar)]

    monkeypatch.setattr(kafka_jars, "_resolve", resolve)
    for _ in range(2):
        assert kafka_jars.class_path(tmp_path / "kept.json", lambda _: None) == [str(jar)]
    assert len(calls) == 1
    jar.unlink()
    kafka_jars.class_path(tmp_path / "kept.json", lambda _: None)
    assert len(calls) == 2


class Broken(Valkey):
    """A part whose process says a word and dies."""

    def prepare(self, request: Request) -> Launch:
        return Launch(["/bin/sh", "-c", f"echo no memory for {request.port}; exit 7"])


def test_a_part_that_dies_says_how_with_its_last_words_and_where_its_log_is(settings: Settings) -> None:
    part: Part = Broken(settings)
    steps: list[Progress] = []
    with pytest.raises(StackError) as error:
        starter.Starter(part, steps.append).start(20_001)
    said = str(error.value)
    assert "exited with status 7" in said
    assert "no memory for 20001" in said
    assert str(part.log) in said
    detail = next(each.detail for each in stack.status(settings) if each.name == "redis")
    assert "died with status 7" in detail
    assert "no memory for 20001" in detail


def test_a_part_whose_old_process_is_only_just_dying_is_started_anew(settings: Settings) -> None:
    part: Part = Valkey(settings)
    dying = subprocess.Popen(["/bin/sleep", "0.3"])
    created = psutil.Process(dying.pid).create_time()
    record = process.Record(pid=dying.pid, created=created, port=ports.pick(), extra_ports={})
    part.folder.mkdir(parents=True)
    process.write_record(part.record_path, record)
    reaper = threading.Thread(target=dying.wait)
    reaper.start()
    try:
        starter.Starter(part, lambda _: None).start(ports.pick())
        now = part.record()
        assert now is not None
        assert now.pid != dying.pid
    finally:
        reaper.join()
        stack.stop(settings)


def test_two_at_once_are_kept_apart(tmp_path: Path) -> None:
    with (
        lock.exclusive(tmp_path),
        pytest.raises(StackError, match="another `up` or `down`"),
        lock.exclusive(tmp_path, patience=0.1),
    ):
        pass
    with lock.exclusive(tmp_path, patience=0.1):
        pass


def test_a_check_of_nobody_is_not_ready(settings: Settings) -> None:
    for part in (Kafka(settings), Valkey(settings)):
        with pytest.raises(NotReadyError):
            part.check(part.address_at(1), 0.3)


def test_a_shown_url_holds_no_password() -> None:
    assert without_password("mongodb://a:b@c@h:1/x") == "mongodb://a:***@h:1/x"
    assert without_password("redis://:b@h:1") == "redis://:***@h:1"
    assert without_password("redis://h:1/0") == "redis://h:1/0"


def test_status_of_nothing_exits_with_one_and_down_says_so(tmp_path: Path) -> None:
    env = {"DATA_DIR": str(tmp_path), "KAFKA_URL": "", "REDIS_URL": "", "MONGO_URL": ""}
    shown = CliRunner().invoke(main, ["status", "--json"], env=env)
    assert shown.exit_code == 1
    assert msgspec.json.decode(shown.stdout)["ready"] is False
    ended = CliRunner().invoke(main, ["down"], env=env)
    assert (ended.exit_code, ended.output) == (0, "nothing was running\n")


def test_a_wrong_setting_is_one_line_on_stderr(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["status"], env={"DATA_DIR": str(tmp_path), "KAFKA_PORT": "many"})
    assert shown.exit_code == 1
    assert shown.stderr == "Error: KAFKA_PORT is 'many': expected a port, 1 to 65535, or 0 for a free one\n"


class Resolved:
    """What jgo answers, as far as it is looked at."""

    def __init__(self, jars: list[Path]) -> None:
        self.all_jars = jars


def test_a_jar_lost_from_the_download_cache_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jgo

    jars = [tmp_path / f"{number}.jar" for number in range(kafka_jars.COUNT)]
    for jar in jars:
        jar.touch()

    def build(coordinates: str, *, update: bool) -> Resolved:
        return Resolved(jars if update else jars[1:])

    monkeypatch.setattr(jgo, "build", build)
    assert kafka_jars.class_path(tmp_path / "kept.json", lambda _: None) == [str(jar) for jar in jars]
