"""All processes of one run: started together, watched until ready, stopped in order, and written down."""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Lock, Thread

import msgspec

from devconnect.runner import readiness, state
from devconnect.runner.child import Child
from devconnect.runner.lines import Lines
from devconnect.runner.plan import GATEWAY, Planned, can_listen
from devconnect.stack.process import Record

#: Seconds from the wish to stop until the gateway has finished what it is answering, and until the workers have
#: finished their batches; what isn't used by the one is the other's. The servers need the rest of the ten seconds.
GATEWAY_DEADLINE, WORKER_DEADLINE = 3.5, 8.0
#: Seconds that a process which isn't alive has to end by itself.
DEAD_GRACE = 5.0


class Fleet:
    """The gateway and the workers. `on_ready` is called once, when each of them has been ready."""

    def __init__(
        self,
        planned: list[Planned],
        *,
        env: Mapping[str, str],
        cwd: Path,
        data_dir: Path,
        host: str,
        lines: Lines,
        on_ready: Callable[[], None],
    ) -> None:
        self._lines = lines
        self._data_dir = data_dir
        self._host = host
        self._on_ready = on_ready
        self._children = [
            Child(each, env=env, cwd=cwd, lines=lines, on_start=self._started, is_free=partial(can_listen, host))
            for each in planned
        ]
        self._waiting = {each.name for each in planned}
        self._lock = Lock()
        own = state.record_of(os.getpid(), 0)
        gateway = next(each for each in planned if each.name == GATEWAY)
        self.url = f"http://{host}:{gateway.port}"
        self._state = state.Run(pid=own.pid, created=own.created, url=self.url)

    def start(self) -> None:
        """Returns at once."""
        for child in self._children:
            child.start()

    def stop(self) -> None:
        """The gateway first, so that it drains while the workers still answer; then all workers at once."""
        began = time.monotonic()
        self._stop([child for child in self._children if child.name == GATEWAY], GATEWAY_DEADLINE)
        left = WORKER_DEADLINE - (time.monotonic() - began)
        self._stop([child for child in self._children if child.name != GATEWAY], left)
        state.remove(self._data_dir)

    def _stop(self, children: list[Child], grace: float) -> None:
        threads = [Thread(target=child.stop, args=(grace,)) for child in children]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _started(self, child: Child, pid: int) -> None:
        record = state.record_of(pid, child.planned.port)
        self._store(child.name, record)
        Thread(target=self._watch, args=(child, pid), name=f"ready {child.name}", daemon=True).start()
        Thread(target=self._guard, args=(child, pid), name=f"life {child.name}", daemon=True).start()

    def _watch(self, child: Child, pid: int) -> None:
        """Waits until this start of the process is ready, or is over."""
        port = child.planned.port
        seconds = readiness.watch(
            lambda: readiness.ask_process(pid, self._host, port),
            lambda: self._is_over(child, pid),
            lambda why: self._lines.say(f"{child.name} isn't ready yet: {why}"),
        )
        if seconds is None:
            return
        self._lines.say(f"{child.name} is ready: http://{self._host}:{port} (pid {pid}, after {seconds:.1f} s)")
        with self._lock:
            self._waiting.discard(child.name)
            first_time = not self._waiting and not self._state.ready
            if first_time:
                self._state = msgspec.structs.replace(self._state, ready=True)
                state.write(self._data_dir, self._state)
        if first_time:
            self._on_ready()

    def _guard(self, child: Child, pid: int) -> None:
        """Ends this start of the process when it doesn't live any more, so that it is started again."""
        why = readiness.until_dead(
            lambda: readiness.ask(self._host, child.planned.port, "/health/live"), lambda: self._is_over(child, pid)
        )
        if why is not None:
            self._lines.say(f"{child.name} isn't alive ({why}): ending it")
            child.end(pid, DEAD_GRACE)

    def _is_over(self, child: Child, pid: int) -> bool:
        return child.stopping or self._state.processes[child.name].pid != pid

    def _store(self, name: str, record: Record) -> None:
        with self._lock:
            processes = {**self._state.processes, name: record}
            self._state = msgspec.structs.replace(self._state, processes=processes)
            state.write(self._data_dir, self._state)
