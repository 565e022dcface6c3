"""The reader's notifications."""

import msgspec
from aiohttp import web

from devconnect.events import commands as c
from web import bodies
from web.auth import Caller, private
from web.commands import respond
from web.gateway import GATEWAY
from web.requests import paged, read_body, read_page
from web.views import read_response


async def read_notifications(request: web.Request, caller: Caller) -> web.Response:
    """Notifications, newest first, and how many are not read."""
    asked = read_page(request)
    reading = request.app[GATEWAY].reads.reading()
    page = await paged(asked, reading.notifications(caller.user.id, asked.cursor, asked.limit))
    unread = await reading.unread_notifications(caller.user.id)
    shown = {"items": msgspec.to_builtins(page.items), "next": page.next, "unread": unread}
    return read_response(shown, reading.source)


async def mark_read(request: web.Request, caller: Caller) -> web.Response:
    """Mark some as read."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, bodies.ReadNotifications)
    order = gateway.commander.order(request, caller.user.id, body)
    unique = tuple(dict.fromkeys(body.notifications))
    command = c.ReadNotifications(**order.common(caller.user.id), notifications=unique)
    return respond(order.id, await gateway.commander.ask(command))


def routes() -> list[web.RouteDef]:
    """/v1/me/notifications"""
    return [
        web.get("/v1/me/notifications", private(read_notifications)),
        web.post("/v1/me/notifications/read", private(mark_read)),
    ]
