"""Runs one of our Faust apps as a contender, and notes when its first record came and when all was acknowledged."""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import faust
import uvloop
from faust.types import TP

from bench.task import Assigned, Outcome, Task, tell
from faust_batch.app import agent, quiet_collector
from faust_batch.batch import Batch
from faust_batch.gather import Handler

Call = Callable[[], Awaitable[object]]


class Watch:
    """Stands between the transport and a handler, and ends the run once the offsets are committed."""

    def __init__(self, task: Task, app: faust.App) -> None:
        self._task = task
        self._app = app
        self._positions = dict(task.begins)
        self._events = 0
        self._began = self._half = 0.0
        self._ready: Call | None = None
        self._gate = asyncio.Event()
        self._over: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None
        if not task.gated:
            self._gate.set()

    def add(self, app: faust.App, topic: str, handle: Handler, ready: Call | None = None, *, lanes: int = 1) -> None:
        """In place of `faust_batch.app.agent`: the same, watched where it is the topic of the run.

        The clock starts at the first record, and where there is a state to restore when `ready` has returned.
        """
        self._ready = ready
        agent(app, topic, self._watched(handle) if topic == self._task.topic else handle, lanes=lanes)

    def _watched(self, handle: Handler) -> Handler:
        async def watched(batches: Sequence[Batch]) -> None:
            await self._gate.wait()
            if self._ready is not None:
                await self._ready()
            batches = [batch for batch in batches if batch.is_current()]
            self._began = self._began or time.monotonic()
            await handle(batches)
            for batch in batches:
                self._events += len(batch.records)
                self._positions[batch.partition] = batch.next_offset
            self._note()

        return watched

    def _note(self) -> None:
        if not self._half and self._events * 2 >= self._task.events:
            self._half = time.monotonic()
        mine = {tp.partition for tp in self._app.consumer.assignment() if tp.topic == self._task.topic}
        if self._over is None and all(self._positions[number] >= self._task.ends[number] for number in mine):
            self._over = asyncio.create_task(self._end())

    async def _end(self) -> None:
        """The last call is about to return: commit what it lets be committed, then say that it is over."""
        consumer = self._app.consumer
        while consumer.ledger.in_flight() or consumer.ledger.committable():
            await consumer.force_commit()
            await asyncio.sleep(0)
        ended = time.monotonic()
        tell(Outcome(events=self._events, began=self._began, half=self._half, ended=ended, notes=self.notes()))

    def notes(self) -> dict[str, str]:
        """What else there is to say of the run."""
        return {}

    async def wait_for_word(self) -> None:
        """From here on tell which partitions there are, until the word comes; returns at once."""
        self._app.on_partitions_assigned.connect(self._tell_assigned, weak=False)
        self._opening = asyncio.create_task(self._open())

    async def _open(self) -> None:
        await asyncio.to_thread(sys.stdin.readline)
        self._gate.set()

    async def _tell_assigned(self, _app: faust.App, assigned: set[TP], **_: object) -> None:
        tell(Assigned(sorted(tp.partition for tp in assigned if tp.topic == self._task.topic)))


class Runner(faust.Worker):
    """Faust's worker with a start of our own before the app's and an end after it."""

    def __init__(self, app: faust.App, start: Sequence[Call] = (), stop: Sequence[Call] = ()) -> None:
        super().__init__(app, quiet=True, redirect_stdouts=False, override_logging=False, loglevel="WARNING")
        self.spinner = None
        self._start, self._stop = start, stop

    async def on_first_start(self) -> None:
        """Start what the agents need, then the app."""
        for call in self._start:
            await call()
        await super().on_first_start()

    async def on_shutdown(self) -> None:
        """Stop it after the app."""
        await super().on_shutdown()
        for call in self._stop:
            await call()


def prepare() -> None:
    """What the fleet's own workers do first: the quick loop, and warnings to stderr."""
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    uvloop.install()
    quiet_collector()
