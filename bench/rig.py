"""The servers of a benchmark, in a folder that is gone afterwards, and the processes that are measured on them."""

import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec
import psutil

from bench.task import Assigned, Outcome, Task
from devconnect import stack
from devconnect.runner import readiness
from devconnect.runner.plan import GATEWAY, ROOT, read_procfile
from devconnect.settings import Settings
from devconnect.stack import Addresses, ports, process
from devconnect.stack.process import last_words
from devconnect.stack.starter import Starter
from devconnect.stack.valkey import Valkey

#: Seconds that a process has to end by itself.
GRACE = 10.0
#: Seconds that a worker has until it is ready.
START = 60.0


class BenchError(Exception):
    """The benchmark, or one contender, can't go on; the message says why."""


class SilentError(BenchError):
    """A process has said nothing in the time that it had."""


@contextmanager
def servers(partitions: int) -> Iterator[tuple[Settings, Addresses]]:
    """An embedded stack of our own; at the end, however it comes, it is stopped and its folder removed."""
    with own_folder() as folder:
        settings = Settings(data_dir=folder / "data", partitions=partitions, log_level="WARNING")
        try:
            yield settings, stack.start(settings)
        finally:
            with deaf_to_signals():
                stack.stop(settings)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that is gone at the end, however that comes: SIGTERM and SIGHUP end all as Ctrl-C does."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    folder = Path(tempfile.mkdtemp(prefix="devconnect-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """The address of a Valkey of our own that keeps its data in the folder; stopped at the end."""
    part = Valkey(Settings(data_dir=folder))
    try:
        yield Starter(part, lambda _: None).start(ports.pick())
    finally:
        running = process.find(part.record())
        if running is not None:
            _end(running)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


@contextmanager
def deaf_to_signals() -> Iterator[None]:
    """A second Ctrl-C mustn't leave servers behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def of_the_machine() -> dict[str, str]:
    """The machine's variables, but for those that are settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_PORT"))}


def environment(settings: Settings, addresses: Addresses) -> dict[str, str]:
    """What a process of the product is told: nothing of the machine's own settings reaches it."""
    own = of_the_machine()
    return {
        **own,
        "PYTHONPATH": str(ROOT),
        "PORT": str(ports.pick()),
        "DATA_DIR": str(settings.data_dir),
        "PARTITIONS": str(settings.partitions),
        "LOG_LEVEL": settings.log_level,
        "KAFKA_URL": addresses.kafka,
        "REDIS_URL": addresses.redis,
        "MONGO_URL": addresses.mongo,
    }


@contextmanager
def workers(settings: Settings, addresses: Addresses) -> Iterator[dict[str, int]]:
    """The fleet's workers as processes, one a role, all of them ready: role -> port."""
    commands = {name: command for name, command in read_procfile(ROOT / "Procfile").items() if name != GATEWAY}
    found: dict[str, int] = {}
    with ExitStack() as stack:
        for name, command in commands.items():
            env = environment(settings, addresses)
            found[name] = int(env["PORT"])
            log = settings.data_dir / "bench" / f"{name}.log"
            child = process.spawn([sys.executable, *shlex.split(command)[1:]], log=log, cwd=ROOT, env=env)
            stack.callback(_end, psutil.Process(child.pid))
        for name, port in found.items():
            _wait_until_ready(name, port)
        yield found


def _end(child: psutil.Process) -> None:
    with deaf_to_signals():
        process.end(child, GRACE)


def _wait_until_ready(name: str, port: int) -> None:
    deadline = time.monotonic() + START
    while not (health := readiness.ask(ports.LOOPBACK, port)).ready:
        if time.monotonic() > deadline:
            raise BenchError(f"the {name} worker isn't ready after {START:g} s: {health.detail}")
        time.sleep(0.05)


class Measured:
    """One process of a contender: given its task by stdin, heard at stdout, its stderr kept in `log`."""

    def __init__(self, command: Sequence[str], task: Task, *, env: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._rest = b""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(env),
                cwd=ROOT,
                start_new_session=True,
            )
        self.say(msgspec.json.encode(task))

    def say(self, line: bytes) -> None:
        """Write a line to its stdin."""
        pipe = self._pipe(self._process.stdin)
        pipe.write(line + b"\n")
        pipe.flush()

    def hear(self, seconds: float) -> Outcome | Assigned:
        """Its next message; BenchError when it dies first, or says nothing in time."""
        deadline = time.monotonic() + seconds
        while True:
            line = self._line(deadline)
            try:
                fields = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue  # a library that prints
            if isinstance(fields, dict) and "assigned" in fields:
                return msgspec.convert(fields, Assigned)
            if isinstance(fields, dict) and "ended" in fields:
                return msgspec.convert(fields, Outcome)

    def _line(self, deadline: float) -> bytes:
        out = self._pipe(self._process.stdout)
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SilentError(f"it isn't through in time; its last words: {self.last_words()}")
            if not select.select([out], [], [], left)[0]:
                continue
            data = os.read(out.fileno(), 65_536)
            if not data:
                raise BenchError(f"it ended with status {self._process.wait(GRACE)}: {self.last_words()}")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def last_words(self) -> str:
        """The last line of what it wrote to stderr."""
        return last_words(self._log) or "none"

    def memory(self) -> int:
        """Resident memory of the process and its children, bytes."""
        parent = psutil.Process(self._process.pid)
        return sum(each.memory_info().rss for each in [parent, *parent.children(recursive=True)])

    def stop(self) -> None:
        """End it, and whatever it has started, gently first."""
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(GRACE)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(GRACE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise BenchError("it has no pipe")
        return pipe


@contextmanager
def measured(command: Sequence[str], task: Task, *, env: Mapping[str, str], log: Path) -> Iterator[Measured]:
    """The process, ended at the end."""
    running = Measured(command, task, env=env, log=log)
    try:
        yield running
    finally:
        with deaf_to_signals():
            running.stop()


def python(module: str) -> list[str]:
    """The command of a contender in this Python."""
    return [sys.executable, "-m", module]
