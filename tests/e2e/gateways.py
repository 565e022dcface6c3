"""Several gateways of one system, asked at once and timed, while parts of it stand still or are dead."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import redis

from devconnect import stack
from devconnect.runner.plan import ROOT
from devconnect.stack import ports
from tests.e2e.people import Person, Reply, Unanswered, exchange, join
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

T = TypeVar("T")

#: Limits that are in nobody's way; a test that is about them says so.
WIDE = "requests=10000/sec messages=10000/sec writes=10000/sec reads=1000000/sec feed=200"
GENEROUS = {
    "LIMITS_FREE": WIDE,
    "LIMITS_SILVER": WIDE,
    "LIMITS_GOLD": WIDE,
    "LIMITS_STRANGERS": "1000000/sec",
}
#: Seconds within which every gateway turns a session away that has ended.
REVOKED = 1.0


class Timed(NamedTuple):
    """An answer, and the seconds that it took."""

    reply: Reply
    seconds: float


def ask(url: str, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> Timed:
    """One request on a connection of its own; `headers` with _ for -. Raises one of `Unanswered`."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        fields["Authorization"] = f"Bearer {token}"
    payload = None if body is None else json.dumps(body).encode()
    if payload is not None:
        fields["Content-Type"] = "application/json"
    began = time.monotonic()
    reply = exchange(urlsplit(url).netloc, method, path, payload, fields)
    return Timed(reply, time.monotonic() - began)


class Beside:
    """`python -m web` beside the gateway of `run`: of the same system, on a port of its own."""

    def __init__(self, system: System, *, processes: int = 1, **env: str) -> None:
        self._system, self._processes, self._env = system, processes, env
        self.port = ports.pick()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> "Beside":
        """Returns when it is ready; or, with a part that stands still, when it serves at all."""
        with Path(f"{self._system.log}.{self.port}").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "web", "--processes", str(self._processes)],
                env={**self._system.env, **self._env, "PORT": str(self.port)},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._is_ready if ready else self._is_live, PATIENCE, "the other gateway ready")
        return self

    def _is_live(self) -> bool:
        try:
            return ask(self.url, "GET", "/health/live").reply.status == 200
        except Unanswered:
            return False

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the other gateway has ended"
        try:
            ready = ask(self.url, "GET", "/health/ready").reply
        except Unanswered:
            return False
        serving = ready.body.get("processes", {}).get("serving", 1)
        return ready.status == 200 and serving == self._processes

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process itself."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def lives(self) -> bool:
        """Whether it was started, and hasn't ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Ends it at once (-9)."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ends it, in good order if that goes."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Several:
    """A system whose limits are in nobody's way, and that has more gateways than that of `run`."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.system = System(folder, **{**GENEROUS, **env})

    def redis(self) -> "redis.Redis[str]":
        """A client of the system's Redis."""
        return redis.Redis.from_url(stack.addresses(self.system.settings).redis, decode_responses=True)

    def people(self, *names: str) -> list[Person]:
        """New people."""
        return at_once([lambda name=name: join(self.system, name)[0] for name in names])


class Twins(Several):
    """With two gateways: that of `run`, and one beside it, which is two processes on one port."""

    def __init__(self, folder: Path, **env: str) -> None:
        super().__init__(folder, **env)
        self.beside = Beside(self.system, processes=2)
        self._operator: Person | None = None

    @contextmanager
    def running(self) -> Iterator["Twins"]:
        """Start all of it, and stop it at the end of the block."""
        with self.system.running():
            try:
                self.beside.start()
                yield self
            finally:
                self.beside.stop()

    @property
    def urls(self) -> tuple[str, str]:
        """Of both gateways."""
        return self.system.url, self.beside.url

    def operator(self) -> Person:
        """An operator, the same each time."""
        if self._operator is None:
            [found] = self.people("Opal")
            done = self.system.cli("users", "set-role", found.email, "operator")
            assert done.returncode == 0, done
            self._operator = anew(found, "operator")
        return self._operator

    def give_role(self, person: Person, role: str) -> Person:
        """By the operator; the person in a session that has it."""
        self.operator().do("PUT", f"/v1/users/{person.user}/role", {"role": role})
        return anew(person, role)


def anew(person: Person, role: str) -> Person:
    """The same person in a new session, which has this role."""

    def look() -> Person | None:
        token = Person.log_in(person.client, person.email)["token"]
        found = Person(person.client, person.email, person.user, token)
        return found if found.read("/v1/me")["role"] == role else None

    return wait_until(look, PATIENCE, f"a session of the role {role}")


@contextmanager
def paused(*pids: int) -> Iterator[Callable[[], None]]:
    """These processes stand still (SIGSTOP) until the end, or until what is given is called."""

    def go_on() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield go_on
    finally:
        go_on()


def up(system: System) -> None:
    """Starts what has died, in the same data folder."""
    done = system.cli("up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(system.parts()) == {"kafka", "redis", "mongo"}


def whole(system: System, *urls: str) -> None:
    """Returns when all parts are there and each of these gateways says so."""
    if set(system.parts()) != {"kafka", "redis", "mongo"}:
        up(system)

    def is_whole() -> bool:
        try:
            answers = [ask(url, "GET", "/health/ready").reply for url in urls]
        except Unanswered:
            return False
        return all(answer.body.get("status") == "ready" for answer in answers)

    wait_until(is_whole, PATIENCE, "all of it ready")


def at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """Does all of these at the same time; what they give, in their order."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], T]) -> T:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(begin, works))
