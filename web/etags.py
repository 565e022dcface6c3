"""Entity tags: one for every JSON answer to a GET, and what If-None-Match says about them (RFC 9110)."""

import hashlib
import re

from aiohttp import hdrs, web

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
#: The headers of an answer that go with its body, and not with a 304.
_OF_BODY = (hdrs.CONTENT_TYPE, hdrs.CONTENT_LENGTH, hdrs.CONTENT_ENCODING)


def body_tag(body: bytes | bytearray) -> str:
    """A weak tag: what is sent may be compressed or not."""
    return f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'


def version_tag(version: int) -> str:
    """The strong tag of something that counts its versions (its seq): no digest is made of it."""
    return f'"{version}"'


def none_match(asked: str, tag: str) -> bool:
    """Whether an If-None-Match names this tag; weak and strong are one here."""
    if asked == tag or asked.strip() == "*":
        return True
    opaque = tag.removeprefix("W/")
    return any(f'"{found}"' == opaque for _, found in _TAG.findall(asked))


def not_modified(response: web.Response) -> None:
    """Turn an answer into the 304 that says the same: its headers stay, its body goes."""
    response.set_status(304)
    response.body = None
    for name in _OF_BODY:
        response.headers.popall(name, None)
