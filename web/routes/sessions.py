"""Sessions: log-in and log-out."""

from aiohttp import web

from devconnect.domain import normalise
from devconnect.events import commands as c
from web import bodies
from web.auth import Caller, private
from web.commands import respond
from web.gateway import GATEWAY
from web.problems import ProblemError
from web.requests import read_body


async def log_in(request: web.Request) -> web.Response:
    """Open a session. An answer of 202 holds its token too: it is good as soon as the session exists."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, bodies.LogIn)
    email = normalise.email(body.email)
    found = await gateway.parts.credentials.credentials(email) if email else None
    right = await gateway.parts.passwords.verify(found[1] if found else None, body.password)
    if email is None or found is None or not right:
        raise ProblemError("wrong_credentials", "No account has this e-mail address and this password.")
    user = found[0]
    order = gateway.commander.order(request, email, body)
    session = gateway.ids.session(order.id)
    expires_at = order.at + gateway.parts.settings.token_lifetime * 1000
    command = c.LogIn(**order.common(user), session=session, expires_at=expires_at, device=body.device)
    decision = await gateway.commander.ask(command)
    if decision is not None and decision.result is not None:
        expires_at = decision.result["expires_at"]
    token = gateway.tokens.make(user, session, expires_at)
    return respond(
        order.id, decision, 201, more={"token": token, "session": session, "user": user, "expires_at": expires_at}
    )


async def log_out(request: web.Request, caller: Caller) -> web.Response:
    """End the session that asks."""
    gateway = request.app[GATEWAY]
    order = gateway.commander.order(request, caller.user.id)
    command = c.LogOut(**order.common(caller.user.id), session=caller.session)
    return respond(order.id, await gateway.commander.ask(command))


def routes() -> list[web.RouteDef]:
    """/v1/sessions"""
    return [web.post("/v1/sessions", log_in), web.delete("/v1/sessions/current", private(log_out))]
