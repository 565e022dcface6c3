"""The system's Chromium with npm's client in its pages."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tests.clients.node import FOLDER, installed

BUNDLE = FOLDER / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"
PAGE = FOLDER / "page.html"
#: Seconds for one thing.
WITHIN = 60.0


def chromium() -> str:
    """Where it is; skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium here: tests/clients/install gets it where it can")
    installed()
    return found


class Browser:
    """Pages by their names."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}

    async def read(self) -> None:
        """Take answers, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = msgspec.json.decode(line)
            asked = self._asked.pop(answer["id"])
            if "error" in answer:
                asked.set_exception(AssertionError(answer["error"]))
            else:
                asked.set_result(answer["value"])
        for asked in self._asked.values():
            asked.set_exception(AssertionError("the browser has ended"))

    async def do(self, what: str, **rest: Any) -> Any:
        """What comes of it."""
        assert self._process.stdin is not None
        number = next(self._ids)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(msgspec.json.encode({"id": number, "do": what, **rest}) + b"\n")
        async with asyncio.timeout(WITHIN):
            return await asked


class Page:
    """A page of somebody; those of one person have their cookies in common."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser, self._name = browser, name

    async def call(self, function: str, *args: Any) -> Any:
        """What a function of the page gives."""
        return await self._browser.do("call", page=self._name, name=function, args=args)

    async def told(self, *names: str) -> list[Any]:
        """The data of these events, in order."""
        return [data for name, data in await self.call("told") if name in names]

    async def close(self) -> None:
        """As somebody closes a tab."""
        await self._browser.do("close", page=self._name)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """One browser."""
    process = await asyncio.create_subprocess_exec(
        "node",
        str(FOLDER / "browser.mjs"),
        chromium(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    found = Browser(process)
    reading = asyncio.create_task(found.read())
    try:
        yield found
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading


async def open_page(browser: Browser, name: str, person: str, url: str) -> Page:
    """A page, loaded."""
    await browser.do("open", page=name, person=person, url=url)
    return Page(browser, name)
