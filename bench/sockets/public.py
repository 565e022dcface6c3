"""The public Socket.IO server for Python, with its defaults; its own Redis manager where there is a Redis."""

from typing import Any

import socketio
from aiohttp import web


def application(redis: str | None) -> web.Application:
    """What is served."""
    # Its documentation doesn't say that with redis-py 8 a quiet subscription would be given up every 5 s.
    manager = socketio.AsyncRedisManager(redis, redis_options={"socket_timeout": None}) if redis else None
    server = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager)

    async def connect(sid: str, _: dict[str, Any], auth: dict[str, str]) -> None:
        for name in (auth["user"], auth["room"]):
            if name:
                await server.enter_room(sid, name)

    async def say(_: str, words: dict[str, Any]) -> None:
        await server.emit("message", words["body"], to=words["to"])

    server.on("connect", connect)
    server.on("say", say)
    app = web.Application()
    server.attach(app)
    return app
