"""A server that is measured: its process, its port, and the processor time that it takes."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from bench.rig import BenchError, deaf_to_signals
from devconnect.runner.plan import ROOT
from devconnect.stack import process

#: Seconds that a server has until it is ready.
START = 30.0


class Served:
    """A process that serves on `port`. `grace`: seconds that it has to end by itself."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, port: int, log: Path, grace: float) -> None:
        self.port, self._log, self._grace = port, log, grace
        self._child = process.spawn(command, log=log, cwd=ROOT, env=env)
        self._process = psutil.Process(self._child.pid)

    def _wait(self, is_ready: Callable[[], bool]) -> None:
        """Until it is ready; BenchError when it dies, or isn't in time."""
        deadline = time.monotonic() + START
        while not is_ready():
            if self._child.poll() is not None:
                raise BenchError(f"it ended with {process.describe_exit(self._child.returncode)}: {self._words()}")
            if time.monotonic() > deadline:
                raise BenchError(f"it isn't ready after {START:g} s: {self._words()}")
            time.sleep(0.05)

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
            process.end(self._process, self._grace)
