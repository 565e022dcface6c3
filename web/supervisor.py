"""`--processes N`: one process that starts N gateways on one port, starts again what dies, and stops all of them."""

import asyncio
import itertools
import logging
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from devconnect.settings import Settings
from web.channel import PATIENCE, Note, receive, send
from web.listening import bind, close, insist

log = logging.getLogger("web")

#: Seconds before a process that died is started again: at once when it has lived for long, else longer each time.
BACKOFF, BACKOFF_MAX, STEADY = 0.5, 10.0, 30.0
#: Seconds without a sign of life after which a process is killed, and those that it has more than a drain to end.
SILENT, GRACE = 20.0, 3.0


class Slot:
    """One of the processes: the same number and the same listening sockets, however often it is started."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sockets: list[socket.socket] = []
        self.process: asyncio.subprocess.Process | None = None
        self.writer: asyncio.StreamWriter | None = None
        #: When it last gave a sign of life; 0 before the first.
        self.seen = 0.0
        self.backoff = 0.0


class Supervisor:
    """Keeps the processes alive until it is told to stop. OSError when the port can't be had."""

    def __init__(self, settings: Settings, processes: int, program: Sequence[str]) -> None:
        self._settings, self._program = settings, program
        self._slots = [Slot(number) for number in range(processes)]
        self._stopping = asyncio.Event()
        self._numbers = itertools.count(1)
        #: The metrics that were asked for: who hasn't told them yet, and what the others have.
        self._asked: dict[int, tuple[set[int], dict[str, bytes], asyncio.Event]] = {}
        self._side_tasks: set[asyncio.Task[None]] = set()
        self._has_served = False
        self._status = 0

    async def run(self) -> int:
        """Returns the exit status: 0, or that of a process which couldn't start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        insist(self._settings.host, self._settings.port)
        try:
            for slot in self._slots:
                slot.sockets = bind(self._settings.host, self._settings.port, shared=True)
            watch = asyncio.create_task(self._watch())
            await asyncio.gather(*(self._keep(slot) for slot in self._slots), self._stop())
            watch.cancel()
        finally:
            for slot in self._slots:
                close(slot.sockets)
        return self._status

    async def _keep(self, slot: Slot) -> None:
        """Start the process, and again when it has died, until we stop."""
        while not self._stopping.is_set():
            began = time.monotonic()
            status = await self._live(slot)
            if self._stopping.is_set():
                return
            if not self._has_served and status:
                # The process has said why; another one would say the same.
                self._status = status if status > 0 else 1
                self._stopping.set()
                return
            steady = time.monotonic() - began >= STEADY
            slot.backoff = 0.0 if steady else min(max(slot.backoff * 2, BACKOFF), BACKOFF_MAX)
            log.error("process %d ended with %d; starts again in %g s", slot.number, status, slot.backoff)
            if slot.backoff:
                # Until then its share of the connections is the others'.
                close(slot.sockets)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), slot.backoff)
                if not self._stopping.is_set():
                    slot.sockets = bind(self._settings.host, self._settings.port, shared=True)

    async def _live(self, slot: Slot) -> int:
        """One life of a process; returns its exit status."""
        ours, theirs = socket.socketpair()
        descriptors = [one.fileno() for one in slot.sockets]
        with theirs:
            told = f"{slot.number}/{len(self._slots)}:{theirs.fileno()}:{','.join(map(str, descriptors))}"
            slot.process = await asyncio.create_subprocess_exec(
                sys.executable, *self._program, "--child", told, pass_fds=[theirs.fileno(), *descriptors]
            )
        if self._stopping.is_set():
            slot.process.terminate()
        reader, slot.writer = await asyncio.open_unix_connection(sock=ours)
        listener = asyncio.create_task(self._listen(slot, reader, slot.writer))
        try:
            return await slot.process.wait()
        finally:
            slot.process, slot.seen = None, 0.0
            listener.cancel()
            slot.writer.close()
            slot.writer = None
            self._tell_serving()

    async def _listen(self, slot: Slot, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (note := await receive(reader)) is not None:
            match note.kind:
                case "beat":
                    is_new, slot.seen = not slot.seen, time.monotonic()
                    if is_new:
                        self._has_served = True
                        self._tell_serving()
                case "ask":
                    task = asyncio.create_task(self._collect(slot, note.number, writer))
                    self._side_tasks.add(task)
                    task.add_done_callback(self._side_tasks.discard)
                case "told" if note.number in self._asked:
                    missing, pages, complete = self._asked[note.number]
                    missing.discard(slot.number)
                    pages[str(slot.number)] = note.pages[""]
                    if not missing:
                        complete.set()

    async def _collect(self, asker: Slot, number: int, writer: asyncio.StreamWriter) -> None:
        """Ask all others for their metrics, and hand on what came in time."""
        own = next(self._numbers)
        asked = {slot.number: slot.writer for slot in self._slots if slot is not asker and slot.seen and slot.writer}
        pages: dict[str, bytes] = {}
        complete = asyncio.Event()
        self._asked[own] = set(asked), pages, complete
        for each in asked.values():
            send(each, Note(kind="tell", number=own))
        with suppress(TimeoutError):
            if asked:
                await asyncio.wait_for(complete.wait(), PATIENCE)
        del self._asked[own]
        send(writer, Note(kind="all", number=number, pages=pages))

    def _tell_serving(self) -> None:
        count = sum(bool(slot.seen) for slot in self._slots)
        for slot in self._slots:
            if slot.writer is not None:
                send(slot.writer, Note(kind="serving", count=count))

    async def _watch(self) -> None:
        """Kill what gives no sign of life any more."""
        while True:
            await asyncio.sleep(1.0)
            for slot in self._slots:
                if slot.process is not None and slot.seen and time.monotonic() - slot.seen > SILENT:
                    log.error("process %d gives no sign of life: killed", slot.number)
                    slot.seen = 0.0
                    _kill(slot.process, signal.SIGKILL)

    async def _stop(self) -> None:
        """Wait for the end, pass it on, and insist on it."""
        await self._stopping.wait()
        for slot in self._slots:
            # The processes go on listening as long as they want to; with our copies open it would be longer.
            close(slot.sockets)
            if slot.process is not None:
                _kill(slot.process, signal.SIGTERM)
        deadline = time.monotonic() + self._settings.drain_delay + self._settings.drain + GRACE
        while any(slot.process is not None for slot in self._slots):
            if time.monotonic() > deadline:
                for slot in self._slots:
                    if slot.process is not None:
                        _kill(slot.process, signal.SIGKILL)
            await asyncio.sleep(0.05)


def _kill(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
