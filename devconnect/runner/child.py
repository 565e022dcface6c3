"""One process of Procfile: started, its lines passed on, started again when it dies by itself, stopped when asked."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread

from devconnect.runner.lines import Lines
from devconnect.runner.plan import GATEWAY, Planned
from devconnect.stack import ports
from devconnect.stack.process import describe_exit

#: Seconds before the first restart; doubled each time, up to the second number.
BACKOFF = (0.5, 10.0)
#: A process that has lived for so many seconds starts over with the first backoff.
STEADY = 30.0


def next_backoff(last: float | None, lived: float) -> float:
    """Seconds to wait before a process that lived for `lived` seconds is started again."""
    if last is None or lived >= STEADY:
        return BACKOFF[0]
    return min(last * 2, BACKOFF[1])


class Child:
    """Keeps one process alive.

    The shell that reads the command is replaced by it (`exec`), and each start is a session, and so a process group,
    of its own: a Ctrl-C at the terminal reaches only the runner, and an end reaches the children of children too.
    `on_start` is called with the pid after each start, from this child's own thread.
    """

    def __init__(
        self,
        planned: Planned,
        *,
        env: Mapping[str, str],
        cwd: Path,
        lines: Lines,
        on_start: Callable[["Child", int], None],
        is_free: Callable[[int], bool],
    ) -> None:
        """`is_free` says whether a port can be listened on."""
        self.planned = planned
        self._is_free = is_free
        self.restarts = 0
        # A process that is started again is the same member of its consumer group, whatever port it gets.
        self._env = {**env, "PORT": str(planned.port), "WORKER_INSTANCE": f"{env['WORKER_INSTANCE']}-{planned.name}"}
        self._cwd = cwd
        self._lines = lines
        self._on_start = on_start
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()
        self._stopping = Event()
        self._thread = Thread(target=self._live, name=f"child {planned.name}", daemon=True)

    @property
    def name(self) -> str:
        return self.planned.name

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def start(self) -> None:
        """Returns at once; the process starts in a thread that stays with it."""
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Asks the process to end (SIGTERM), and after `grace` seconds kills what is left of its group."""
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            _signal_group(process.pid, signal.SIGTERM)
            self._thread.join(grace)
            if self._thread.is_alive():
                self._lines.say(f"{self.name} did not end within {grace:.1f} s: killed")
                _signal_group(process.pid, signal.SIGKILL)
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def end(self, pid: int, grace: float) -> None:
        """Ends this start of the process, which is then started again: SIGTERM, and SIGKILL after `grace` seconds."""
        with self._lock:
            process = self._process
        if process is None or process.pid != pid:
            return
        _signal_group(pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        if process.returncode is None:
            _signal_group(pid, signal.SIGKILL)

    def _live(self) -> None:
        backoff: float | None = None
        while True:
            began = time.monotonic()
            process = self._spawn()
            if process is None:
                return
            self._on_start(self, process.pid)
            code = self._attend(process)
            if self.stopping:
                self._lines.say(f"{self.name} stopped ({describe_exit(code)})")
                return
            backoff = next_backoff(backoff, time.monotonic() - began)
            self._lines.say(f"{self.name} died ({describe_exit(code)}); starts again in {backoff:g} s")
            if self._stopping.wait(backoff):
                return
            self.restarts += 1
            self._see_to_the_port()

    def _see_to_the_port(self) -> None:
        """Somebody else may have taken the port meanwhile. People know the gateway's; a worker gets another one."""
        port = self.planned.port
        if self.name == GATEWAY or self._is_free(port):
            return
        self.planned = self.planned._replace(port=ports.pick())
        self._env = {**self._env, "PORT": str(self.planned.port)}
        self._lines.say(f"port {port} of {self.name} is taken: it serves on {self.planned.port} from now on")

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """The started process, or None once we are stopping."""
        with self._lock:
            if self.stopping:
                return None
            self._process = subprocess.Popen(  # noqa: S603 (Procfile's command line, our own)
                ["/bin/sh", "-c", f"exec {self.planned.command}"],
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            return self._process

    def _attend(self, process: subprocess.Popen[bytes]) -> int:
        """Passes the process's lines on until it ends; returns its exit status, with nothing of its group left."""
        reader = Thread(target=self._read, args=(process,), name=f"lines {self.name}", daemon=True)
        reader.start()
        code = process.wait()
        _signal_group(process.pid, signal.SIGKILL)
        reader.join(1.0)
        return code

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        output = process.stdout
        if output is None:
            raise RuntimeError("a child's output is always a pipe")
        with output:
            while line := output.readline(65_536):
                self._lines.write(self.name, line)


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
