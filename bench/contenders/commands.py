"""The real command worker, watched: what it asks of MongoDB, how long its batches take, who had the processors.

`python -m bench.contenders.commands PID` with the process id of the database.
"""

import sys
import time
from collections.abc import Sequence

import faust
import msgspec
import psutil
from pymongo import monitoring

from bench.contenders.watch import Watch, prepare
from bench.task import Task, read_task
from devconnect.settings import Settings
from faust_batch.batch import Batch
from faust_batch.gather import Handler
from workers import commands, runtime


class Effort(msgspec.Struct, kw_only=True):
    """What the run took, summed up in its outcome's notes."""

    #: Seconds of each batch.
    batches: list[float] = []
    #: Calls by what is done and to which collection ("insert decisions"), and the documents in them.
    calls: dict[str, int] = {}
    documents: dict[str, int] = {}
    #: Seconds of processor time that the database and this process have used, in all.
    mongo: float = 0.0
    worker: float = 0.0


class Calls(monitoring.CommandListener):
    """Counts the calls of every client made after it was registered, while it is on."""

    def __init__(self) -> None:
        self.effort = Effort()
        self.on = False

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """A call is on its way."""
        name = f"{event.command_name} {event.command.get(event.command_name)}"
        if self.on:
            calls, documents = self.effort.calls, self.effort.documents
            calls[name] = calls.get(name, 0) + 1
            given = event.command.get("documents") or event.command.get("updates") or _asked_for(event)
            documents[name] = documents.get(name, 0) + len(given)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing."""


def _asked_for(event: monitoring.CommandStartedEvent) -> Sequence[object]:
    ids: Sequence[object] = event.command.get("filter", {}).get("_id", {}).get("$in", ())
    return ids


class CommandsWatch(Watch):
    """Notes each batch, and what was used between the first and the last."""

    def __init__(self, task: Task, app: faust.App, calls: Calls, database: int) -> None:
        super().__init__(task, app)
        self._calls, self._effort = calls, calls.effort
        self._processes = psutil.Process(database), psutil.Process()

    def _watched(self, handle: Handler) -> Handler:
        async def timed(batches: Sequence[Batch]) -> None:
            if not self._calls.on:
                self._calls.on = True
                self._effort.mongo, self._effort.worker = self._used()
            began = time.monotonic()
            await handle(batches)
            self._effort.batches.append(time.monotonic() - began)

        return super()._watched(timed)

    def _used(self) -> tuple[float, float]:
        database, own = (sum(process.cpu_times()[:2]) for process in self._processes)
        return database, own

    def notes(self) -> dict[str, str]:
        """The effort, as JSON."""
        database, own = self._used()
        effort = msgspec.structs.replace(
            self._effort, mongo=database - self._effort.mongo, worker=own - self._effort.worker
        )
        return {"effort": msgspec.json.encode(effort).decode()}


def main(database: int) -> None:
    """Run until we are told to stop."""
    prepare()
    task = read_task()
    calls = Calls()
    monitoring.register(calls)
    worker = runtime.Worker(task.group, 0, Settings.load())
    # The role's own agents are wired, each with the watch around it, as in `bench.contenders.real`.
    runtime.agent = CommandsWatch(task, worker.app, calls, database).add  # type: ignore[attr-defined]  # an import there
    commands.wire(worker)
    runtime.FleetApp(worker).execute_from_commandline()


if __name__ == "__main__":
    main(int(sys.argv[1]))
