"""The outermost layer: whatever a handler does, an answer of ours leaves, dressed, counted and timed."""

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import HttpVersion11, hdrs, web
from multidict import CIMultiDict, istr

from devconnect.ports.gateway import BusyError
from devconnect.ports.metrics import HTTP_REQUESTS, HTTP_SECONDS, Metrics
from devconnect.ports.truth import UnavailableError
from devconnect.settings import Settings
from web import compress, cors
from web.bounds import SlowBodyError
from web.connection import Connection, is_overdue
from web.etags import body_tag, none_match, not_modified
from web.logs import report
from web.problems import ProblemError, our_mistake, problem_response, unavailable
from web.sending import Common

#: The largest body that is read.
BODY_MAX = 64 * 1024

REQUEST_ID = istr("Request-Id")
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.A)
#: Ids of our own: this process's, and a number.
_PROCESS, _NUMBERS = secrets.token_hex(6), itertools.count(1)

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_READING = ("GET", "HEAD")
#: Matches every path: what no other route has. And how aiohttp writes that.
ANYTHING_ELSE, _ANYTHING = "/{anything:.*}", "/{anything}"

_CSP = istr("Content-Security-Policy")
#: What a handler may say otherwise.
_HEADERS: dict[str, str] = {
    istr(hdrs.CACHE_CONTROL): "no-store",
    _CSP: "default-src 'none'; frame-ancestors 'none'",
    istr("Cross-Origin-Resource-Policy"): "same-origin",
    istr("Referrer-Policy"): "no-referrer",
    istr("X-Content-Type-Options"): "nosniff",
    istr(hdrs.SERVER): "devconnect",
}
_HSTS, _HSTS_VALUE = istr("Strict-Transport-Security"), "max-age=31536000"
_JSON = "application/json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: What counts an answer, and what takes its time.
Record = tuple[Callable[[], None], Callable[[float], None]]


class Edge:
    """Around every handler: turns failures into problems, dresses answers, counts them.

    It is put around the handlers themselves. As a middleware it would cost two calls more for every request, since
    aiohttp puts one of its own beside those of others.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._dresser = Dresser(settings)

    def around(self, routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
        """These routes, and one for all that matches none of them."""
        found = []
        for each in (*routes, web.route("*", ANYTHING_ELSE, _nowhere)):
            handler = self._around(each.handler, "unmatched" if each.path == ANYTHING_ELSE else each.path)
            kwargs = {**each.kwargs, "expect_handler": _expect}
            found.append(web.RouteDef(each.method, each.path, handler, kwargs))
        return found

    def _around(self, handler: Handler, template: str) -> Handler:
        records: dict[tuple[str, int], Record] = {}
        dresser = self._dresser

        async def handle(request: web.Request) -> web.StreamResponse:
            began = time.perf_counter()
            try:
                response = await handler(request)
            except Exception as exc:
                response = dresser.preflight(request, exc) or answer_to(request, template, exc)
            except asyncio.CancelledError:
                if not is_overdue(request):
                    raise
                response = answer_to(request, template, TimeoutError())
            if not response.prepared and dresser.dress(request, response):
                await compress.compress(response)
            status = response.status
            record = records.get((request.method, status)) or self._record(records, template, request.method, status)
            record[0]()
            record[1](time.perf_counter() - began)
            return response

        return handle

    def _record(self, records: dict[tuple[str, int], Record], template: str, method: str, status: int) -> Record:
        known = method if method in _METHODS else "other"
        found = records.get((known, status))
        if found is None:
            found = records[known, status] = (
                self._metrics.counter(HTTP_REQUESTS, known, template, str(status)),
                self._metrics.histogram(HTTP_SECONDS, known, template),
            )
        return found


async def _expect(request: web.Request) -> None:
    """Let a body come. aiohttp's own would put into its answer what was expected, and not all of that can be."""
    if request.version != HttpVersion11:
        return
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # nothing of the answer is sent yet


async def _nowhere(request: web.Request) -> web.StreamResponse:
    """Says what goes here, if anything does."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource.canonical != _ANYTHING:
            allowed |= (await resource.resolve(request))[1]
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    raise web.HTTPNotFound


class Dresser:
    """Gives an answer all that it isn't its handler's business to think of."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._origins = frozenset(settings.cors_origins)
        is_tls = (settings.public_url or "").startswith("https:")
        self._common = Common.of({**_HEADERS, _HSTS: _HSTS_VALUE} if is_tls else _HEADERS)
        #: Whether it depends on the request if it came by TLS.
        self._asks_proxy = bool(settings.trusted_proxies) and not is_tls

    def preflight(self, request: web.Request, exc: Exception) -> web.Response | None:
        """The answer to a browser that asks what a page of the list may do at a path that there is; else None."""
        if not self._origins or not isinstance(exc, web.HTTPMethodNotAllowed) or not cors.is_preflight(request):
            return None
        return cors.preflight(exc.allowed_methods) if request.headers.get(hdrs.ORIGIN) in self._origins else None

    def dress(self, request: web.Request, response: web.StreamResponse) -> bool:
        """Headers, the entity tag or 304; whether the body is still to be compressed."""
        self._dress_head(request, response)
        if not isinstance(response, web.Response):
            return False
        body = response.body
        if not isinstance(body, bytes):
            return False
        if request.method in _READING and response.status == 200 and _is_unchanged(request, response.headers, body):
            not_modified(response)
            return False
        return len(body) > compress.LEAST and compress.is_asked_for(request, response)

    def _dress_head(self, request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        if hdrs.CACHE_CONTROL in headers or _CSP in headers:
            for name, value in self._common.headers.items():
                headers.setdefault(name, value)
        elif isinstance(connection := request.protocol, Connection):
            # They go out with the answer, as bytes that are there already.
            connection.common = self._common
        else:
            headers.extend(self._common.headers)
        if REQUEST_ID not in headers:
            headers[REQUEST_ID] = request_id(request)
        if self._origins:
            vary(headers, "Origin")
            origin = request.headers.get(hdrs.ORIGIN)
            if origin in self._origins:
                cors.allow(headers, origin)
        if self._asks_proxy and cors.came_by_tls(request, self._settings):
            headers[_HSTS] = _HSTS_VALUE


def vary(headers: CIMultiDict[str], name: str) -> None:
    """Say that the answer depends on a header of the request."""
    before = headers.get(hdrs.VARY)
    headers[hdrs.VARY] = name if before is None else f"{before}, {name}"


def _is_unchanged(request: web.Request, headers: CIMultiDict[str], body: bytes) -> bool:
    """Whether the asker has this very body already; gives one of JSON its tag, unless it has its own."""
    tag = headers.get(hdrs.ETAG)
    if tag is None:
        if not headers.get(hdrs.CONTENT_TYPE, "").startswith(_JSON):
            return False
        tag = headers[hdrs.ETAG] = body_tag(body)
    asked = request.headers.get(hdrs.IF_NONE_MATCH)
    return asked is not None and none_match(asked, tag)


def request_id(request: web.BaseRequest) -> str:
    """The id that was given, where it can be one, or a new one."""
    given = request.headers.get(REQUEST_ID)
    return f"{_PROCESS}{next(_NUMBERS):x}" if given is None or not _GIVEN_ID.fullmatch(given) else given


def answer_to(request: web.BaseRequest, route: str, exc: Exception) -> web.Response:
    """The answer to a request that ended with an exception: never anything of our insides."""
    problem = problem_of(request, exc)
    if problem is None:
        reference = request_id(request)
        report(request.method, route, exc, reference)
        problem = our_mistake(reference)
        problem.headers[REQUEST_ID] = reference
    response = problem_response(problem)
    if isinstance(exc, SlowBodyError | web.RequestPayloadError):
        # The rest of its body is nowhere to be found, and so isn't the next request.
        response.force_close()
    return response


def problem_of(request: web.BaseRequest, exc: Exception) -> ProblemError | None:
    """What the asker is told of a failure; None of one that nobody expected."""
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
        case web.HTTPException() | web.RequestPayloadError():
            return _problem_of_http(exc)
        case _:
            return None


def _problem_of_http(exc: Exception) -> ProblemError:
    match exc:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(exc.allowed_methods))
            return ProblemError("method_not_allowed", f"Here goes: {allowed}.", headers={"Allow": allowed})
        case web.HTTPNotFound():
            return ProblemError("not_found", "There is nothing at this path: `GET /` tells what there is.")
        case web.HTTPRequestEntityTooLarge():
            return ProblemError("body_too_large", f"A body has at most {BODY_MAX:,} bytes.")
        case web.HTTPExpectationFailed():
            return ProblemError("expectation_failed", "`Expect: 100-continue` is all that can be expected.")
        case _:
            return ProblemError("malformed_request", "This request can't be read as HTTP.")


def answer_outside(request: web.BaseRequest, exc: Exception, metrics: Metrics) -> web.Response:
    """The answer to what no route has seen, or to what went wrong behind it, dressed and counted."""
    response = answer_to(request, "unmatched", exc)
    response.headers.extend(_HEADERS)
    if REQUEST_ID not in response.headers:
        response.headers[REQUEST_ID] = request_id(request)
    method = request.method if request.method in _METHODS else "other"
    metrics.count(HTTP_REQUESTS, method, "unmatched", str(response.status))
    return response
