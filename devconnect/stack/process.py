"""Detached processes and the records by which a later command finds them again."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

#: A log above this size is put aside (as `.1`) before its part is started again.
LOG_LIMIT = 20 * 2**20


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a part's last process, kept in `DATA_DIR/run/<part>.json`."""

    pid: int
    #: Seconds since the epoch; a pid is believed only where the process of that pid has this one.
    created: float
    port: int
    #: Ports that the part has beside that one (Kafka's controller).
    extra_ports: dict[str, int] = {}
    #: True once `down` has ended it: then it is not dead, it is stopped.
    stopped: bool = False
    exit_status: int | None = None


def read_record(path: Path) -> Record | None:
    """The record, or None where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_record(path: Path, record: Record) -> None:
    """Stores a record; a reader sees the old one or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_bytes(msgspec.json.encode(record))
    half.replace(path)


def find(record: Record | None) -> psutil.Process | None:
    """The live process that a record speaks of, or None; a reused pid and a zombie don't count."""
    if record is None:
        return None
    try:
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.created) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def spawn(
    command: Sequence[str], *, log: Path, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own (no Ctrl-C of ours reaches it), its output to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    cwd.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name(log.name + ".1"))
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 (our own command line)
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            start_new_session=True,
        )


def end(process: psutil.Process, grace: float) -> str:
    """Asks a process to end (SIGTERM), and after `grace` seconds kills it. Says which of the two it was.

    Raises:
        psutil.Error: it is not ours to end, or outlives even the kill.
    """
    try:
        process.terminate()
        if _gone(process, grace):
            return "ended"
        process.kill()
    except psutil.NoSuchProcess:
        return "ended"
    if not _gone(process, grace):
        raise psutil.TimeoutExpired(grace, process.pid)
    return f"killed: it did not end within {grace:g} s"


def _gone(process: psutil.Process, seconds: float) -> bool:
    """Waits until a process has ended. A zombie has: only its parent, which may be another process, can reap it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            process.wait(0.02)  # reaps it where it is our child
            return True
        except psutil.TimeoutExpired:
            pass
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
    return False


def tail(log: Path, lines: int = 8) -> list[str]:
    """The last lines of a log that are not blank."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]


def last_words(log: Path) -> str:
    """The last line of a log that says something by itself: not the indented rest of a stack trace."""
    lines = [line for line in tail(log, 60) if not line[0].isspace()]
    return lines[-1].strip() if lines else ""


def describe_exit(code: int) -> str:
    """An exit status in words: "status 1", or "signal SIGKILL"."""
    if code >= 0:
        return f"status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
