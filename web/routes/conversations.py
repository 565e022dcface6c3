"""What two people say to each other. The conversation's id is built from the reader's own: it is always theirs."""

from typing import Any

import msgspec
from aiohttp import web

from devconnect.events import commands as c
from devconnect.events.base import pair_id
from web import bodies
from web.auth import Caller, private
from web.commands import respond
from web.gateway import GATEWAY
from web.problems import user_unknown
from web.reads import Reading
from web.requests import paged, read_body, read_page, user_in_path
from web.views import read_response


async def send_message(request: web.Request, caller: Caller) -> web.Response:
    """Say something to a connected person."""
    gateway = request.app[GATEWAY]
    peer = user_in_path(request)
    body = await read_body(request, bodies.SendMessage)
    text = bodies.text_of(body)
    order = gateway.commander.order(request, caller.user.id, body)
    command = c.SendMessage(**order.common(caller.user.id), to=peer, text=text)
    return respond(order.id, await gateway.commander.ask(command), 201)


async def mark_delivered(request: web.Request, caller: Caller) -> web.Response:
    """A device of the reader holds all up to a message."""
    return await _mark(request, caller, c.MarkDelivered)


async def mark_read(request: web.Request, caller: Caller) -> web.Response:
    """The reader has read all up to a message."""
    return await _mark(request, caller, c.MarkRead)


async def _mark(request: web.Request, caller: Caller, kind: type[c.MarkDelivered] | type[c.MarkRead]) -> web.Response:
    gateway = request.app[GATEWAY]
    peer = user_in_path(request)
    body = await read_body(request, bodies.UpTo)
    order = gateway.commander.order(request, caller.user.id, body)
    command = kind(**order.common(caller.user.id), peer=peer, up_to=body.up_to)
    return respond(order.id, await gateway.commander.ask(command))


async def read_history(request: web.Request, caller: Caller) -> web.Response:
    """Messages, newest first, and how far each of the two has got."""
    peer, asked = user_in_path(request), read_page(request)
    reading = request.app[GATEWAY].reads.reading()
    conversation = pair_id(caller.user.id, peer)
    page = await paged(asked, reading.history(conversation, asked.cursor, asked.limit))
    positions = await reading.positions(conversation)
    if not page.items:
        await _insist_on(peer, reading)
    shown: dict[str, Any] = {
        "items": msgspec.to_builtins(page.items),
        "next": page.next,
        "positions": msgspec.to_builtins(positions),
    }
    return read_response(shown, reading.source)


async def _insist_on(peer: str, reading: Reading) -> None:
    [user] = await reading.users([peer])
    if user is None:
        raise user_unknown()


def routes() -> list[web.RouteDef]:
    """/v1/conversations"""
    return [
        web.post("/v1/conversations/{user}/messages", private(send_message)),
        web.get("/v1/conversations/{user}/messages", private(read_history)),
        web.post("/v1/conversations/{user}/delivered", private(mark_delivered)),
        web.post("/v1/conversations/{user}/read", private(mark_read)),
    ]
