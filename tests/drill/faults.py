"""Has the faults of a schedule, each in a thread of its own: what is down comes back while the next one strikes."""

import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Lock

import psutil

from devconnect import stack
from devconnect.runner import plan, readiness, state
from devconnect.stack import ports, process
from tests.drill.schedule import SERVERS, STORES, Fault
from tests.e2e.system import System

#: Seconds that anything may take to be back. Much more than it does: the machine may be busy.
BACK = 120.0
#: Seconds of a worker's session, and so much longer it is stopped. At most so long a server or a gateway is.
SESSION, LONGER, PAUSE = 6.0, 2.5, 8.0
#: Seconds in which a worker commits its offsets, if it does.
COMMITS = 4.0
#: Seconds that a worker has to end when it is asked to.
GRACE = 20.0
#: Seconds between two looks whether something is back.
LOOK = 0.1


class EndedError(Exception):
    """The drill is over before its faults are."""


class Faults:
    """Faults of different targets overlap; those of one come one after the other, and those of servers too."""

    def __init__(self, system: System) -> None:
        self.done: Counter[str] = Counter()
        self._system = system
        self._pool = ThreadPoolExecutor(16, "fault")
        self._locks: Mapping[str, Lock] = defaultdict(Lock)
        self._futures: list[Future[None]] = []
        self._extra: list[subprocess.Popen[bytes]] = []
        self._over = Event()

    def strike(self, fault: Fault) -> None:
        """Returns at once; raises what went wrong with an earlier one."""
        for future in self._futures:
            if future.done():
                future.result()
        self._futures.append(self._pool.submit(self._have, fault))

    def all_back(self) -> None:
        """Wait until the last one is over and all are ready; AssertionError with what isn't."""
        for future in self._futures:
            future.result()
        for role in self._system.pids():
            self._until(lambda role=role: self._is_ready(role), f"{role} is not ready at the end")

    def close(self) -> None:
        """End what is under way, and every worker that was started beside those of the runner."""
        self._over.set()
        self._pool.shutdown(cancel_futures=True)
        for worker in self._extra:
            _end(worker, signal.SIGKILL)

    def _have(self, fault: Fault) -> None:
        with self._locks["server" if fault.target in SERVERS else fault.target]:
            self._sleep(0)
            getattr(self, f"_{fault.kind}")(fault)
            self.done[str(fault)] += 1

    # -- the kinds

    def _kill(self, fault: Fault) -> None:
        self._strike_at(fault.target, signal.SIGKILL)

    def _restart(self, fault: Fault) -> None:
        self._strike_at(fault.target, signal.SIGTERM)

    def _strike_at(self, target: str, number: int) -> None:
        record = self._record(target)
        self._signal(record, number)
        if target in SERVERS:
            # A last thread of it may hold its port for a moment longer, and clients know it by that port.
            self._until(lambda: process.find(record) is None and ports.is_free(record.port), f"{target} has not ended")
            stack.start(self._system.settings)
        else:
            self._back(target, record)

    def _back(self, role: str, before: process.Record) -> None:
        self._until(lambda: self._record(role).pid != before.pid and self._is_ready(role), f"{role} is not back")

    def _pause(self, fault: Fault) -> None:
        self._stop_for(fault.target, 1 + fault.draw * (PAUSE - 1))

    def _stuck(self, fault: Fault) -> None:
        """Nothing of what the worker has in hand is done: whoever comes next must find it again."""
        with self._locks["server"]:
            store, worker = self._record(STORES[fault.target]), self._record(fault.target)
            self._signal(store, signal.SIGSTOP)
            try:
                self._sleep(COMMITS)
                self._signal(worker, signal.SIGKILL)
            finally:
                self._signal(store, signal.SIGCONT)
        self._back(fault.target, worker)

    def _zombie(self, fault: Fault) -> None:
        """The second takes the partitions over while the first doesn't know."""
        second = self._join(fault.target, 2)
        self._stop_for(fault.target, SESSION + LONGER)
        self._sleep(fault.draw * 2)
        _end(second, signal.SIGKILL if fault.draw < 0.5 else signal.SIGTERM)
        self._until(lambda: self._is_ready(fault.target), f"{fault.target} is not ready again")

    def _crowd(self, fault: Fault) -> None:
        two = [self._join(fault.target, number) for number in (2, 3)]
        self._sleep(fault.draw * 3)
        first, last = two if fault.draw < 0.5 else two[::-1]
        _end(first, signal.SIGKILL)
        self._sleep(fault.draw)
        _end(last, signal.SIGTERM)
        self._until(lambda: self._is_ready(fault.target), f"{fault.target} is not ready again")

    def _stop_for(self, target: str, seconds: float) -> None:
        record = self._record(target)
        self._signal(record, signal.SIGSTOP)
        try:
            self._sleep(seconds)
        finally:
            self._signal(record, signal.SIGCONT)

    # -- processes

    def _record(self, target: str) -> process.Record:
        run = self._system.data_dir / "run"
        if target in SERVERS:
            found = process.read_record(run / f"{target}.json")
        else:
            now = state.read(self._system.data_dir)
            found = now.processes.get(target) if now else None
        assert found is not None, f"nothing is known of {target}"
        return found

    def _signal(self, record: process.Record, number: int) -> None:
        """One that has ended by itself is none the worse for it."""
        running = process.find(record)
        with suppress(psutil.NoSuchProcess):
            if running is not None:
                running.send_signal(number)

    def _is_ready(self, role: str) -> bool:
        record = self._record(role)
        return readiness.ask_process(record.pid, "127.0.0.1", record.port).ready

    def _join(self, role: str, number: int) -> subprocess.Popen[bytes]:
        """One more worker of a role, ready; a fault of a server may come while it starts, and then it starts again."""
        deadline = time.monotonic() + BACK
        while True:
            with suppress(stack.StackError):
                worker = self._start(role, number)
                if worker is not None:
                    return worker
            assert time.monotonic() < deadline, f"{role} {number} did not start"
            self._sleep(0.5)

    def _start(self, role: str, number: int) -> subprocess.Popen[bytes] | None:
        port = ports.pick()
        system = self._system
        env = plan.environment(system.env, data_dir=system.data_dir, addresses=stack.addresses(system.settings))
        env |= {"PORT": str(port), "WORKER_INSTANCE": f"drill-{number}"}
        with system.log.with_name(f"{role}-{number}.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", f"workers.{role}"], env=env, cwd=plan.ROOT, stdout=log, stderr=subprocess.STDOUT
            )
        self._extra.append(worker)

        def there() -> bool:
            return worker.poll() is not None or readiness.ask_process(worker.pid, "127.0.0.1", port).ready

        self._until(there, f"{role} {number} is not ready")
        return worker if worker.poll() is None else None

    # -- waiting

    def _until(self, condition: Callable[[], bool], problem: str) -> None:
        deadline = time.monotonic() + BACK
        while not condition():
            assert time.monotonic() < deadline, f"{problem} after {BACK:g} s"
            self._sleep(LOOK)

    def _sleep(self, seconds: float) -> None:
        if self._over.wait(seconds):
            raise EndedError


def _end(worker: subprocess.Popen[bytes], number: int) -> None:
    """End a worker that may have ended already."""
    worker.send_signal(number)
    try:
        worker.wait(GRACE)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait(GRACE)
