"""One server under load: its memory, and how long its loop was held up."""

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct

from bench.rig import BenchError, of_the_machine
from bench.served import Served
from bench.sockets.entrants import Entrant
from devconnect.runner.plan import ROOT
from devconnect.stack import ports

#: Seconds that a server has to end by itself, and to answer.
GRACE, PATIENCE = 3.0, 10.0
#: Seconds that it may be busy with those who have left, and between two looks; the part of a processor that is quiet.
CALM, LOOK, QUIET = 120.0, 0.2, 0.1


class Stall(Struct, frozen=True, kw_only=True):
    """The longest stall of a loop, and the most processor time that it took in one go; milliseconds."""

    longest_ms: float
    busiest_ms: float


class Server(Served):
    """An entrant of `bench realtime`; one of several where it is given the address of a Redis."""

    def __init__(self, entrant: Entrant, folder: Path, redis: str | None) -> None:
        self.entrant, port = entrant, ports.pick()
        own = {"PYTHONPATH": str(ROOT), "PORT": str(port), **({"REDIS_URL": redis} if redis else {})}
        env = {**of_the_machine(), **own}
        super().__init__(entrant.command, env, port=port, log=folder / f"{entrant.name}.log", grace=GRACE)

    def wait(self) -> None:
        """Until it listens; BenchError when it dies, or doesn't in time."""
        self._wait(lambda: ports.listening(self.port))

    def memory(self) -> int:
        """Resident memory, bytes; BenchError when it is gone."""
        try:
            return int(self._process.memory_info().rss)
        except psutil.NoSuchProcess:
            raise BenchError(f"it has died: {self._words()}") from None

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


@contextmanager
def serving(entrant: Entrant, folder: Path, redis: str | None = None) -> Iterator[Server]:
    """The server, ready; ended at the end."""
    server = Server(entrant, folder, redis)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
