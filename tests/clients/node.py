"""npm's socket.io-client in a Node process of its own."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

FOLDER = Path(__file__).parent
INSTALL_SECONDS, WITHIN = 120.0, 30.0


def installed() -> Path:
    """The folder with the clients in it, after installing them once; skips the test where that can't be."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no Node here, which npm's client needs")
    mark = FOLDER / "node_modules" / ".package-lock.json"
    if not mark.exists() or mark.stat().st_mtime < (FOLDER / "package-lock.json").stat().st_mtime:
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode:
            pytest.skip(f"npm can't install the clients: {done.stderr.strip().splitlines()[-1:]}")
    return FOLDER


class NodeClient:
    """One client; `seen` is all that it has told, in order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.seen: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.seen.append(msgspec.json.decode(line))
            self._changed.set()

    def tell(self, what: str, **rest: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"do": what, **rest}) + b"\n")

    def events(self, name: str) -> list[Any]:
        """What it was told by events of this name, in order."""
        return [one["args"][0] for one in self.seen if one["seen"] == "event" and one["name"] == name]

    async def has(self, condition: Callable[[], Any]) -> None:
        """Return once it has seen what makes that true."""
        async with asyncio.timeout(WITHIN):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def saw(self, what: str, **like: Any) -> dict[str, Any]:
        """The first that it has seen of this kind and with these values."""
        wanted = {"seen": what, **like}
        async with asyncio.timeout(WITHIN):
            while True:
                for one in self.seen:
                    if wanted.items() <= one.items():
                        return one
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def node_client(url: str, *, keep: str | None = None, **options: Any) -> AsyncIterator[NodeClient]:
    """A client that connects with these options of socket.io-client; or with the token `keep`, and what it had last."""
    environ = {**os.environ, "NO_PROXY": "127.0.0.1"}
    process = await asyncio.create_subprocess_exec(
        "node",
        str(installed() / "sockets.mjs"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environ,
        limit=2**20,
    )
    client = NodeClient(process)
    reading = asyncio.create_task(client.read())
    try:
        client.tell("connect", url=url, options=options, keep=keep)
        yield client
    finally:
        process.kill()
        await process.wait()
        await reading
