"""Our own generator of load, for machines without wrk: reads a Load from stdin, writes a Loaded to stdout.

It costs more than wrk does. Where it takes a whole processor it is what is measured, and the report says so.
"""

import asyncio
import sys
import time
from array import array
from collections.abc import Iterator
from itertools import cycle
from typing import cast

import msgspec
import uvloop

from bench.gateways.load import Load, Loaded
from devconnect.stack.ports import LOOPBACK

#: Answers a second for which there is room; more than this generator can do.
ROOM = 100_000
#: Seconds that the last answers may take.
GRACE = 5.0

_LENGTH = b"content-length: "


class AnswerError(ValueError):
    """An answer that can't be read."""


def length_of(data: bytes) -> int | None:
    """Bytes of the first answer in `data`; None where its head isn't whole. AnswerError when it doesn't say."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    start = data.find(b"Content-Length: ", 0, end)
    if start < 0:
        start = data[:end].lower().find(_LENGTH)
        if start < 0:
            raise AnswerError("an answer without Content-Length")
    start += len(_LENGTH)
    stop = data.find(b"\r", start)
    return end + 4 + int(data[start:stop])


class Tally:
    """What all connections have in common: the requests in turn, the time, and what was counted."""

    def __init__(self, load: Load) -> None:
        self.requests: Iterator[bytes] = cycle(load.requests)
        self.seconds = array("d", bytes(8 * int(ROOM * load.seconds + 1)))
        self.count = 0
        self.failures = {"status": 0, "lost": 0, "unreadable": 0}
        self.began = time.perf_counter()
        self.until = self.began + load.seconds
        self.busy = load.connections
        self.idle = asyncio.Event()

    def ended(self) -> None:
        """One connection sends no more."""
        self.busy -= 1
        if not self.busy:
            self.idle.set()

    def quantiles(self) -> tuple[float, float]:
        """p50 and p99, milliseconds; zeros where there was no answer."""
        found = sorted(self.seconds[: self.count])
        if not found:
            return 0.0, 0.0
        return found[len(found) // 2] * 1000, found[min(len(found) - 1, len(found) * 99 // 100)] * 1000


class Connection(asyncio.Protocol):
    """Sends one request at a time until the time is over."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._rest = b""
        self._sent = 0.0
        self._over = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        if self._transport is not None:
            self._sent = time.perf_counter()
            self._transport.write(next(self._tally.requests))

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        try:
            length = length_of(data)
        except ValueError:
            self._end("unreadable")
            return
        if length is None or len(data) < length:
            self._rest = data
            return
        self._rest = b""
        if len(data) > length:
            self._end("unreadable")  # more than was asked for
            return
        self._answered(ok=data[9:10] == b"2")

    def _answered(self, *, ok: bool) -> None:
        tally, now = self._tally, time.perf_counter()
        if now >= tally.until:
            self._end(None)
            return
        if not ok:
            tally.failures["status"] += 1
        if tally.count == len(tally.seconds):
            tally.seconds.append(0.0)
        tally.seconds[tally.count] = now - self._sent
        tally.count += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("lost")

    def _end(self, failure: str | None) -> None:
        if self._over:
            return
        self._over = True
        if failure is not None:
            self._tally.failures[failure] += 1
        self._tally.ended()
        if self._transport is not None:
            self._transport.close()


async def generate(load: Load) -> Loaded:
    """The whole load."""
    loop = asyncio.get_running_loop()
    processor = time.process_time()
    tally = Tally(load)
    for _ in range(load.connections):
        await loop.create_connection(lambda: Connection(tally), LOOPBACK, load.port)
    try:
        async with asyncio.timeout(load.seconds + GRACE):
            await tally.idle.wait()
    except TimeoutError:
        tally.failures["timeout"] = tally.busy
    processor = time.process_time() - processor
    p50, p99 = tally.quantiles()
    return Loaded(
        requests=tally.count,
        seconds=load.seconds,
        p50_ms=p50,
        p99_ms=p99,
        failures=tally.failures,
        processor=processor,
    )


def main() -> None:
    """One load."""
    load = msgspec.json.decode(sys.stdin.buffer.readline(), type=Load)
    sys.stdout.write(msgspec.json.encode(uvloop.run(generate(load))).decode() + "\n")


if __name__ == "__main__":
    main()
