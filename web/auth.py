"""The gate: from the token of a request to its open session and user, without a round trip where both are at hand."""

from collections.abc import Collection

from aiohttp import web
from multidict import istr

from devconnect.events.base import Role
from devconnect.ports.clock import Clock
from devconnect.ports.gateway import EndedSessions
from devconnect.ports.reads import Reads, SessionView, UserView
from devconnect.settings import Settings
from web.cookies import Cookies
from web.cors import from_our_pages, origin_allowed
from web.problems import ProblemError, not_logged_in
from web.reads import ReadModels
from web.tokens import Claims, Tokens
from web.who import Caller

_AUTHORIZATION = istr("Authorization")


class Gate:
    """Lets people in. A session counts as open where nobody who may know says otherwise."""

    def __init__(
        self,
        tokens: Tokens,
        reads: ReadModels,
        *,
        ends: EndedSessions,
        cookies: Cookies,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._tokens, self._reads, self._ends = tokens, reads, ends
        self._cookies, self._clock, self._settings = cookies, clock, settings
        self._cache: Reads = reads.cache

    def at_hand(self, request: web.Request) -> Caller | None:
        """Who asks, where that is known without asking anybody; None says nothing: ask `admit`."""
        header = request.headers.get(_AUTHORIZATION)
        if header is None:
            token = self._token(request)
        elif header[:7].lower() == "bearer ":
            token = header[7:]
        else:
            return None
        claims = self._tokens.read(token)
        if claims is None or self._ends.ended(claims.session):
            return None
        found = self._cache.remembered(claims.session, claims.user)
        if found is None or not self._is_open(*found, claims):
            return None
        return Caller(found[1], found[0], "cache")

    async def admit(self, request: web.Request) -> Caller:
        """Who asks; ProblemError(not_logged_in) when that can't be said, or their session is over."""
        return await self.let_in(self.claims(request))

    def claims(self, request: web.Request) -> Claims:
        """What the request's token says; ProblemError(not_logged_in) unless it is one of ours, and not over."""
        return self._read(self._token(request))

    def socket_claims(self, request: web.Request, token: str | None) -> Claims:
        """The same for a websocket, whose client may give its token beside the request.

        A cookie counts only where one of our own pages has sent it, though this is a GET.
        """
        if token is not None:
            return self._read(token)
        if "Authorization" not in request.headers and not from_our_pages(request, self._settings):
            raise not_logged_in("Give the token as `auth: {token}`, or log in with cookies on a page of this service.")
        return self.claims(request)

    def _read(self, token: str) -> Claims:
        claims = self._tokens.read(token)
        if claims is None:
            raise not_logged_in(
                "This token is none of ours, or it is over: renew it, or log in again.", "invalid_token"
            )
        if self._ends.ended(claims.session):
            raise _over()
        return claims

    def holds(self, claims: Claims) -> Caller | None:
        """Who asks by claims that were good once, where that is known without asking anybody."""
        if self._ends.ended(claims.session):
            return None
        found = self._cache.remembered(claims.session, claims.user)
        return Caller(found[1], found[0], "cache") if found is not None and self._is_open(*found, claims) else None

    async def let_in(self, claims: Claims) -> Caller:
        """Who asks by these claims; ProblemError(not_logged_in) when their session is over, or isn't known."""
        reading = self._reads.reading()
        session, user = await reading.session(claims.session, claims.user)
        if self._ends.ended(claims.session) or (session is not None and session.ended):
            raise _over()
        if session is None or user is None:
            raise not_logged_in("This session isn't known (yet): try again in a moment, or log in again.")
        if not self._is_open(session, user, claims):
            raise _over()
        return Caller(user, session, reading.source)

    def _is_open(self, session: SessionView, user: UserView, claims: Claims) -> bool:
        now = self._clock.now_ms()
        is_theirs = session.user == claims.user == user.id
        return is_theirs and not session.ended and not user.deleted and session.expires_at > now

    def _token(self, request: web.Request) -> str:
        """The token of the header or, where there is none, of the cookie: that one only if our own pages sent it."""
        header = request.headers.get("Authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer" or not token:
                raise not_logged_in()
            return token.strip()
        cookie = self._cookies.access(request) if "Cookie" in request.headers else None
        if not cookie:
            raise not_logged_in()
        self.insist_on_origin(request)
        return cookie

    def insist_on_origin(self, request: web.Request) -> None:
        """ProblemError(origin_not_allowed) for what another site may have had a browser send with our cookies."""
        if not origin_allowed(request, self._settings):
            raise ProblemError(
                "origin_not_allowed", "With a cookie only pages of this service may ask: send the token as a header."
            )


def has_credentials(request: web.Request, cookies: Cookies) -> bool:
    """Whether somebody says who they are."""
    return "Authorization" in request.headers or ("Cookie" in request.headers and bool(cookies.access(request)))


def require_role(caller: Caller, roles: Collection[Role]) -> None:
    """ProblemError(not_allowed) unless the caller has one of these roles."""
    if caller.role not in roles:
        raise ProblemError(
            "not_allowed", f"Only {' and '.join(sorted(roles))} may do this: ask an operator for the role."
        )


def _over() -> ProblemError:
    return not_logged_in("This session is over: log in again.", "invalid_token")
