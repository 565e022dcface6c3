"""What a request holds: its body, its page, the ids in its path. Whatever isn't as it must be is a problem."""

import re
from collections.abc import Awaitable, Collection
from typing import NamedTuple, TypeVar

import msgspec
from aiohttp import web

from web.ids import is_id
from web.problems import FieldError, ProblemError, bad_query, user_unknown

B = TypeVar("B", bound=msgspec.Struct)
P = TypeVar("P")

LIMIT_MAX, LIMIT = 200, 50
CURSOR_MAX = 500

_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.S)
_NAMED = re.compile(r"^Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`$", re.S)


class PageOf(NamedTuple):
    """Which page is asked for."""

    cursor: str | None
    limit: int


def route_of(request: web.Request) -> str:
    """The template of the request's route, or "unmatched"."""
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


async def read_body(request: web.Request, kind: type[B]) -> B:
    """The JSON body as a value of this type."""
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise ProblemError("unsupported_media_type", "Send the body as `Content-Type: application/json`, in UTF-8.")
    raw = await request.read()
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as exc:
        raise _invalid(str(exc)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ProblemError("malformed_json", f"The body must be one JSON object in UTF-8: {exc}.") from None


def _invalid(text: str) -> ProblemError:
    """msgspec's words, taken apart into field and message."""
    match = _PLACE.match(text)
    what, path = (match["what"], match["path"] or "") if match else (text, "")
    named = _NAMED.match(what)
    if named:
        path = f"{path}.{named['name']}" if path else named["name"]
        what = "is required" if named["what"] == "missing required" else "is no field of this request"
    else:
        what = what.replace("`", "")
        what = what[:1].lower() + what[1:]
    field = path.removesuffix("[...]")[:100]
    detail = f"`{field}`: {what}" if field else what
    return ProblemError("invalid_body", detail, errors=(FieldError(field, what),) if field else ())


def read_page(request: web.Request) -> PageOf:
    """`limit` and `cursor` of the query; ProblemError(invalid_query) for anything else in it."""
    only(request, ("limit", "cursor"))
    raw, cursor = request.query.get("limit", str(LIMIT)), request.query.get("cursor")
    if not re.fullmatch(r"[0-9]{1,3}", raw) or not 1 <= int(raw) <= LIMIT_MAX:
        raise bad_query("limit", f"is a whole number from 1 to {LIMIT_MAX}")
    if cursor is not None and not 1 <= len(cursor) <= CURSOR_MAX:
        raise bad_cursor()
    return PageOf(cursor, int(raw))


async def paged(asked: PageOf, read: Awaitable[P]) -> P:
    """The page that is read; ProblemError(invalid_query) when its cursor is none that we gave."""
    try:
        return await read
    except ValueError:
        if asked.cursor is None:
            raise
        raise bad_cursor() from None


def bad_cursor() -> ProblemError:
    """The cursor of a query is none that we gave."""
    return bad_query("cursor", "is the `next` of the page before; leave it out for the first page")


def only(request: web.Request, names: Collection[str]) -> None:
    """Refuse a query with other parameters than these, or with one of them twice."""
    for name in request.query:
        if name not in names:
            raise bad_query(name[:100], "is no parameter of this request")
        if len(request.query.getall(name)) > 1:
            raise bad_query(name, "was given twice")


def user_in_path(request: web.Request) -> str:
    """The `{user}` of the path; ProblemError(user_unknown) when it is no id of ours."""
    return known_user(request.match_info["user"])


def known_user(user: str) -> str:
    """A user id as given; ProblemError(user_unknown) when it is no id of ours, and so nobody's."""
    if not is_id(user):
        raise user_unknown()
    return user
