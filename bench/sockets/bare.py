"""The floor: aiohttp's websockets and a dictionary."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web
from redis.asyncio import Redis

#: Seconds between two pings.
HEARTBEAT = 25.0
#: Before the name of a user or room, where there are several of this server.
CHANNEL = "bench:bare:"


class Bare:
    """Sends each message, encoded once, to one socket after the other; by Redis where there is one."""

    def __init__(self, redis: str | None) -> None:
        self._rooms: dict[str, set[web.WebSocketResponse]] = {}
        self._redis = None if redis is None else Redis.from_url(redis, socket_timeout=None)
        self._heard: Any = None if self._redis is None else self._redis.pubsub(ignore_subscribe_messages=True)
        self._listening: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        """What is served."""
        app = web.Application()
        app.add_routes([web.get("/ws", self._connected)])
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)
        return app

    async def _start(self, _: web.Application) -> None:
        if self._heard is not None:
            await self._heard.subscribe(CHANNEL)
            self._listening = asyncio.create_task(self._listen())

    async def _stop(self, _: web.Application) -> None:
        if self._listening is not None and self._redis is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
            await self._heard.aclose()
            await self._redis.aclose()

    async def _connected(self, request: web.Request) -> web.WebSocketResponse:
        # A floor that compresses for each recipient would be none.
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, compress=False)
        await socket.prepare(request)
        names = [name for name in (request.query["user"], request.query["room"]) if name]
        for name in names:
            self._rooms.setdefault(name, set()).add(socket)
            if self._heard is not None:
                await self._heard.subscribe(CHANNEL + name)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._say(message.data)
        finally:
            for name in names:
                self._rooms[name].discard(socket)
        return socket

    async def _say(self, data: str) -> None:
        words = json.loads(data)
        text = json.dumps(words["body"], separators=(",", ":"))
        if self._redis is None:
            await self._deliver(words["to"], text)
        else:
            await self._redis.publish(CHANNEL + words["to"], text)

    async def _deliver(self, name: str, text: str) -> None:
        for socket in list(self._rooms.get(name, ())):
            with suppress(ConnectionError):
                await socket.send_str(text)

    async def _listen(self) -> None:
        async for message in self._heard.listen():
            await self._deliver(message["channel"].decode().removeprefix(CHANNEL), message["data"].decode())
