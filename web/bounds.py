"""What a client may send and how long it may take, and what is said to one that goes beyond."""

from typing import NamedTuple

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from devconnect.settings import Settings
from web.problems import ProblemError, problem_response

#: Bytes of a path with its query, of one header, and of a whole head; and how many headers. aiohttp tells of the first
#: two by their number alone, so they differ.
LINE_MAX, FIELD_MAX, HEAD_MAX, HEADERS_MAX = 8_000, 8_192, 32 * 1024, 100
#: Seconds for which what a client still sends is read and dropped after an answer that ends its connection: closing on
#: unread bytes would take the answer away from it.
LINGER = 2.0
#: Seconds for a closed connection to be rid of what is left to send, and for a handler to end when it is told to.
CLOSE_SECONDS = 5.0

#: Seconds that this one request may take, where its handler needs longer than others: `request[ALLOWANCE] = 60.0`.
ALLOWANCE: web.RequestKey[float] = web.RequestKey("allowance", float)


class Limits(NamedTuple):
    """Seconds that things may take, and how many connections there may be."""

    head: float
    body: float
    send: float
    idle: float
    request: float
    command: float
    connections: int
    #: Seconds for one look at every connection: how late it may be noticed that time is over.
    sweep: float = 1.0

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """As the settings have them."""
        return cls(
            head=settings.head_timeout,
            body=settings.body_timeout,
            send=settings.send_timeout,
            idle=settings.idle_timeout,
            request=settings.request_timeout,
            command=settings.request_timeout + settings.result_wait,
            connections=settings.connections,
        )


class SlowBodyError(Exception):
    """A body wasn't all there in time."""


class HeadTooLargeError(Exception):
    """The head of a request is larger than all of one may be."""


def raw(problem: ProblemError) -> bytes:
    """A problem as the last bytes of a connection, for where there is no request that could be answered."""
    response = problem_response(problem)
    headers = {**response.headers, "Content-Length": response.content_length, "Connection": "close"}
    lines = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{name}: {value}" for name, value in headers.items())]
    body = response.body
    return "\r\n".join([*lines, "", ""]).encode() + (body if isinstance(body, bytes) else b"")


SLOW_HEAD = raw(ProblemError("request_timeout", "The head of the request was not all there in time."))
TURNED_AWAY = raw(ProblemError("too_busy", "There are too many connections: try again in a moment."))


def what_is_wrong(exc: BaseException) -> ProblemError:
    """What is told of a head that isn't taken."""
    if isinstance(exc, HeadTooLargeError):
        return ProblemError("headers_too_large", f"The head of a request has at most {HEAD_MAX:,} bytes.")
    if isinstance(exc, LineTooLong):
        if exc.args[1] == LINE_MAX:
            return ProblemError("uri_too_long", f"A path with its query has at most {LINE_MAX:,} bytes.")
        return ProblemError("headers_too_large", f"A header has at most {FIELD_MAX:,} bytes.")
    if "Too many headers" in str(exc):
        return ProblemError("headers_too_large", f"A request has at most {HEADERS_MAX} headers.")
    return ProblemError("malformed_request", "This can't be read as HTTP.")
