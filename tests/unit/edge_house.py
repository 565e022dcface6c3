"""A gateway on fakes behind its own server, and a client that speaks to it byte by byte."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from tests.unit.web_house import House, gateway
from web.app import create_app
from web.bounds import Limits
from web.edge import Edge
from web.life import LIFE
from web.server import GatewayRunner


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The code of the problem that this is."""
        assert self.headers["content-type"] == "application/problem+json", self
        assert self.json["status"] == self.status
        return str(self.json["code"])


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> "Raw":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, *, is_head: bool = False) -> Reply:
        """The next answer; EOFError when there is none any more."""
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as error:
            raise EOFError(error.partial) from None
        first, *lines = head.strip().split("\r\n")
        assert first.startswith("HTTP/1."), first
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = 0 if is_head else int(headers.get("content-length", "0"))
        return Reply(int(first.split(" ")[1]), headers, await self.reader.readexactly(size))

    async def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        self.send("\r\n".join([*lines, "", ""]).encode() + body)
        return await self.read(is_head=method == "HEAD")

    async def is_closed(self, seconds: float = 15.0) -> bool:
        """Whether the server has nothing more to say and ends the connection."""
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read(1) == b""
            except OSError:
                return True

    def close(self) -> None:
        self.writer.transport.abort()


@dataclass(frozen=True)
class Served:
    """The gateway and where it is."""

    house: House
    runner: GatewayRunner
    port: int
    sockets: list[socket.socket]
    sites: list[web.SockSite]

    @property
    def life(self) -> Any:
        return self.runner.app[LIFE]

    async def raw(self) -> Raw:
        return await Raw.to(self.port)

    async def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Reply:
        raw = await self.raw()
        try:
            return await raw.ask(path, method, body, **headers)
        finally:
            raw.close()


@asynccontextmanager
async def served(
    *routes: web.RouteDef, limits: Mapping[str, float] | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """A gateway with these routes too, and limits that are other than usual; it looks at them 50 times a second."""
    async with gateway(**settings) as house:
        app = create_app(house.parts)
        app.add_routes(Edge(house.parts.settings, house.parts.metrics).around(routes)[:-1])
        base = Limits.of(house.parts.settings)
        runner = GatewayRunner(app, limits=base._replace(**{"sweep": 0.02, **(limits or {})}), shutdown_timeout=0.1)
        await runner.setup()
        one = socket.create_server(("127.0.0.1", 0))
        site = web.SockSite(runner, one)
        await site.start()
        try:
            yield Served(house, runner, one.getsockname()[1], [one], [site])
        finally:
            await runner.cleanup()
