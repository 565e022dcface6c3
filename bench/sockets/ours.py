"""The gateway's engine with the least that can be built on it: users, rooms, and a channel of Redis for each."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web
from redis.asyncio import Redis

from devconnect.adapters.prometheus import PrometheusMetrics
from web.realtime.frames import encode_event
from web.realtime.sockets import Refused, Socket, SocketLimits, Sockets
from web.serving import GC

#: Before the name of a user or room, where there are several of this server.
CHANNEL = "bench:ours:"


class Ours:
    """What the engine asks of whoever builds on it."""

    def __init__(self, redis: str | None) -> None:
        self._rooms: dict[str, set[Socket]] = {}
        self._redis = None if redis is None else Redis.from_url(redis, socket_timeout=None)
        self._heard: Any = None if self._redis is None else self._redis.pubsub(ignore_subscribe_messages=True)
        self._sockets = Sockets(self, limits=SocketLimits(), metrics=PrometheusMetrics(), origins=lambda _: True)

    def application(self) -> web.Application:
        """What is served."""
        app = web.Application()
        app.add_routes(self._sockets.routes())
        app.cleanup_ctx.append(self._running)
        return app

    async def _running(self, _: web.Application) -> AsyncIterator[None]:
        self._sockets.start()
        listening = None
        if self._heard is not None:
            await self._heard.subscribe(CHANNEL)
            listening = asyncio.create_task(self._listen())
        # As the gateway does when it serves.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC)
        yield
        await self._sockets.stop()
        if listening is not None and self._redis is not None:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
            await self._heard.aclose()
            await self._redis.aclose()

    async def on_connect(self, socket: Socket, auth: Any, request: web.Request) -> None:
        """Everybody is who they say they are."""
        if not isinstance(auth, dict) or not auth.get("user"):
            raise Refused("unauthorized", "nobody")
        socket.data = tuple(name for name in (auth["user"], auth["room"]) if name)

    async def on_ready(self, socket: Socket) -> None:
        """They hear of what is for them, and for their room."""
        for name in socket.data:
            self._rooms.setdefault(name, set()).add(socket)
            if self._heard is not None:
                await self._heard.subscribe(CHANNEL + name)

    async def on_event(self, socket: Socket, name: str, args: list[Any]) -> None:
        """The only one there is: words that are to be delivered."""
        words = args[0]
        body = msgspec.json.encode(words["body"])
        if self._redis is None:
            self._deliver(words["to"], body)
        else:
            await self._redis.publish(CHANNEL + words["to"], body)

    def on_disconnect(self, socket: Socket, reason: str) -> None:
        """They hear of nothing any more."""
        for name in socket.data:
            self._rooms.get(name, set()).discard(socket)

    def may_go_on(self, socket: Socket) -> bool:
        """As often as they like."""
        return True

    def _deliver(self, name: str, body: bytes) -> None:
        self._sockets.send(self._rooms.get(name, ()), encode_event("message", body))

    async def _listen(self) -> None:
        async for message in self._heard.listen():
            self._deliver(message["channel"].decode().removeprefix(CHANNEL), message["data"])
