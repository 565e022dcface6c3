"""The outermost layer: whatever a handler does, an answer of ours leaves, dressed, counted and timed."""

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web
from multidict import istr

from devconnect.ports.gateway import BusyError
from devconnect.ports.metrics import HTTP_REQUESTS, HTTP_SECONDS, Metrics
from devconnect.ports.truth import UnavailableError
from devconnect.settings import Settings
from web import compress, cors
from web.connection import SlowBodyError, is_overdue
from web.etags import body_tag, none_match, not_modified
from web.logs import report
from web.problems import ProblemError, problem_response, unavailable
from web.requests import route_of

#: The largest body that is read.
BODY_MAX = 64 * 1024

REQUEST_ID = istr("Request-Id")
#: The id of a request, where somebody has asked for it.
_ID: web.RequestKey[str] = web.RequestKey("id", str)
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.A)
#: Ids of our own: this process's, and a number.
_PROCESS, _NUMBERS = secrets.token_hex(6), itertools.count(1)

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
#: What a handler may say otherwise.
_HEADERS = {
    istr(hdrs.CACHE_CONTROL): "no-store",
    istr("Content-Security-Policy"): "default-src 'none'; frame-ancestors 'none'",
    istr("Cross-Origin-Resource-Policy"): "same-origin",
    istr("Referrer-Policy"): "no-referrer",
    istr("X-Content-Type-Options"): "nosniff",
    istr(hdrs.SERVER): "devconnect",
}
_HSTS, _HSTS_VALUE = istr("Strict-Transport-Security"), "max-age=31536000"
_JSON = "application/json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: As aiohttp calls it: `handler` by its name.
Middleware = Callable[..., Any]


def edge(settings: Settings, metrics: Metrics) -> Middleware:
    """The middleware that turns every failure into a problem, dresses every answer and counts it."""
    tally, dress = Tally(metrics), Dresser(settings)

    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.perf_counter()
        try:
            response = await handler(request)
        except Exception as exc:
            response = dress.preflight(request, exc) or answer_to(request, exc)
        except asyncio.CancelledError:
            if not is_overdue(request):
                raise
            response = answer_to(request, TimeoutError())
        if not response.prepared:
            await dress(request, response)
        tally.add(request, response.status, time.perf_counter() - began)
        return response

    return handle


class Tally:
    """Counts answers under method, route and status; what does that is kept by route."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known: dict[tuple[object, str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}

    def add(self, request: web.Request, status: int, seconds: float) -> None:
        """One answer more."""
        route = request.match_info.route
        count, observe = self._known.get((route, request.method, status)) or self._learn(request, route, status)
        count()
        observe(seconds)

    def _learn(
        self, request: web.Request, route: web.AbstractRoute, status: int
    ) -> tuple[Callable[[], None], Callable[[float], None]]:
        method = request.method if request.method in _METHODS else "other"
        # The route of what matches none is made anew for each request.
        key = (None if route.resource is None else route, method, status)
        found = self._known.get(key)
        if found is None:
            template = route_of(request)
            found = self._known[key] = (
                self._metrics.counter(HTTP_REQUESTS, method, template, str(status)),
                self._metrics.histogram(HTTP_SECONDS, method, template),
            )
        return found


class Dresser:
    """Gives an answer all that it isn't its handler's business to think of."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._origins = frozenset(settings.cors_origins)
        self._own = (settings.public_url or "").startswith("https:")
        self._headers = {**_HEADERS, _HSTS: _HSTS_VALUE} if self._own else _HEADERS
        #: Whether it depends on the request if it came by TLS.
        self._asks_proxy = bool(settings.trusted_proxies) and not self._own

    def preflight(self, request: web.Request, exc: Exception) -> web.Response | None:
        """The answer to a browser that asks what a page of the list may do at a path that there is; else None."""
        if not self._origins or not isinstance(exc, web.HTTPMethodNotAllowed) or not cors.is_preflight(request):
            return None
        return cors.preflight(exc.allowed_methods) if request.headers.get("Origin") in self._origins else None

    async def __call__(self, request: web.Request, response: web.StreamResponse) -> None:
        """Headers, the entity tag or 304, the compressed body."""
        headers = response.headers
        if hdrs.CACHE_CONTROL in headers or "Content-Security-Policy" in headers:
            for name, value in self._headers.items():
                headers.setdefault(name, value)
        else:
            headers.extend(self._headers)
        headers[REQUEST_ID] = request_id(request)
        if self._asks_proxy and cors.came_by_tls(request, self._settings):
            headers[_HSTS] = _HSTS_VALUE
        if self._origins:
            cors.vary(headers, "Origin")
            origin = request.headers.get("Origin")
            if origin in self._origins:
                cors.allow(headers, origin)
        if not isinstance(response, web.Response):
            return
        body = response.body
        if isinstance(body, (bytes, bytearray)) and body:
            await self._dress_body(request, response, body)

    async def _dress_body(self, request: web.Request, response: web.Response, body: bytes | bytearray) -> None:
        headers = response.headers
        if request.method in ("GET", "HEAD") and response.status == 200:
            tag = headers.get(hdrs.ETAG)
            if tag is None and headers.get(hdrs.CONTENT_TYPE) == _JSON:
                tag = headers[hdrs.ETAG] = body_tag(body)
            asked = request.headers.get(hdrs.IF_NONE_MATCH)
            if asked is not None and tag is not None and none_match(asked, tag):
                not_modified(response)
                return
        if len(body) > compress.LEAST and compress.is_compressible(response):
            cors.vary(headers, hdrs.ACCEPT_ENCODING)
            if compress.takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
                await compress.compress(response, body)


def request_id(request: web.BaseRequest) -> str:
    """The request's id: the one that was given, where it can be one, or our own; the same each time."""
    known = request.get(_ID) if len(request) else None
    if known is None:
        given = request.headers.get(REQUEST_ID)
        known = f"{_PROCESS}{next(_NUMBERS):x}" if given is None or not _GIVEN_ID.fullmatch(given) else given
        request[_ID] = known
    return known


def answer_to(request: web.Request, exc: Exception) -> web.Response:
    """The answer to a request that ended with an exception."""
    response = problem_response(problem_of(request, exc))
    if isinstance(exc, SlowBodyError | web.RequestPayloadError):
        # The rest of its body is nowhere to be found, and so isn't the next request.
        response.force_close()
    return response


def problem_of(request: web.Request, exc: Exception) -> ProblemError:
    """What the asker is told of a failure: never anything of our insides."""
    match exc:
        case ProblemError():
            return exc
        case UnavailableError():
            return unavailable()
        case BusyError():
            return ProblemError("too_busy", "Too many ask for this at once: try again in a moment.")
        case TimeoutError() if is_overdue(request):
            return ProblemError(
                "timed_out", "Try again in a moment. A command may be carried out all the same: repeat it by its key."
            )
        case SlowBodyError():
            return ProblemError("request_timeout", "The body was not all there in time: send it again.")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(exc.allowed_methods))
            return ProblemError("method_not_allowed", f"Here goes: {allowed}.", headers={"Allow": allowed})
        case web.HTTPNotFound():
            return ProblemError("not_found", "There is nothing at this path: `GET /` tells what there is.")
        case web.HTTPRequestEntityTooLarge():
            return ProblemError("body_too_large", f"A body has at most {BODY_MAX:,} bytes.")
        case web.HTTPException() | web.RequestPayloadError():
            return ProblemError("malformed_request", "This request can't be read as HTTP.")
        case _:
            return _our_mistake(request, route_of(request), exc)


def answer_outside(request: web.BaseRequest, exc: Exception, metrics: Metrics) -> web.Response:
    """The answer to what failed before the middleware had it, or behind it."""
    match exc:
        case web.HTTPExpectationFailed():
            problem = ProblemError("expectation_failed", "`Expect: 100-continue` is all that can be expected.")
        case web.HTTPException():
            problem = ProblemError("malformed_request", "This request can't be read as HTTP.")
        case _:
            problem = _our_mistake(request, "unmatched", exc)
    return refusal_of(request, problem, metrics)


def refusal_of(request: web.BaseRequest, problem: ProblemError, metrics: Metrics) -> web.Response:
    """A problem as the answer to what no route has seen, dressed and counted."""
    response = problem_response(problem)
    response.headers.extend(_HEADERS)
    response.headers[REQUEST_ID] = request_id(request)
    metrics.count(HTTP_REQUESTS, "other", "unmatched", str(response.status))
    return response


def _our_mistake(request: web.BaseRequest, route: str, exc: Exception) -> ProblemError:
    reference = request_id(request)
    report(request.method, route, exc, reference)
    return ProblemError("internal_error", f"This is our mistake. Tell us the reference {reference}.")
