"""Connections and the requests that lead to them."""

from aiohttp import web

from devconnect.domain.model import ConnectionState
from devconnect.events import commands as c
from web import bodies
from web.auth import Caller, private
from web.commands import respond
from web.gateway import GATEWAY
from web.requests import known_user, paged, read_body, read_page, user_in_path
from web.views import card, read_response


async def request_connection(request: web.Request, caller: Caller) -> web.Response:
    """Show interest in somebody, or pass them by."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, bodies.RequestConnection)
    user = known_user(body.user)
    order = gateway.commander.order(request, caller.user.id, body)
    command = c.RequestConnection(**order.common(caller.user.id), to=user, interest=body.interest)
    return respond(order.id, await gateway.commander.ask(command), 201)


async def review_connection(request: web.Request, caller: Caller) -> web.Response:
    """Answer somebody's request."""
    gateway = request.app[GATEWAY]
    user = user_in_path(request)
    body = await read_body(request, bodies.ReviewConnection)
    order = gateway.commander.order(request, caller.user.id, body)
    command = c.ReviewConnection(**order.common(caller.user.id), requester=user, verdict=body.verdict)
    return respond(order.id, await gateway.commander.ask(command))


async def remove_connection(request: web.Request, caller: Caller) -> web.Response:
    """End a connection."""
    gateway = request.app[GATEWAY]
    user = user_in_path(request)
    order = gateway.commander.order(request, caller.user.id)
    command = c.RemoveConnection(**order.common(caller.user.id), other=user)
    return respond(order.id, await gateway.commander.ask(command))


async def read_connections(request: web.Request, caller: Caller) -> web.Response:
    """The people that the reader is connected with."""
    return await _people(request, caller, "accepted", "since")


async def read_requests(request: web.Request, caller: Caller) -> web.Response:
    """The people who wait for the reader's answer."""
    return await _people(request, caller, "requested", "at", by_others=True)


async def _people(
    request: web.Request, caller: Caller, state: ConnectionState, time: str, *, by_others: bool = False
) -> web.Response:
    asked = read_page(request)
    reading = request.app[GATEWAY].reads.reading()
    page = await paged(asked, reading.relations(caller.user.id, state, asked.cursor, asked.limit, by_others=by_others))
    people = await reading.users([relation.user for relation in page.items])
    items = [
        {"user": card(user), time: relation.at}
        for relation, user in zip(page.items, people, strict=True)
        if user is not None
    ]
    return read_response({"items": items, "next": page.next}, reading.source)


def routes() -> list[web.RouteDef]:
    """/v1/connections"""
    return [
        web.post("/v1/connections", private(request_connection)),
        web.get("/v1/connections", private(read_connections)),
        web.get("/v1/connections/requests", private(read_requests)),
        web.post("/v1/connections/{user}/review", private(review_connection)),
        web.delete("/v1/connections/{user}", private(remove_connection)),
    ]
