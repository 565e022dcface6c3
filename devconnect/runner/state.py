"""What is known of a running system: `DATA_DIR/run/run.json`, and the lock that lets one run at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from devconnect.stack.process import Record


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One `run`: its own process, the gateway's address, and the processes by name.

    `ready` is true once every process has been ready, for as long as the run lasts.
    """

    pid: int
    created: float
    url: str
    ready: bool = False
    processes: dict[str, Record] = {}


class AlreadyRunningError(Exception):
    """Another `run` has this data folder."""


def path_of(data_dir: Path) -> Path:
    """Where the state is kept."""
    return data_dir / "run" / "run.json"


def read(data_dir: Path) -> Run | None:
    """The state as it was last stored, or None; whether its processes live is another question (`process.find`)."""
    try:
        return msgspec.json.decode(path_of(data_dir).read_bytes(), type=Run)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write(data_dir: Path, run: Run) -> None:
    """Stores the state; a reader sees the old one or the new one, never half of it."""
    path = path_of(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_bytes(msgspec.json.format(msgspec.json.encode(run)))
    half.replace(path)


def remove(data_dir: Path) -> None:
    """Forgets the state of a run that has ended."""
    path_of(data_dir).unlink(missing_ok=True)


def record_of(pid: int, port: int) -> Record:
    """The record by which a process is found again, if it still lives."""
    try:
        created = psutil.Process(pid).create_time()
    except psutil.Error:
        created = 0.0
    return Record(pid=pid, created=created, port=port)


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Holds the folder for one `run`; the system lets go of it when this process ends, however it ends.

    Raises:
        AlreadyRunningError: another one holds it.
        OSError: the folder can't be written.
    """
    path = data_dir / "run" / "run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError from None
        yield
