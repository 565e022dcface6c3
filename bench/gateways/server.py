"""One server under load: its process, its port, and the processor time that it takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from bench.gateways.entrants import Entrant
from bench.rig import BenchError, deaf_to_signals, environment
from devconnect.runner import readiness
from devconnect.runner.plan import ROOT
from devconnect.settings import Settings
from devconnect.stack import Addresses, ports, process

#: Seconds that a server has until it is ready, and to end by itself.
START, GRACE = 30.0, 10.0


class Server:
    """A process that serves on `port`."""

    def __init__(self, entrant: Entrant, settings: Settings, addresses: Addresses) -> None:
        self.entrant = entrant
        env = {**environment(settings, addresses), **entrant.env}
        self.port = int(env["PORT"])
        self._log = settings.data_dir / "bench" / f"{entrant.name}.log"
        self._child = process.spawn(entrant.command, log=self._log, cwd=ROOT, env=env)
        self._process = psutil.Process(self._child.pid)

    def wait(self) -> None:
        """Until it is ready; BenchError when it dies, or isn't in time."""
        deadline = time.monotonic() + START
        while not self._ready():
            if self._child.poll() is not None:
                raise BenchError(f"it ended with {process.describe_exit(self._child.returncode)}: {self._words()}")
            if time.monotonic() > deadline:
                raise BenchError(f"it isn't ready after {START:g} s: {self._words()}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        if self.entrant.ours:
            return readiness.ask(ports.LOOPBACK, self.port).ready
        return ports.listening(self.port)

    def _words(self) -> str:
        return process.last_words(self._log) or "it has said nothing"

    def processor(self) -> float:
        """Seconds of processor time so far, those of its children with it; BenchError when it is gone."""
        try:
            every = [self._process, *self._process.children(recursive=True)]
            return sum(used.user + used.system for used in (each.cpu_times() for each in every))
        except psutil.NoSuchProcess:
            raise BenchError(f"it has died: {self._words()}") from None

    def stop(self) -> None:
        """End it, gently first."""
        with deaf_to_signals(), suppress(psutil.NoSuchProcess):
            process.end(self._process, GRACE)


@contextmanager
def serving(entrant: Entrant, settings: Settings, addresses: Addresses) -> Iterator[Server]:
    """The server, from its start; `wait` for it. Ended at the end."""
    server = Server(entrant, settings, addresses)
    try:
        yield server
    finally:
        server.stop()
