"""Start, stop and look at the stack: all parts at once, one command at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import msgspec
import psutil

from devconnect.settings import Settings
from devconnect.stack import process
from devconnect.stack.kafka import Kafka
from devconnect.stack.lock import exclusive
from devconnect.stack.model import Addresses, OnProgress, PartStatus, Progress, StackError, ignore
from devconnect.stack.mongo import Mongo
from devconnect.stack.part import NotReadyError, Part, without_password
from devconnect.stack.starter import Starter, choose_ports, reach
from devconnect.stack.valkey import Valkey

#: Seconds that a part has to end by itself before it is killed.
GRACE = 10.0
#: Seconds that a part has to answer when its status is asked.
CHECK = 3.0

T = TypeVar("T")


def parts(settings: Settings) -> tuple[Part, ...]:
    """The three parts, in the order in which they are shown."""
    return Kafka(settings), Valkey(settings), Mongo(settings)


def start(settings: Settings, *, on_progress: OnProgress | None = None) -> Addresses:
    """Starts each part that isn't running, all at once, and returns when every one is ready.

    A part that a URL replaces is only asked whether it answers. `on_progress` is called from the
    threads of the parts, one call at a time.

    Raises:
        StackError: one or more parts did not become ready; the others are left running.
    """
    watch = _one_at_a_time(on_progress or ignore)
    every = parts(settings)
    with exclusive(settings.data_dir):
        ports = choose_ports(every)
        found = _each(every, lambda part: _bring_up(part, ports, watch))
    return Addresses(*found)


def _bring_up(part: Part, ports: dict[str, int], watch: OnProgress) -> str:
    return reach(part, watch) if part.url else Starter(part, watch).start(ports[part.name])


def stop(settings: Settings, *, on_progress: OnProgress | None = None) -> None:
    """Ends each embedded part that runs, all at once; what isn't running is left as it is.

    Raises:
        StackError: a process could not be ended.
    """
    watch = _one_at_a_time(on_progress or ignore)
    if not (settings.data_dir / "run").is_dir():
        return
    with exclusive(settings.data_dir):
        _each(parts(settings), lambda part: _take_down(part, watch))


def _take_down(part: Part, watch: OnProgress) -> None:
    record = part.record()
    running = process.find(record)
    if record is None or record.stopped:
        return
    text = "was not running any more"
    if running is not None:
        try:
            text = process.end(running, GRACE)
        except psutil.Error as error:
            raise StackError(f"{part.name}: pid {record.pid} could not be ended ({error})") from None
    process.write_record(part.record_path, msgspec.structs.replace(record, stopped=True))
    watch(Progress(part=part.name, stage="stopped", text=text, pid=record.pid, port=record.port))


def status(settings: Settings) -> list[PartStatus]:
    """Looks at every part, all at once; takes at most a few seconds and changes nothing."""
    return _each(parts(settings), _status)


def _status(part: Part) -> PartStatus:
    if part.url:
        version, problem = _ask(part, part.url)
        detail = "ready" if problem is None else f"not reachable: {problem} (look at {part.url_variable})"
        return PartStatus(
            name=part.name,
            ready=problem is None,
            detail=detail,
            external=True,
            address=without_password(part.url),
            version=version,
        )
    record = part.record()
    running = process.find(record)
    if record is None or running is None:
        return PartStatus(name=part.name, ready=False, detail=_why_down(part))
    version, problem = _ask(part, part.address_at(record.port))
    return PartStatus(
        name=part.name,
        ready=problem is None,
        detail="ready" if problem is None else f"not ready: {problem}; its log: {part.log}",
        address=part.address_at(record.port),
        pid=record.pid,
        port=record.port,
        memory_mb=_memory(running),
        version=part.embedded_version() or version,
    )


def _ask(part: Part, address: str) -> tuple[str | None, str | None]:
    try:
        return part.check(address, CHECK), None
    except NotReadyError as problem:
        return None, str(problem)


def _memory(running: psutil.Process) -> int | None:
    try:
        return round(running.memory_info().rss / 2**20)
    except psutil.Error:
        return None


def _why_down(part: Part) -> str:
    record = part.record()
    if record is None or record.stopped:
        return "not started: run `python -m devconnect up`"
    how = "" if record.exit_status is None else f" with {process.describe_exit(record.exit_status)}"
    last = process.last_words(part.log)
    words = f"; its last words: {last}" if last else ""
    return f"died{how}{words}; its log: {part.log}; run `python -m devconnect up`"


def addresses(settings: Settings) -> Addresses:
    """Where the parts are: the URLs of the settings, else the running embedded ones. Asks no server.

    Raises:
        StackError: an embedded part that is needed is not running.
    """
    return Addresses(*(part.url or _running_address(part) for part in parts(settings)))


def _running_address(part: Part) -> str:
    record = part.record()
    if record is None or process.find(record) is None:
        raise StackError(f"{part.name}: {_why_down(part)} (or set {part.url_variable})")
    return part.address_at(record.port)


def _one_at_a_time(watch: OnProgress) -> OnProgress:
    lock = Lock()

    def call(progress: Progress) -> None:
        with lock:
            watch(progress)

    return call


def _each(every: Sequence[Part], work: Callable[[Part], T]) -> list[T]:
    """Does the work for every part at once; waits for all, then raises what went wrong, all of it."""
    with ThreadPoolExecutor(len(every)) as pool:
        futures = [pool.submit(work, part) for part in every]
    problems: list[str] = []
    results: list[T] = []
    for future in futures:
        try:
            results.append(future.result())
        except StackError as error:
            problems.append(str(error))
    if problems:
        raise StackError("\n".join(problems))
    return results
