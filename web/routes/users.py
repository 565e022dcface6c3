"""People: sign-up, and somebody's card."""

from aiohttp import web

from devconnect.events import commands as c
from web import bodies
from web.auth import Caller, private
from web.commands import respond
from web.gateway import GATEWAY
from web.problems import user_unknown
from web.requests import only, read_body, user_in_path
from web.views import card, read_response


async def sign_up(request: web.Request) -> web.Response:
    """Open an account."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, bodies.SignUp)
    email, profile = bodies.address_of(body), bodies.profile_of(body)
    order = gateway.commander.order(request, email, body)
    user = gateway.ids.user(order.id, email, gateway.parts.commands)
    hashed = await gateway.parts.passwords.hash(body.password)
    command = c.SignUp(**order.common(user), user=user, email=email, password_hash=hashed, **profile)
    return respond(order.id, await gateway.commander.ask(command), 201)


async def read_card(request: web.Request, _: Caller) -> web.Response:
    """Somebody as everybody sees them."""
    only(request, ())
    reading = request.app[GATEWAY].reads.reading()
    [user] = await reading.users([user_in_path(request)])
    if user is None:
        raise user_unknown()
    return read_response(card(user), reading.source)


def routes() -> list[web.RouteDef]:
    """/v1/users"""
    return [web.post("/v1/users", sign_up), web.get("/v1/users/{user}", private(read_card))]
