"""The outermost layer: whatever a handler does, an answer of ours leaves, counted and timed."""

import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from devconnect.ports.gateway import BusyError
from devconnect.ports.metrics import HTTP_REQUESTS, HTTP_SECONDS
from devconnect.ports.truth import UnavailableError
from web.gateway import GATEWAY
from web.logs import report
from web.problems import ProblemError, problem_response, unavailable
from web.requests import route_of

#: The largest body that is read.
BODY_MAX = 64 * 1024

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "devconnect"}


@web.middleware
async def edge(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn every failure into a problem, and count the answer under its route's template."""
    began = time.perf_counter()
    response: web.StreamResponse
    try:
        response = await handler(request)
    except Exception as exc:
        response = problem_response(problem_of(request, exc))
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    metrics = request.app[GATEWAY].parts.metrics
    method = request.method if request.method in _METHODS else "other"
    route = route_of(request)
    metrics.count(HTTP_REQUESTS, method, route, str(response.status))
    metrics.observe(HTTP_SECONDS, method, route, value=time.perf_counter() - began)
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
            reference = report(request.method, route_of(request), exc)
            return ProblemError("internal_error", f"This is our mistake. Tell us the reference {reference}.")
