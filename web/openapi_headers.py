"""The headers of requests and answers, as the OpenAPI document has them."""

from collections.abc import Mapping
from typing import Any

from web.operations import Operation
from web.patterns import KEY, MARK

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}


def _said(text: str, schema: Mapping[str, Any] = _TEXT, *, always: bool = False) -> dict[str, Any]:
    return {"description": text, "required": always, "schema": dict(schema)}


#: name in the document -> header.
COMPONENTS: Mapping[str, dict[str, Any]] = {
    "RateLimit-Policy": _said("The quota that this counted against: so many in a window of so many seconds."),
    "RateLimit": _said("So many are left of it, and seconds until there are more."),
    "Retry-After": _said("Seconds after which it makes sense to try again.", {**_COUNT, "minimum": 1}, always=True),
    "WWW-Authenticate": _said("RFC 6750: `Bearer`, with an `error` where a token was sent.", always=True),
    "Request-Id": _said(
        "Names this request in our logs: the one that was sent, where it is 1 to 64 of `A-Za-z0-9._-`, or a new one.",
        {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        always=True,
    ),
    "X-Source": _said(
        "Where it was read: `cache`, or `database` as soon as any of it came from there.",
        {"type": "string", "enum": ["cache", "database"]},
    ),
    "X-As-Of": _said("Everything up to this time is in it: milliseconds since 1970.", _COUNT),
    "X-Behind": _said("After Read-After, where waiting didn't help: commands that are not applied yet.", _COUNT),
    "ETag": _said("Names this state.", always=True),
    "Command-Id": _said("The id of the command.", {"type": "string", "pattern": "^[0-9a-f]{32}$"}, always=True),
    "Read-After": _said("For a later read: it waits until it shows what this did.", {**_TEXT, "pattern": MARK}),
    "Location": _said("Where to ask what became of it.", {"type": "string", "format": "uri-reference"}, always=True),
    "Set-Cookie": _said("The tokens, where `cookie` asked for that."),
}
_LIMITS = ("RateLimit-Policy", "RateLimit")


def headers(*names: str) -> dict[str, Any]:
    """References to these headers, and to the one that every answer has."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "Request-Id")}


def of_read() -> dict[str, Any]:
    """Those of an answer to a read."""
    return headers(*_LIMITS, "ETag", "X-Source", "X-As-Of", "X-Behind")


def of_command(operation: Operation, *, pending: bool) -> dict[str, Any]:
    """Those of an answer to a command, whether it is done or still to be done."""
    cookies = ("Set-Cookie",) if operation.secret else ()
    return headers(*_LIMITS, "Command-Id", "Read-After", *(("Location",) if pending else ()), *cookies)


def of_problem(status: int) -> dict[str, Any]:
    """Those of a problem."""
    match status:
        case 401:
            return headers("WWW-Authenticate")
        case 429 | 503:
            return headers("Retry-After")
        case _:
            return headers()


def parameters(operation: Operation) -> list[dict[str, Any]]:
    """Those that a request may have."""
    if operation.method == "GET":
        return [
            _parameter(
                "Read-After",
                "Of an answer to a command: wait, up to a second, until this shows what it did.",
                {"type": "string", "pattern": MARK},
            ),
            _parameter("If-None-Match", "The ETag of an earlier answer: 304 where it is still the same."),
        ]
    found = [
        _parameter(
            "Idempotency-Key",
            "Names this request: one that is repeated has the effect and the answer of the first, for 24 hours.",
            {"type": "string", "minLength": 1, "maxLength": 128, "pattern": KEY},
            "5b1f7a60-1c1e-4f0e-9a52-6a3f0c0d7e11",
        ),
        _parameter(
            "Prefer",
            "`respond-async`: answer 202 as soon as Kafka has it; `wait=1`: after so many seconds.",
            example="wait=1",
        ),
    ]
    if operation.name == "changeMe":
        found.append(_parameter("If-Match", "The ETag of `GET /v1/me`: change it only if nobody has since."))
    if operation.name == "logIn":
        found.append(_parameter("Device-Token", "What an earlier log-in from this device was given."))
    return found


def _parameter(name: str, text: str, schema: Mapping[str, Any] = _TEXT, example: str = "") -> dict[str, Any]:
    found = {"name": name, "in": "header", "required": False, "description": text, "schema": dict(schema)}
    return {**found, "example": example} if example else found
