"""A whole system for tests: started as people start it, looked at from outside, stopped with nothing left."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

from devconnect.replay.limits import LIMITS
from devconnect.runner import state
from devconnect.runner.plan import ROOT
from devconnect.settings import Settings
from devconnect.stack import ports, process
from tests.waiting import wait_until

T = TypeVar("T")

#: Passwords are hashed as cheaply as can be.
CHEAP = {"ARGON2_TIME_COST": "1", "ARGON2_MEMORY_KIB": "8192", "ARGON2_PARALLELISM": "1"}
#: What is counted all the same, and refused to nobody: a test does in a minute what a person does in a day.
GENEROUS = {**LIMITS, "LIMITS_SILVER": LIMITS["LIMITS_FREE"], "LIMITS_GOLD": LIMITS["LIMITS_FREE"]}
#: Seconds from the start until all is ready (the first start of a machine fetches Kafka), and for the end.
START, STOP = 100.0, 10.0


class System:
    """One run in a data folder of its own, on a free port."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.data_dir = folder / "data"
        self.log = folder / "run.log"
        self.port = int(env.get("PORT") or ports.pick())
        # Of the machine's own settings none may reach the test.
        foreign = ("_URL", "_PORT")
        own = {name: value for name, value in os.environ.items() if not name.endswith(foreign)}
        self.env = {**own, **CHEAP, **GENEROUS, "DATA_DIR": str(self.data_dir), "PORT": str(self.port), **env}
        self._runner: subprocess.Popen[bytes] | None = None
        self._seen: dict[int, psutil.Process] = {}

    @property
    def url(self) -> str:
        """The gateway's address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        """The settings as the system's processes read them."""
        return Settings.load(self.env)

    @property
    def runner(self) -> subprocess.Popen[bytes]:
        """The process of `run` itself."""
        assert self._runner is not None, "not started"
        return self._runner

    def launch(self) -> None:
        """Starts `run` and returns at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._runner = subprocess.Popen(
                [sys.executable, "-m", "devconnect", "run"],
                env=self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> None:
        """Starts `run` and returns when every process has been ready."""
        self.launch()
        wait_until(self._is_ready, START, f"ready (see {self.log})")
        self._look()

    def _is_ready(self) -> bool:
        assert self.runner.poll() is None, f"run ended with {self.runner.returncode}:\n{self.output()[-3000:]}"
        run = state.read(self.data_dir)
        return run is not None and run.pid == self.runner.pid and run.ready

    @contextmanager
    def running(self) -> Iterator["System"]:
        """Start it, and stop it at the end of the block."""
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def output(self) -> str:
        """What `run` has printed so far."""
        return self.log.read_text("utf-8", "replace")

    def pids(self) -> dict[str, int]:
        """Role -> pid of the processes of Procfile, as they are now."""
        run = state.read(self.data_dir)
        return {name: record.pid for name, record in run.processes.items()} if run else {}

    def port_of(self, role: str) -> int:
        """The port that a process of Procfile serves on."""
        run = state.read(self.data_dir)
        assert run is not None
        return run.processes[role].port

    def metrics(self, role: str) -> str:
        """What Prometheus would scrape of a process of Procfile."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port_of(role)}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def parts(self) -> dict[str, int]:
        """Part -> pid of the embedded stack's processes."""
        found = {}
        for name in ("kafka", "redis", "mongo"):
            record = process.read_record(self.data_dir / "run" / f"{name}.json")
            if record is not None and process.find(record) is not None:
                found[name] = record.pid
        return found

    def kill(self, role: str) -> int:
        """Kills (-9) the process of a role or a part; returns its pid. The runner starts roles again, not parts."""
        self._look()
        pid = {**self.pids(), **self.parts()}[role]
        os.kill(pid, signal.SIGKILL)
        return pid

    def restarted(self, role: str, old_pid: int, seconds: float = 30.0) -> int:
        """Waits until a role that was killed is ready again under a new pid, and returns that."""
        before = f"{role} is ready: "

        def is_back() -> bool:
            pid = self.pids().get(role)
            return pid is not None and pid != old_pid and f"(pid {pid}," in self.output().rpartition(before)[2]

        wait_until(is_back, seconds, f"{role} ready again")
        return self.pids()[role]

    def cli(self, *arguments: str, seconds: float = 60.0, **env: str) -> subprocess.CompletedProcess[str]:
        """`python -m devconnect …` with this system's settings."""
        return subprocess.run(
            [sys.executable, "-m", "devconnect", *arguments],
            env={**self.env, **env},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def stop(self, number: int = signal.SIGINT) -> float:
        """Asks `run` to stop, insists that it does so in time and leaves nobody; returns the seconds that it took."""
        if self._runner is None:
            return 0.0
        self._look()
        began = time.monotonic()
        if self._runner.poll() is None:
            self._runner.send_signal(number)
        try:
            self._runner.wait(STOP + 5)
        except subprocess.TimeoutExpired:
            self._runner.kill()
            self._runner.wait()
        took, code, self._runner = time.monotonic() - began, self._runner.returncode, None
        left = self._end_leftovers()
        assert code == 0, f"run ended with {code}:\n{self.output()[-3000:]}"
        assert not left, f"left running: {left}"
        assert took <= STOP, f"stopped after {took:.1f} s"
        return took

    def _look(self) -> None:
        """Remembers every process of this system that there is."""
        roots = [self.runner.pid] if self._runner else []
        for pid in [*roots, *self.pids().values(), *self.parts().values()]:
            try:
                parent = psutil.Process(pid)
                for each in [parent, *parent.children(recursive=True)]:
                    self._seen.setdefault(each.pid, each)
            except psutil.NoSuchProcess:
                continue

    def _end_leftovers(self) -> list[str]:
        """Ends what is left of the processes seen, and of any that name our data folder; returns their commands."""
        left = {pid: found for pid, found in self._seen.items() if _lives(found)}
        for found in psutil.process_iter(["cmdline"]):
            if any(str(self.data_dir) in word for word in found.info["cmdline"] or []):
                left.setdefault(found.pid, found)
        commands = []
        for found in left.values():
            try:
                commands.append(f"{found.pid} {' '.join(found.cmdline())[:200]}")
                found.kill()
            except psutil.NoSuchProcess:
                continue
        return commands


def _lives(found: psutil.Process) -> bool:
    try:
        return found.is_running() and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def without(env: Mapping[str, str], *names: str) -> dict[str, str]:
    """An environment without some variables."""
    return {name: value for name, value in env.items() if name not in names}
