"""What a request holds: its body, its page, the ids in its path. Whatever isn't as it must be is a problem."""

import re
from collections.abc import Awaitable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from yarl import URL

from devconnect.ports.reads import CursorExpiredError
from web.patterns import said
from web.problems import FieldError, ProblemError, bad_query
from web.queries import PageQuery, Query

B = TypeVar("B", bound=msgspec.Struct)
Q = TypeVar("Q", bound=Query)
P = TypeVar("P")

#: Queries that are remembered as they were understood.
UNDERSTOOD = 1_000

_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.S)
_NAMED = re.compile(r"^Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`$", re.S)


def route_of(request: web.Request) -> str:
    """The template of the request's route, or "unmatched"."""
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


async def read_body(request: web.Request, kind: type[B]) -> B:
    """The JSON body as a value of this type."""
    if request.headers.get("Content-Type") != "application/json" and not _is_json(request):
        raise ProblemError("unsupported_media_type", "Send the body as `Content-Type: application/json`, in UTF-8.")
    content = request.content
    # One that is here already needn't be waited for, which takes aiohttp a dozen calls.
    raw = content.read_nowait() if content.is_eof() else await request.read()
    if len(raw) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(max_size=request.client_max_size, actual_size=len(raw))
    try:
        return _decoded(raw, kind)
    except msgspec.ValidationError as exc:
        raise invalid(str(exc)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ProblemError("malformed_json", f"The body must be one JSON object in UTF-8: {exc}.") from None


def _decoded(raw: bytes, kind: type[B]) -> B:
    """The value; a whole number that is written with a fraction (1.0) is one in JSON, and so it is here."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as exc:
        if not str(exc).startswith("Expected `int`, got `float`"):
            raise
        found = msgspec.json.decode(raw, type=dict[str, Any])
        return msgspec.convert({name: whole(value) for name, value in found.items()}, kind)


def whole(value: Any) -> Any:
    """A number that is whole, however it is written."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_json(request: web.Request) -> bool:
    charset = (request.charset or "utf-8").lower()
    return request.content_type == "application/json" and charset in ("utf-8", "utf8")


def invalid(text: str) -> ProblemError:
    """A body that isn't as it must be, in msgspec's words."""
    field, what = _named(text)
    detail = f"`{field}`: {what}" if field else what
    return ProblemError("invalid_body", detail, errors=(FieldError(field, what),) if field else ())


def _named(text: str) -> tuple[str, str]:
    """msgspec's words, taken apart into field and message."""
    match = _PLACE.match(text)
    what, path = (match["what"], match["path"] or "") if match else (text, "")
    named = _NAMED.match(what)
    if named:
        path = f"{path}.{named['name']}" if path else named["name"]
        what = "is required" if named["what"] == "missing required" else "is no field of this request"
    else:
        what = said(what).replace("`", "")
        what = what[:1].lower() + what[1:]
    return path.removesuffix("[...]")[:100], what


def read_query(request: web.Request, kind: type[Q]) -> Q:
    """The query as a value of this type; ProblemError(invalid_query) for anything that isn't in it, or comes twice."""
    try:
        found: Q = _understood(request.rel_url.raw_query_string, kind)
        return found
    except msgspec.ValidationError as exc:
        field, what = _named(str(exc))
        raise bad_query(field, what.replace("field of this request", "parameter of this request")) from None


@lru_cache(UNDERSTOOD)
def _understood(raw: str, kind: type[Query]) -> Any:
    """The query that is written so: a value that doesn't change, and one that many ask for again."""
    pairs = URL.build(query_string=raw, encoded=True).query
    given = dict(pairs)
    if len(given) != len(pairs):
        twice = next(name for name in pairs if len(pairs.getall(name)) > 1)
        raise bad_query(twice[:100], "was given twice")
    return msgspec.convert(given, kind, strict=False)


async def paged(asked: PageQuery, read: Awaitable[P]) -> P:
    """The page that is read; ProblemError(invalid_query) when its cursor is none that we gave, or no longer good."""
    try:
        return await read
    except CursorExpiredError:
        raise ProblemError("cursor_expired", "This cursor is no longer good: start anew, without one.") from None
    except ValueError:
        if asked.cursor is None:
            raise
        raise bad_cursor() from None


def bad_cursor() -> ProblemError:
    """The cursor of a query is none that we gave."""
    return bad_query("cursor", "is the `next` of the page before; leave it out for the first page")
