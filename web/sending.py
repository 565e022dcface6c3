"""The quick way for an answer that is all there: its bytes, made at once.

aiohttp's own way is through calls that could wait for one another and hardly ever do: a third of what a request costs.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeGuard

from aiohttp import hdrs, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_writer import HttpVersion11, _serialize_headers

#: Statuses whose answers have no body, and so no length.
_BODILESS = frozenset((204, 304))


class Common(NamedTuple):
    """Headers that are the same for many answers, and their bytes."""

    headers: Mapping[str, str]
    raw: bytes

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Common":
        """From constants: they aren't looked at again."""
        return cls(headers, "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode())


def is_plain(response: web.StreamResponse, request: web.BaseRequest) -> TypeGuard[web.Response]:
    """Whether this is nothing but a status, headers and a body in one piece. All else is left to aiohttp."""
    if response.__class__ is not web.Response or request.version is not HttpVersion11 or request.method == "HEAD":
        return False
    # Its own fields, since each of its properties is a call.
    if response._status in _BODILESS or response._status < 200:
        return False
    if response._cookies or response._chunked or response._compression:
        return False
    headers, body = response._headers, response._body
    if body is not None and (body.__class__ is not bytes or hdrs.CONTENT_TYPE not in headers):
        return False
    return hdrs.CONTENT_LENGTH not in headers and hdrs.CONNECTION not in headers and hdrs.DATE not in headers


def encoded(response: web.Response, common: Common) -> bytes:
    """The answer as it is sent."""
    body = response._body if isinstance(response._body, bytes) else b""
    own = _serialize_headers(f"HTTP/1.1 {response._status} {response._reason}", response._headers)
    last = "" if response._keep_alive else "Connection: close\r\n"
    rest = f"{last}Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}\r\n\r\n"
    # What is left out is the empty line at the end of the head.
    return b"".join((own[:-2], common.raw, rest.encode(), body))
