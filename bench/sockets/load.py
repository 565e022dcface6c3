"""The generator of load as its orders are given."""

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.rig import BenchError, SilentError, deaf_to_signals, python
from bench.sockets.orders import Answer, Done, Failed, Order
from devconnect.runner.plan import ROOT
from devconnect.stack.process import last_words

#: Seconds that an order may take beside those that it asks for; the generator gives up sooner where nothing moves.
PATIENCE = 600.0


class Load:
    """The process."""

    def __init__(self, log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                python("bench.sockets.generator"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                start_new_session=True,
            )

    def do(self, order: Order) -> Done:
        """What came of it; BenchError when the load failed, or the generator."""
        if self._process.stdin is None or self._process.stdout is None:
            raise BenchError("the generator has no pipes")
        try:
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise BenchError(f"the generator is gone: {self._words()}") from None
        deadline = time.monotonic() + getattr(order, "seconds", 0.0) + PATIENCE
        answer: Answer = msgspec.json.decode(self._line(self._process.stdout.fileno(), deadline), type=Answer)
        if isinstance(answer, Failed):
            raise BenchError(answer.why)
        return answer

    def _line(self, out: int, deadline: float) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise SilentError("the generator isn't through in time")
            data = os.read(out, 65_536)
            if not data:
                raise BenchError(f"the generator has ended: {self._words()}")
            line += data
        return line

    def _words(self) -> str:
        return last_words(self._log) or "it has said nothing"

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def loading(folder: Path) -> Iterator[Load]:
    """A generator, ended at the end."""
    load = Load(folder / "generator.log")
    try:
        yield load
    finally:
        with deaf_to_signals():
            load.stop()
