"""The reader's own account and presence."""

from aiohttp import web

from devconnect.domain.presence import LEASE_MS
from devconnect.events import commands as c
from web import bodies
from web.auth import Caller, private
from web.commands import respond
from web.gateway import GATEWAY
from web.requests import only, read_body
from web.views import account, read_response


async def read_me(request: web.Request, caller: Caller) -> web.Response:
    """The account."""
    only(request, ())
    return read_response(account(caller.user), caller.source)


async def change_me(request: web.Request, caller: Caller) -> web.Response:
    """Change the profile fields that are given."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, bodies.ChangeProfile)
    order = gateway.commander.order(request, caller.user.id, body)
    command = c.ChangeProfile(**order.common(caller.user.id), **bodies.profile_of(body))
    return respond(order.id, await gateway.commander.ask(command))


async def set_presence(request: web.Request, caller: Caller) -> web.Response:
    """This session's device is here for a while, or is gone."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, bodies.Presence)
    order = gateway.commander.order(request, caller.user.id, body)
    common = order.common(caller.user.id)
    command: c.AnyCommand
    if body.online:
        command = c.GoOnline(**common, session=caller.session, until=order.at + LEASE_MS)
    else:
        command = c.GoOffline(**common, session=caller.session)
    return respond(order.id, await gateway.commander.ask(command))


def routes() -> list[web.RouteDef]:
    """/v1/me"""
    return [
        web.get("/v1/me", private(read_me)),
        web.patch("/v1/me", private(change_me)),
        web.put("/v1/me/presence", private(set_presence)),
    ]
