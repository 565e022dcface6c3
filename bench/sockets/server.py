"""One server under load: its process, its port, its memory, its processor time, and how long its loop was held up."""

import http.client
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct

from bench.rig import BenchError, deaf_to_signals
from bench.sockets.entrants import Entrant
from devconnect.runner.plan import ROOT
from devconnect.stack import ports, process

#: Seconds that a server has until it is ready, to end by itself, and to answer.
START, GRACE, PATIENCE = 30.0, 3.0, 10.0
#: Seconds that it may be busy with those who have left, and between two looks; the part of a processor that is quiet.
CALM, LOOK, QUIET = 120.0, 0.2, 0.1


class Stall(Struct, frozen=True, kw_only=True):
    """The longest stall of a loop, and the most processor time that it took in one go; milliseconds."""

    longest_ms: float
    busiest_ms: float


class Server:
    """A process that serves on `port`; one of several where it is given the address of a Redis."""

    def __init__(self, entrant: Entrant, folder: Path, redis: str | None) -> None:
        self.entrant, self.port = entrant, ports.pick()
        own = {name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_PORT"))}
        env = {**own, "PYTHONPATH": str(ROOT), "PORT": str(self.port), **({"REDIS_URL": redis} if redis else {})}
        self._log = folder / f"{entrant.name}.log"
        self._child = process.spawn(entrant.command, log=self._log, cwd=ROOT, env=env)
        self._process = psutil.Process(self._child.pid)

    def wait(self) -> None:
        """Until it listens; BenchError when it dies, or doesn't in time."""
        deadline = time.monotonic() + START
        while not ports.listening(self.port):
            if self._child.poll() is not None:
                raise BenchError(f"it ended with {process.describe_exit(self._child.returncode)}: {self._words()}")
            if time.monotonic() > deadline:
                raise BenchError(f"it doesn't listen after {START:g} s: {self._words()}")
            time.sleep(0.05)

    def _words(self) -> str:
        return process.last_words(self._log) or "it has said nothing"

    def memory(self) -> int:
        """Resident memory, bytes; BenchError when it is gone."""
        try:
            return int(self._process.memory_info().rss)
        except psutil.NoSuchProcess:
            raise BenchError(f"it has died: {self._words()}") from None

    def processor(self) -> float:
        """Seconds of processor time so far; BenchError when it is gone."""
        try:
            used = self._process.cpu_times()
        except psutil.NoSuchProcess:
            raise BenchError(f"it has died: {self._words()}") from None
        return float(used.user + used.system)

    def calm_down(self) -> None:
        """Until it has no more to do: those who have left are work, too. BenchError when there is no end of it."""
        deadline, before = time.monotonic() + CALM, self.processor()
        while True:
            time.sleep(LOOK)
            now = self.processor()
            if now - before <= QUIET * LOOK:
                return
            if time.monotonic() > deadline:
                raise BenchError(f"it is busy {CALM:g} s after everybody has left")
            before = now

    def stall(self) -> Stall | None:
        """Since it was last asked; None where it can't say."""
        if not self.entrant.stalls:
            return None
        connection = http.client.HTTPConnection(ports.LOOPBACK, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/stalls")
            return msgspec.json.decode(connection.getresponse().read(), type=Stall)
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            raise BenchError(f"it doesn't say how long its loop was held up ({type(error).__name__})") from None
        finally:
            connection.close()

    def stop(self) -> None:
        """End it, gently first."""
        with deaf_to_signals(), suppress(psutil.NoSuchProcess):
            process.end(self._process, GRACE)


@contextmanager
def serving(entrant: Entrant, folder: Path, redis: str | None = None) -> Iterator[Server]:
    """The server, ready; ended at the end."""
    server = Server(entrant, folder, redis)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
