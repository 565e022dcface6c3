"""Records and processes of the stack: a pid is believed only when it is the process that was started."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from devconnect.stack import process
from devconnect.stack.process import Record


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    started = process.spawn(command, log=tmp_path / "logs" / "x.log", cwd=tmp_path)
    yield started
    started.kill()
    started.wait()


def record_of(child: subprocess.Popen[bytes]) -> Record:
    return Record(pid=child.pid, created=psutil.Process(child.pid).create_time(), port=1)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = Record(pid=1, created=2.5, port=3, extra_ports={"controller": 4}, exit_status=-9)
    process.write_record(tmp_path / "run" / "x.json", record)
    assert process.read_record(tmp_path / "run" / "x.json") == record
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["x.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
def test_a_broken_record_is_no_record(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    assert process.read_record(tmp_path / "x.json") is None


def test_a_live_process_is_found_and_a_reused_pid_is_not(child: subprocess.Popen[bytes]) -> None:
    record = record_of(child)
    assert process.find(record) is not None
    assert process.find(msgspec.structs.replace(record, created=record.created - 60)) is None
    assert process.find(None) is None


def test_a_killed_process_is_not_found_even_before_it_is_reaped(child: subprocess.Popen[bytes]) -> None:
    record = record_of(child)
    child.kill()
    psutil.wait_procs([psutil.Process(child.pid)], timeout=5)
    assert process.find(record) is None


def test_a_spawned_process_has_a_session_of_its_own(child: subprocess.Popen[bytes]) -> None:
    import os

    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    log = tmp_path / "x.log"
    deaf = process.spawn([sys.executable, "-c", code], log=log, cwd=tmp_path)
    record = record_of(deaf)
    while process.tail(log) != ["deaf"]:
        assert deaf.poll() is None
    running = process.find(record)
    assert running is not None
    assert "killed" in process.end(running, grace=0.2)
    assert process.find(record) is None


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert process.tail(log) == []
    log.write_text("\n".join(f"line {n}" for n in range(5000)) + "\n\n")
    assert process.tail(log, 2) == ["line 4998", "line 4999"]


def test_the_last_words_are_not_a_line_of_a_stack_trace(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert process.last_words(log) == ""
    log.write_text("ready\nError: no space\n\tat a.b\n\tat c.d\n")
    assert process.last_words(log) == "Error: no space"


def test_an_exit_status_is_put_in_words() -> None:
    assert process.describe_exit(3) == "status 3"
    assert process.describe_exit(-9) == "signal SIGKILL"
