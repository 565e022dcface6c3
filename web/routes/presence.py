"""Who is here."""

import msgspec
from aiohttp import web

from web.auth import Caller, private
from web.gateway import GATEWAY
from web.ids import is_id
from web.problems import bad_query
from web.requests import only
from web.views import read_response

USERS_MAX = 200


async def read_presence(request: web.Request, _: Caller) -> web.Response:
    """Whether these people are here, and when they last were, in the order asked for."""
    only(request, ("users",))
    users = tuple(dict.fromkeys(filter(None, request.query.get("users", "").split(","))))
    if not 1 <= len(users) <= USERS_MAX or not all(is_id(user) for user in users):
        raise bad_query("users", f"is 1 to {USERS_MAX} user ids, with commas between them")
    gateway = request.app[GATEWAY]
    reading = gateway.reads.reading()
    found = await reading.presence(users, gateway.parts.clock.now_ms())
    return read_response({"items": msgspec.to_builtins(found)}, reading.source)


def routes() -> list[web.RouteDef]:
    """/v1/presence"""
    return [web.get("/v1/presence", private(read_presence))]
