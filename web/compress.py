"""Compression: gzip for large answers to those who ask for it, and never for one with a secret in it."""

import asyncio
import zlib
from functools import lru_cache

from aiohttp import hdrs, web

#: Bytes from which on it pays, and from which on it takes so long that a thread does it.
LEAST, LONG = 1024, 64 * 1024
#: The quickest level: on JSON the best ones save a tenth more and take three times as long.
LEVEL = 1
#: zlib's name for "with gzip's header and trailer".
_GZIP = 31
_TYPES = ("application/json", "application/problem+json", "text/", "application/javascript", "image/svg+xml")

#: Set on an answer with a secret in it: its length when compressed would tell of it to who can add to it (BREACH).
SECRET: web.ResponseKey[bool] = web.ResponseKey("secret", bool)


def secret(response: web.Response) -> web.Response:
    """The answer, marked as one with a secret in it."""
    response[SECRET] = True
    return response


def is_compressible(response: web.Response) -> bool:
    """Whether the answer may be compressed at all. One with a strong tag isn't: the tag names these very bytes."""
    headers = response.headers
    # Its own fields, since asking a response what it holds takes an exception where it doesn't.
    if hdrs.CONTENT_ENCODING in headers or SECRET in response._state or response._cookies:
        return False
    if not headers.get(hdrs.ETAG, "W/").startswith("W/"):
        return False
    return headers.get(hdrs.CONTENT_TYPE, "").startswith(_TYPES)


@lru_cache(64)
def takes_gzip(accept: str) -> bool:
    """Whether an Accept-Encoding takes gzip, and likes it no less than the plain body."""
    likes: dict[str, float] = {}
    for part in accept.lower().split(","):
        coding, _, rest = part.partition(";")
        likes[coding.strip()] = _quality(rest)
    gzip = likes.get("gzip", likes.get("x-gzip", likes.get("*", 0.0)))
    return gzip > 0 and gzip >= likes.get("identity", 0.0)


def _quality(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if not name.strip():
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0


def is_asked_for(request: web.Request, response: web.Response) -> bool:
    """Whether this answer is to be compressed; says in it that this depends on the request."""
    if not is_compressible(response):
        return False
    before = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = "Accept-Encoding" if before is None else f"{before}, Accept-Encoding"
    return takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))


async def compress(response: web.StreamResponse) -> None:
    """Put the compressed body in the place of the plain one, where it is shorter."""
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(body, bytes):
        return
    if len(body) < LONG:
        packed = zlib.compress(body, LEVEL, wbits=_GZIP)
    else:
        packed = await asyncio.to_thread(zlib.compress, body, LEVEL, wbits=_GZIP)
    if len(packed) < len(body):
        response.body = packed  # type: ignore[attr-defined] # a Response, as its body is one of bytes
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
