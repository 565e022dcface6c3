"""The start of one part: its port, its process, and the wait until it really does its work."""

import subprocess
import time
from collections.abc import Sequence

import msgspec
import psutil

from devconnect.stack import ports, process
from devconnect.stack.model import OnProgress, Progress, StackError, Stage
from devconnect.stack.part import NotReadyError, Part, Request, without_password
from devconnect.stack.process import Record

#: Seconds that a part has from its process's start until it is ready.
PATIENCE = 60.0
#: Seconds that one question to a part may take while it starts.
_CHECK = 5.0


def choose_ports(every: Sequence[Part]) -> dict[str, int]:
    """A port for each embedded part: the running one's, the one that is set, last time's, or a new one.

    Raises:
        StackError: a port that is set is taken.
    """
    chosen: dict[str, int] = {}
    for part in every:
        if part.url:
            continue
        record = part.record()
        if record is not None and process.find(record) is not None:
            chosen[part.name] = record.port
        elif part.wanted_port:
            chosen[part.name] = _wanted(part)
        else:
            chosen[part.name] = ports.pick(record.port if record else None, avoid=frozenset(chosen.values()))
    return chosen


def _wanted(part: Part) -> int:
    port = part.wanted_port
    if not ports.is_free(port):
        raise StackError(
            f"{part.name}: port {port} ({part.port_variable}) is taken by {ports.owner(port)}; "
            f"end that, or set {part.port_variable} to another port (0: a free one)"
        )
    return port


def reach(part: Part, watch: OnProgress) -> str:
    """Asks a part that a URL replaces whether it answers; returns its address.

    Raises:
        StackError: it does not.
    """
    began = time.monotonic()
    url = part.url or ""
    try:
        version = part.check(url, _CHECK)
    except NotReadyError as problem:
        raise StackError(
            f"{part.name}: {part.url_variable} is set, but {without_password(url)} can't be used ({problem}); "
            f"start that server, or unset {part.url_variable} to use the embedded one"
        ) from None
    seconds = time.monotonic() - began
    watch(
        Progress(
            part=part.name,
            stage="ready",
            text="external",
            address=without_password(url),
            version=version,
            seconds=seconds,
        )
    )
    return url


class _EndedError(Exception):
    """A part that somebody else had started has ended while it was waited for."""


class Starter:
    """Brings one embedded part up and tells `watch` of each step."""

    def __init__(self, part: Part, watch: OnProgress) -> None:
        self._part = part
        self._watch = watch
        self._began = time.monotonic()

    def start(self, port: int) -> str:
        """Starts the part unless it runs; returns its address once it is ready.

        Raises:
            StackError: it could not be prepared, it died, or it did not become ready.
        """
        record = self._part.record()
        child: subprocess.Popen[bytes] | None = None
        text = "already running"
        if record is None or process.find(record) is None:
            text = "started"
            record, child = self._spawn(record, port)
        try:
            version = self._wait(record, child)
        except _EndedError:
            # It was on its way out, and not quite gone.
            text = "started"
            record, child = self._spawn(record, port)
            version = self._wait(record, child)
        self._tell("ready", text, record, version)
        return self._part.address_at(record.port)

    def _spawn(self, last: Record | None, port: int) -> tuple[Record, subprocess.Popen[bytes]]:
        part = self._part
        try:
            part.folder.mkdir(parents=True, exist_ok=True)
            launch = part.prepare(Request(port, last, lambda text: self._tell("fetching", text)))
            self._tell("starting", "starting")
            child = process.spawn(launch.command, log=part.log, cwd=part.folder)
            created = psutil.Process(child.pid).create_time()
        except OSError as error:
            raise StackError(f"{part.name}: it could not be started ({error})") from None
        record = Record(pid=child.pid, created=created, port=port, extra_ports=dict(launch.extra_ports))
        process.write_record(part.record_path, record)
        return record, child

    def _wait(self, record: Record, child: subprocess.Popen[bytes] | None) -> str:
        part, address = self._part, self._part.address_at(record.port)
        deadline = time.monotonic() + PATIENCE
        problem = "it does not listen"
        while time.monotonic() < deadline:
            if process.find(record) is None:
                if child is None:
                    raise _EndedError
                raise self._died(record, child)
            if ports.listening(record.port):
                try:
                    version = part.check(address, _CHECK)
                    return part.embedded_version() or version
                except NotReadyError as error:
                    problem = str(error)
            time.sleep(0.02)
        raise StackError(
            f"{part.name}: not ready after {PATIENCE:g} s ({problem}). It still runs as pid {record.pid}; "
            f"its log: {part.log}. Run `python -m devconnect down`, then `up` again."
        )

    def _died(self, record: Record, child: subprocess.Popen[bytes]) -> StackError:
        part, code = self._part, child.wait()
        how = process.describe_exit(code)
        process.write_record(part.record_path, msgspec.structs.replace(record, exit_status=code))
        last = "".join(f"\n  | {line}" for line in process.tail(part.log))
        return StackError(f"{part.name}: it exited with {how}. The last lines of {part.log}:{last}")

    def _tell(self, stage: Stage, text: str, record: Record | None = None, version: str | None = None) -> None:
        self._watch(
            Progress(
                part=self._part.name,
                stage=stage,
                text=text,
                address=self._part.address_at(record.port) if record else None,
                version=version,
                pid=record.pid if record else None,
                port=record.port if record else None,
                seconds=time.monotonic() - self._began,
            )
        )
