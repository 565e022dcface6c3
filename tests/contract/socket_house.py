"""The gateway's own server with sockets on it, an application that does as it is told, and clients of three kinds."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import socketio
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

from tests.unit.web_house import House, gateway
from web.app import create_app
from web.bounds import Limits
from web.cors import from_our_pages
from web.realtime.sockets import Answer, Application, Refused, Socket, SocketLimits, Sockets
from web.server import GatewayRunner

WITHIN = 10.0


@dataclass
class Desk(Application):
    """Notes what it is told. Answers an event with its name and arguments, or as `handlers` say."""

    connected: list[Socket] = field(default_factory=list)
    auths: list[Any] = field(default_factory=list)
    events: list[tuple[str, list[Any]]] = field(default_factory=list)
    gone: list[tuple[Socket, str]] = field(default_factory=list)
    handlers: dict[str, Callable[[Socket, list[Any]], Awaitable[Answer]]] = field(default_factory=dict)
    connecting: Callable[[Any], Awaitable[None]] | None = None
    #: Messages that may still be read; None: any number.
    left: int | None = None

    async def on_connect(self, socket: Socket, auth: Any, request: web.Request) -> None:
        self.auths.append(auth)
        if self.connecting is not None:
            await self.connecting(auth)

    async def on_ready(self, socket: Socket) -> None:
        self.connected.append(socket)
        socket.emit("hello", b'{"n":1}')

    async def on_event(self, socket: Socket, name: str, args: list[Any]) -> Answer:
        self.events.append((name, args))
        if name in self.handlers:
            return await self.handlers[name](socket, args)
        return msgspec.json.encode([name, *args])

    def on_disconnect(self, socket: Socket, reason: str) -> None:
        self.gone.append((socket, reason))

    def may_go_on(self, socket: Socket) -> bool:
        if self.left is not None:
            self.left -= 1
        return self.left is None or self.left >= 0


async def refuse(auth: Any) -> None:
    raise Refused("not_logged_in", "Log in first.")


@dataclass
class SocketHouse:
    """The gateway, where it is, and what was told."""

    house: House
    desk: Desk
    sockets: Sockets
    runner: GatewayRunner
    port: int
    http: ClientSession
    listening: socket.socket
    site: web.SockSite

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, *key: str) -> int:
        return self.house.metrics.counts[key]

    async def client(self, *transports: str, auth: Any = None, **kwargs: Any) -> "Client":
        client = Client(self.http)
        await client.sio.connect(self.address, transports=list(transports or ("websocket",)), auth=auth, **kwargs)
        return client

    async def raw(self, *, connected: bool = True, **headers: str) -> "RawSocket":
        url = f"{self.address}/socket.io/?EIO=4&transport=websocket"
        raw = RawSocket(await self.http.ws_connect(url, headers=headers, compress=15))
        raw.opening = msgspec.json.decode((await raw.next())[1:])
        if connected:
            await raw.ws.send_str("40")
            assert (await raw.next()).startswith('40{"sid":')
            assert await raw.next() == '42["hello",{"n":1}]'
        return raw

    async def deaf(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client that connects, and then reads no more."""
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=one, limit=4096)
        writer.write(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            b"\x81\x82\0\0\0\x0040"  # in one piece with the request
        )
        assert b"hello" in await reader.readuntil(b'"n":1}]')
        return reader, writer


class Client:
    """python-socketio's own client."""

    def __init__(self, http: ClientSession) -> None:
        self.sio = socketio.AsyncClient(reconnection=False)
        self.events: list[tuple[str, Any]] = []
        self.ended: list[str] = []
        self.sio.on("*", lambda name, *args: self.events.append((name, args[0] if args else None)))
        self.sio.on("connect_error", lambda data: self.events.append(("connect_error", data)))
        self.sio.on("disconnect", lambda reason=None: self.ended.append(str(reason)))


@dataclass
class RawSocket:
    """A websocket, and nothing on top of it."""

    ws: ClientWebSocketResponse
    opening: Any = None

    async def next(self) -> str:
        message = await self.ws.receive(timeout=WITHIN)
        assert message.type is WSMsgType.TEXT, message
        return str(message.data)

    async def closing(self) -> tuple[int | None, str | None]:
        """The code and the reason that the server closes with; what comes before is read and dropped."""
        async with asyncio.timeout(WITHIN):
            while (message := await self.ws.receive()).type is WSMsgType.TEXT:
                pass
        return (message.data, message.extra) if message.type is WSMsgType.CLOSE else (self.ws.close_code, None)


@asynccontextmanager
async def sockets_on(*, connections: dict[str, float] | None = None, **limits: Any) -> AsyncIterator[SocketHouse]:
    """A gateway with sockets, whose limits are other than usual; time is looked at 50 times a second."""
    os.environ.setdefault("NO_PROXY", "127.0.0.1")
    async with gateway() as house, ClientSession() as http:
        desk, parts = Desk(), house.parts
        sockets = Sockets(
            desk,
            limits=SocketLimits(**{"sweep": 0.02, **limits}),
            metrics=house.metrics,
            origins=lambda request: from_our_pages(request, parts.settings),
        )
        base = Limits.of(parts.settings)
        changed = base._replace(**{"sweep": 0.02, **(connections or {})})
        runner = GatewayRunner(create_app(parts, sockets), limits=changed, shutdown_timeout=0.1)
        await runner.setup()
        one = socket.create_server(("127.0.0.1", 0))
        site = web.SockSite(runner, one)
        await site.start()
        try:
            yield SocketHouse(house, desk, sockets, runner, one.getsockname()[1], http, one, site)
        finally:
            await runner.cleanup()


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    """Whatever a client does, it is no failure of ours."""
    with caplog.at_level(logging.WARNING):
        yield
    found = [record for record in caplog.records if record.name.startswith(("web", "aiohttp", "asyncio", "engineio"))]
    assert not [record for record in found if "client" not in record.name]
