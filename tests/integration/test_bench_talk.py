"""Messages are followed from their POST to the recipient's socket, with a gateway that is as small as can be."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
from aiohttp import web

from bench.rig import BenchError
from bench.sockets import endtoend
from bench.sockets.endtoend import Talk
from devconnect.events.base import new_id
from devconnect.replay.account import Account
from devconnect.replay.client import COMMAND, Gateway

#: Seconds that a message takes to the socket.
WAY = 0.02


class Tiny:
    """Lets in whoever has the token of `other`, and tells them of each message before its POST is answered."""

    def __init__(self, *, deaf: bool = False) -> None:
        self._deaf = deaf
        self.server = socketio.AsyncServer(async_mode="aiohttp")
        self.server.on("connect", self._connected)
        self.app = web.Application()
        self.server.attach(self.app)
        self.app.add_routes([web.post("/v1/conversations/{user}/messages", self._said)])

    async def _connected(self, sid: str, _: dict[str, Any], auth: dict[str, str]) -> bool:
        await self.server.enter_room(sid, auth["token"])
        return auth == {"token": "token of other"}

    async def _said(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer token of one"
        message = new_id()
        await asyncio.sleep(WAY)
        if not self._deaf:
            await self.server.emit("message", {"data": {"id": message, **await request.json()}}, to="token of other")
        return web.json_response({"id": message}, status=201, headers={COMMAND: message})


@pytest.fixture(autouse=True)
def people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts and connections are there already."""

    async def opened(_: Gateway, email: str, *__: Any) -> Account:
        name = email.split(".")[1]
        return Account(name, f"token of {name}")

    async def done(*_: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(endtoend, "open_account", opened)
    monkeypatch.setattr(Gateway, "command", done)


@pytest.fixture
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    runner = web.AppRunner(Tiny(deaf=getattr(request, "param", False)).app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield site.name
    await runner.cleanup()


async def test_each_message_is_timed_to_its_own_event(url: str) -> None:
    async with Talk(url) as talk:
        alone = await talk.one_at_a_time(10)
        steady = await talk.steadily(10, 200.0)
    assert (len(alone), len(steady)) == (10, 10)
    assert min(alone + steady) >= WAY


@pytest.mark.parametrize("url", [True], indirect=True)
async def test_a_message_that_never_comes_is_no_sample(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endtoend, "PATIENCE", 0.2)
    async with Talk(url) as talk:
        with pytest.raises(BenchError, match="hasn't come"):
            await talk.one_at_a_time(1)
        with pytest.raises(BenchError, match="hasn't come"):
            await talk.steadily(1, 200.0)


async def test_who_is_not_let_in_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stranger(*_: Any) -> Account:
        return Account("other", "of somebody else")

    monkeypatch.setattr(endtoend, "open_account", stranger)
    with pytest.raises(BenchError, match="isn't let in"):
        async with Talk(url):
            pass
