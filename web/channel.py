"""What the gateway's processes and their supervisor tell one another, over a pair of sockets for each process."""

import asyncio
import itertools
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

import msgspec

from web.life import Life

#: Seconds between two signs of life, and those that a process has to tell its metrics.
BEAT, PATIENCE = 1.0, 1.0
#: Bytes of one note at most.
NOTE_MAX = 64 * 1024 * 1024


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One note.

    From a process: `beat` (it serves), `ask` (for the metrics of the others), `told` (its own). To it: `tell` (its
    metrics), `all` (those of the others, by process), `serving` (how many processes do).
    """

    kind: Literal["beat", "ask", "told", "tell", "all", "serving"]
    #: Of an `ask`, and of all that follows from it.
    number: int = 0
    count: int = 0
    pages: dict[str, bytes] = {}


_decoder = msgspec.msgpack.Decoder(Note)


async def receive(reader: asyncio.StreamReader) -> Note | None:
    """The next note; None when there won't be one any more."""
    try:
        size = int.from_bytes(await reader.readexactly(4), "big")
        return _decoder.decode(await reader.readexactly(size)) if size <= NOTE_MAX else None
    except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError):
        return None


def send(writer: asyncio.StreamWriter, note: Note) -> None:
    """Send a note; one that nobody receives any more is no failure here: `receive` tells of that."""
    data = msgspec.msgpack.encode(note)
    with suppress(OSError):
        writer.write(len(data).to_bytes(4, "big") + data)


class Siblings:
    """A process's end: it gives signs of life, tells its metrics, asks for those of the others."""

    def __init__(
        self, end: socket.socket, life: Life, scrape: Callable[[], bytes], on_orphaned: Callable[[], None]
    ) -> None:
        self._end, self._life, self._scrape, self._on_orphaned = end, life, scrape, on_orphaned
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Mapping[str, bytes]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        """From now on this process is one that serves."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._end)
        self._tasks = [
            asyncio.create_task(self._listen(reader, self._writer)),
            asyncio.create_task(self._beat(self._writer)),
        ]

    def stop(self) -> None:
        """No more signs of life."""
        for task in self._tasks:
            task.cancel()
        if self._writer is not None:
            self._writer.close()

    async def others(self) -> Mapping[str, bytes]:
        """The metrics of the other processes, of those that answered in time."""
        if self._writer is None:
            return {}
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        send(self._writer, Note(kind="ask", number=number))
        try:
            async with asyncio.timeout(2 * PATIENCE):
                pages: Mapping[str, bytes] = await asked
                return pages
        except TimeoutError:
            return {}
        finally:
            del self._asked[number]

    async def _beat(self, writer: asyncio.StreamWriter) -> None:
        while True:
            send(writer, Note(kind="beat"))
            await asyncio.sleep(BEAT)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (note := await receive(reader)) is not None:
            match note.kind:
                case "tell":
                    send(writer, Note(kind="told", number=note.number, pages={"": self._scrape()}))
                case "all" if note.number in self._asked and not self._asked[note.number].done():
                    self._asked[note.number].set_result(note.pages)
                case "serving":
                    self._life.serving = note.count
        self._on_orphaned()
