"""The OpenAPI 3.1 document, from the very types that requests are validated by and answers are made of."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from devconnect import __version__
from devconnect.domain.analytics import TABLES
from web.answers import Accepted, ProblemAnswer
from web.operations import Operation
from web.problems import PROBLEMS

REF = "#/components/schemas/{name}"
PROBLEM_TYPE = "application/problem+json"

_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_PATH_PARAMETERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "user": ("The id of a person.", _ID),
    "session": ("The id of a session.", _ID),
    "report": ("The id of a report.", _ID),
    "command": ("The id of a command.", _ID),
    "message": ("The `seq` of a message.", {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}),
    "name": ("The name of a table.", {"type": "string", "enum": sorted(TABLES)}),
}
_TEXT = {"type": "string"}

#: Problems that any request may have, and those of some kinds of requests.
ALWAYS = (
    "malformed_request",
    "uri_too_long",
    "headers_too_large",
    "rate_limited",
    "internal_error",
    "store_unavailable",
    "timed_out",
)
WITH_QUERY = ("invalid_query", "invalid_header")
WITH_BODY = ("malformed_json", "invalid_body", "body_too_large", "unsupported_media_type", "request_timeout")
WITH_COMMAND = ("invalid_header", "idempotency_key_reused", "kafka_unavailable", "too_busy")
WHEN_PRIVATE = ("not_logged_in",)

TAGS: Mapping[str, str] = {
    "accounts": "Opening, changing and closing the own account.",
    "sessions": "Logging in and out, renewing, and setting a forgotten password.",
    "people": "Finding others.",
    "connections": "Requests, connections, blocks and reports.",
    "conversations": "Messages between two connected people.",
    "presence": "Who is here.",
    "notifications": "What the reader is told.",
    "commands": "What became of a request that was answered 202.",
    "analysts": "The tables that the fleet keeps.",
    "operators": "Tiers, roles and reports.",
}


def build(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document."""
    found = tuple(operations)
    schemas = _components(found)
    paths: dict[str, dict[str, Any]] = {}
    for operation in found:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "DevConnect",
            "version": __version__,
            "description": "Where developers find each other, connect and chat. Requests that change something are "
            "handed to Kafka, and answered with their result when it comes in time, else with 202 and where to ask.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-dc_token"},
            },
        },
    }


def _components(operations: Iterable[Operation]) -> dict[str, Any]:
    types: dict[Any, None] = dict.fromkeys((ProblemAnswer, Accepted))
    for operation in operations:
        types |= dict.fromkeys(kind for kind in (operation.body, operation.answer) if kind is not None)
    _, schemas = msgspec.json.schema_components(list(types), ref_template=REF)
    return schemas


@cache
def _ref(kind: Any) -> dict[str, Any]:
    [schema], _ = msgspec.json.schema_components([kind], ref_template=REF)
    return schema


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": {**_successes(operation), **_problems(operation)},
        "security": [{"bearer": []}, {"cookie": []}] if operation.is_private else [{}],
        "x-who": operation.who,
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(operation.body)}},
        }
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name][0],
            "schema": dict(_PATH_PARAMETERS[name][1]),
        }
        for name in names
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    schema = msgspec.json.schema(operation.query)
    fields = schema["$defs"][operation.query.__name__]
    required = fields.get("required", ())
    found = []
    for name, given in fields["properties"].items():
        one = {**given}
        choices = [choice for choice in one.pop("anyOf", ()) if choice.get("type") != "null"]
        one = {**one, **(choices[0] if choices else {})}
        if one.get("default", ...) is None:
            del one["default"]
        text = one.pop("description", "")
        found.append({"name": name, "in": "query", "required": name in required, "description": text, "schema": one})
    return found


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if operation.method == "GET":
        return [
            _header("Read-After", "Of an answer to a command: wait, up to a second, until this shows what it did."),
            _header("If-None-Match", "The ETag of an earlier answer: 304 where it is still the same."),
        ]
    found = [
        _header(
            "Idempotency-Key",
            "Names this request: one that is repeated has the effect and the answer of the first, for 24 hours.",
            {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
        ),
        _header("Prefer", "`respond-async`: answer 202 as soon as Kafka has it; `wait=1`: after so many seconds."),
    ]
    if operation.name == "changeMe":
        found.append(_header("If-Match", "The ETag of `GET /v1/me`: change it only if nobody has since."))
    return found


def _header(name: str, text: str, schema: Mapping[str, Any] = _TEXT) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": dict(schema)}


def _successes(operation: Operation) -> dict[str, Any]:
    headers = {
        "RateLimit-Policy": _said("The quota that this counted against."),
        "RateLimit": _said("What is left of it, and for how long."),
    }
    if operation.method == "GET":
        headers |= {
            "X-Source": _said("`cache`, or `database` as soon as any of it came from there."),
            "X-As-Of": _said("Everything up to this time is in it: milliseconds since 1970.", {"type": "integer"}),
            "X-Behind": _said(
                "After Read-After, where waiting didn't help: commands not applied yet.", {"type": "integer"}
            ),
            "ETag": _said("Names this state."),
        }
        plain = {"304": {"description": "It is what If-None-Match names."}}
        return {"200": _response("It.", operation.answer, headers), **plain}
    headers["Command-Id"] = _said("The id of the command.")
    headers["Read-After"] = _said("For a later read: it waits until it shows what this did.")
    pending = {**headers, "Location": _said("Where to ask what became of it.")}
    accepted = _response("Kafka has it; what becomes of it is told at `Location`.", Accepted, pending)
    if operation.status == 202:
        return {"202": accepted}
    return {str(operation.status): _response("It is done.", operation.answer, headers), "202": accepted}


def _said(text: str, schema: Mapping[str, Any] = _TEXT) -> dict[str, Any]:
    return {"description": text, "schema": dict(schema)}


def _response(text: str, kind: Any, headers: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": text, "headers": dict(headers)}
    if kind is not None:
        described["content"] = {"application/json": {"schema": _ref(kind)}}
    return described


def problems_of(operation: Operation) -> tuple[str, ...]:
    """Every code that a request of this operation may be answered with."""
    codes = [*operation.problems, *ALWAYS, *WITH_QUERY]
    if operation.body is not None:
        codes += WITH_BODY
    if operation.method != "GET":
        codes += WITH_COMMAND
    if operation.is_private:
        codes += WHEN_PRIVATE
        if operation.method != "GET":
            codes.append("origin_not_allowed")
    if operation.who not in ("anybody", "member"):
        codes.append("not_allowed")
    return tuple(dict.fromkeys(codes))


def _problems(operation: Operation) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in problems_of(operation):
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    return {
        str(status): {
            "description": "; ".join(f"`{code}`: {PROBLEMS[code][1]}" for code in codes),
            "content": {PROBLEM_TYPE: {"schema": _problem_schema(status, codes)}},
        }
        for status, codes in sorted(by_status.items())
    }


def _problem_schema(status: int, codes: list[str]) -> dict[str, Any]:
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    return {"allOf": [_ref(ProblemAnswer), narrowed]}
