"""`run`: the stack, the topics, and the processes of Procfile, until Ctrl-C or SIGTERM; then nothing is left."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

import click
import psutil

from devconnect import stack
from devconnect.adapters.kafka.topics import TopicsError, ensure_topics
from devconnect.cli.errors import CliError
from devconnect.runner import state
from devconnect.runner.fleet import Fleet
from devconnect.runner.lines import Lines
from devconnect.runner.plan import (
    GATEWAY,
    ROOT,
    WORKER_PORTS,
    PlanError,
    Planned,
    can_listen,
    environment,
    moved,
    plan,
    read_procfile,
)
from devconnect.settings import Settings, public_url, reachable, read_dotenv
from devconnect.stack import Addresses, Progress, StackError, ports, process

#: Seconds that an interrupted start of the stack has to come to its end, and once more when it is hurried.
START_PATIENCE = 3.0


class Booted(NamedTuple):
    """The stack is up and the topics are there."""

    addresses: Addresses


class Failed(NamedTuple):
    """The start went wrong."""

    why: str


class Asked(NamedTuple):
    """A signal has asked us to stop."""

    signal_name: str


Event = Booted | Failed | Asked


@click.command()
def run() -> None:
    """Start everything, say where to go, and stop all of it at Ctrl-C."""
    settings = Settings.load()
    events: SimpleQueue[Event] = SimpleQueue()
    try:
        with state.only_one(settings.data_dir):
            # A queue's put may be called from a signal handler; an Event's set may not (it takes a lock).
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda got, _: events.put(Asked(signal.Signals(got).name)))
            Session(settings, events).go()
    except state.AlreadyRunningError:
        raise CliError(_already(settings)) from None
    except OSError as error:
        raise CliError(f"the data folder can't be written ({error}); set DATA_DIR to another one") from None
    except PlanError as error:
        raise CliError(str(error)) from None


def _already(settings: Settings) -> str:
    other = state.read(settings.data_dir)
    where = f": {other.url}, pid {other.pid}" if other else ""
    return f"it runs already in {settings.data_dir}{where}; stop that one first, or set DATA_DIR and PORT to others"


class Session:
    """One run, from the check of the port to the last line."""

    def __init__(self, settings: Settings, events: "SimpleQueue[Event]") -> None:
        self._settings = settings
        self._events = events
        self._commands = read_procfile(ROOT / "Procfile")
        self._lines = Lines(list(self._commands))
        self._host = reachable(settings.host)

    def go(self) -> None:
        """Returns when all has stopped because somebody asked for it.

        Raises:
            CliError: it could not start; then, too, nothing is left running.
        """
        self._sweep()
        self._insist_on_port()
        boot = Thread(target=self._boot, name="boot", daemon=True)
        boot.start()
        first = self._events.get()
        if isinstance(first, Booted):
            self._serve(first.addresses)
            return
        if isinstance(first, Asked):
            self._lines.say(f"{first.signal_name}: stopping")
        self._stop_stack(boot)
        if isinstance(first, Failed):
            raise CliError(first.why)

    def _sweep(self) -> None:
        """Ends what a run that was killed has left behind."""
        before = state.read(self._settings.data_dir)
        for name, record in (before.processes if before else {}).items():
            running = process.find(record)
            if running is None:
                continue
            self._lines.say(f"{name} of an earlier run is still there (pid {record.pid}): ending it")
            try:
                process.end(running, 3.0)
            except psutil.Error as error:
                raise CliError(f"pid {record.pid} ({name} of an earlier run) could not be ended: {error}") from None
        state.remove(self._settings.data_dir)

    def _insist_on_port(self) -> None:
        host, port = self._settings.host, self._settings.port
        if not can_listen(host, port):
            raise CliError(f"port {port} (PORT) is taken by {ports.owner(port)}; end that, or set PORT to another one")

    def _plan(self) -> list[Planned]:
        """The processes with the ports that are free now."""
        planned = plan(self._commands, self._settings.port, lambda port: can_listen(self._settings.host, port))
        for each in moved(planned):
            self._lines.say(f"port {WORKER_PORTS[each.name]} is taken: {each.name} serves on {each.port} instead")
        return planned

    def _boot(self) -> None:
        """Brings the stack up and makes the topics; the outcome goes to the events."""
        try:
            addresses = stack.start(self._settings, on_progress=self._show)
            made = asyncio.run(ensure_topics(addresses.kafka, self._settings))
        except (StackError, TopicsError) as error:
            self._events.put(Failed(str(error)))
        except Exception as error:  # a thread must not end without a word
            self._events.put(Failed(f"the start failed: {type(error).__name__}: {error}"))
        else:
            if made:
                self._lines.say(f"{len(made)} topics created")
            self._events.put(Booted(addresses))

    def _serve(self, addresses: Addresses) -> None:
        """Keeps Procfile's processes running until somebody asks to stop, then stops all there is."""
        planned = self._plan()
        base = {
            **read_dotenv(Path.cwd() / ".env"),
            **os.environ,
            "HOST": self._settings.host,
            "PUBLIC_URL": public_url(self._settings),
        }
        fleet = Fleet(
            planned,
            env=environment(base, data_dir=self._settings.data_dir, addresses=addresses),
            cwd=ROOT,
            data_dir=self._settings.data_dir,
            host=self._host,
            lines=self._lines,
            on_ready=lambda: self._lines.say(where(self._host, planned)),
        )
        fleet.start()
        asked = self._events.get()
        began = time.monotonic()
        name = asked.signal_name if isinstance(asked, Asked) else "the end"
        self._lines.say(f"{name}: the gateway stops first, then the workers, then the stack")
        fleet.stop()
        self._stop_stack(None)
        self._lines.say(f"all stopped in {time.monotonic() - began:.1f} s")

    def _stop_stack(self, boot: Thread | None) -> None:
        """Stops the embedded parts, also those whose start has not come to its end."""
        if boot is not None:
            self._interrupt(boot)
        try:
            stack.stop(self._settings, on_progress=self._show)
        except StackError as error:
            raise CliError(str(error)) from None

    def _interrupt(self, boot: Thread) -> None:
        """Waits for the start's end; hurries it by ending what it has started; leaves it where it is stuck."""
        boot.join(START_PATIENCE)
        deadline = time.monotonic() + START_PATIENCE
        while boot.is_alive() and time.monotonic() < deadline:
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.terminate()
            boot.join(0.5)
        if boot.is_alive():
            self._lines.say("stopped; a download was left unfinished")
            sys.stdout.flush()
            os._exit(0)  # a thread that waits for a download can't be ended otherwise

    def _show(self, step: Progress) -> None:
        if step.stage == "fetching":
            self._lines.say(f"{step.part}: {step.text} …")
        elif step.stage == "ready":
            at = f"port {step.port}" if step.port else step.address or ""
            self._lines.say(
                f"{step.part} is ready: {step.version or ''}, {at}, {step.text}, after {step.seconds:.1f} s"
            )
        elif step.stage == "stopped":
            self._lines.say(f"{step.part} {step.text}")


def where(host: str, planned: list[Planned]) -> str:
    """What to do now that all of it is ready."""
    at = {each.name: f"http://{host}:{each.port}" for each in planned}
    url = at[GATEWAY]
    rows = [
        "",
        f"ready: {url}",
        f"  health    {url}/health/ready",
        "  metrics   " + " ".join(f"{address}/metrics" for address in at.values()),
        "  sign up   curl -s " + url + "/v1/users -H 'Content-Type: application/json' \\",
        """              -d '{"email": "ada@example.org", "password": "a long password", "name": "Ada"}'""",
        f"  interface {url}/docs",
        "  more      README.md, docs/http-api.md; Ctrl-C stops all of it",
        "",
    ]
    return "\n".join(rows)
