"""Who asks: from the token to an open session and its user, in one round trip."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from devconnect.events.base import Role
from devconnect.ports.reads import Source, UserView
from web.gateway import GATEWAY
from web.problems import ProblemError, not_logged_in


class Caller(NamedTuple):
    """Who asks, by which session, and where that was read."""

    user: UserView
    session: str
    source: Source


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PrivateHandler = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]


def private(handler: PrivateHandler) -> Handler:
    """A handler for people who are logged in; the others get 401."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request, await authenticate(request))

    return handle


async def authenticate(request: web.Request) -> Caller:
    """Who asks; ProblemError(not_logged_in) when that can't be said, or their session is over."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise not_logged_in()
    gateway = request.app[GATEWAY]
    claims = gateway.tokens.read(token.strip())
    if claims is None:
        raise not_logged_in("This token is none of ours, or it is over: log in again.")
    reading = gateway.reads.reading()
    session, user = await reading.session(claims.session, claims.user)
    if session is not None and (session.ended or session.expires_at <= gateway.parts.clock.now_ms()):
        raise not_logged_in("This session is over: log in again.")
    if session is None or user is None or session.user != claims.user or user.id != claims.user:
        raise not_logged_in("This session isn't known (yet): try again in a moment, or log in again.")
    return Caller(user, session.id, reading.source)


async def caller_if_any(request: web.Request) -> Caller | None:
    """Who asks; None when no token was sent. A bad token is a problem here too."""
    return await authenticate(request) if "Authorization" in request.headers else None


def require_role(caller: Caller, *roles: Role) -> None:
    """ProblemError(not_allowed) unless the caller has one of these roles."""
    if caller.user.role not in roles:
        raise ProblemError("not_allowed", f"Only {' and '.join(roles)} may read this: ask an operator for the role.")
