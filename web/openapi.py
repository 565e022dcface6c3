"""The OpenAPI 3.1 document, from the very types that requests are validated by and answers are made of."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from devconnect import __version__
from devconnect.domain.analytics import TABLES
from web import openapi_headers, openapi_problems
from web.answers import ProblemAnswer
from web.openapi_problems import PROBLEM_TYPE, problems_of
from web.operations import Operation
from web.patterns import NOTIFICATION_ID

__all__ = ["PROBLEM_TYPE", "build", "problems_of"]

REF = "#/components/schemas/{name}"
_PAGE_OF = re.compile(r"Page_(\w+)_")
DESCRIPTION = """Where developers find each other, connect and chat.

Requests that change something are handed to Kafka, and answered with their result when it comes in time, else with 202
and where to ask. Every error is a problem of RFC 9457, also 404 `not_found` of a path that there isn't and 405
`method_not_allowed` of a method that a path hasn't. Every GET answers HEAD, too."""

_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_PATH_PARAMETERS: Mapping[str, tuple[str, Mapping[str, Any], str | int]] = {
    "user": ("The id of a person.", _ID, "5f0c1e9a7b3d42688e1f0a9b7c6d5e4f"),
    "session": ("The id of a session.", _ID, "0a9b7c6d5e4f5f0c1e9a7b3d42688e1f"),
    "report": ("The id of a report.", _ID, "7b3d42688e1f0a9b7c6d5e4f5f0c1e9a"),
    "command": ("The id of a command.", _ID, "8e1f0a9b7c6d5e4f5f0c1e9a7b3d4268"),
    "notification": (
        "The id of a notification.",
        {"type": "string", "pattern": NOTIFICATION_ID, "maxLength": 100},
        "1767225600000-8e1f0a9b7c6d5e4f5f0c1e9a7b3d4268.0",
    ),
    "message": ("The `seq` of a message.", {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}, 1),
    "subscription": ("The id of a push subscription.", _ID, "9b7c6d5e4f5f0c1e9a7b3d42688e1f0a"),
    "webhook": ("The id of a webhook.", _ID, "688e1f0a9b7c6d5e4f5f0c1e9a7b3d42"),
    "name": ("The name of a table.", {"type": "string", "enum": sorted(TABLES)}, "user_activity"),
}

TAGS: Mapping[str, str] = {
    "accounts": "Opening, changing and closing the own account.",
    "sessions": "Logging in and out, renewing, and setting a forgotten password.",
    "people": "Finding others.",
    "connections": "Requests, connections, blocks and reports.",
    "channels": "Push messages and webhooks.",
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
    paths: dict[str, dict[str, Any]] = {}
    for operation in found:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "DevConnect", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _components(found),
            "headers": dict(openapi_headers.COMPONENTS),
            "securitySchemes": _SECURITY,
        },
    }
    named: dict[str, Any] = _named(document)
    return named


_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `token` that a log-in or a renewal has answered.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-dc_token",
        "description": "Set by a log-in with `cookie`. What changes something must then come from a page of ours, or "
        "of the list of origins.",
    },
}


def _components(operations: Iterable[Operation]) -> dict[str, Any]:
    types: dict[Any, None] = {ProblemAnswer: None}
    for operation in operations:
        kinds = (operation.body, operation.answer, operation.pending if operation.is_command else None)
        types |= dict.fromkeys(kind for kind in kinds if kind is not None)
    _, schemas = msgspec.json.schema_components(list(types), ref_template=REF)
    return schemas


def _named(value: Any) -> Any:
    """The same with `MessagePage` for what msgspec calls `Page_Message_`."""
    match value:
        case dict():
            return {_PAGE_OF.sub(r"\1Page", name): _named(each) for name, each in value.items()}
        case list():
            return [_named(each) for each in value]
        case str():
            return _PAGE_OF.sub(r"\1Page", value)
        case _:
            return value


@cache
def _ref(kind: Any) -> dict[str, Any]:
    [schema], _ = msgspec.json.schema_components([kind], ref_template=REF)
    return schema


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *_path_parameters(operation),
            *_query_parameters(operation),
            *openapi_headers.parameters(operation),
        ],
        "responses": {**_successes(operation), **openapi_problems.responses(operation)},
        "security": _security(operation),
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


def _security(operation: Operation) -> list[dict[str, Any]]:
    """None is needed where anybody may; a read looks at it all the same."""
    needed: list[dict[str, Any]] = [{"bearer": []}, {"cookie": []}]
    if operation.is_private:
        return needed
    return [] if operation.is_command else [{}, *needed]


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name][0],
            "schema": dict(_PATH_PARAMETERS[name][1]),
            "example": _PATH_PARAMETERS[name][2],
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


def _successes(operation: Operation) -> dict[str, Any]:
    if not operation.is_command:
        headers = openapi_headers.of_read()
        unchanged = {"description": "It is what If-None-Match names.", "headers": headers}
        return {"200": _response("It.", operation.answer, headers), "304": unchanged}
    pending = _response(
        "Kafka has it; what becomes of it is told at `Location`.",
        operation.pending,
        openapi_headers.of_command(operation, pending=True),
    )
    if operation.status == 202:
        return {"202": pending}
    done = _response("It is done.", operation.answer, openapi_headers.of_command(operation, pending=False))
    return {str(operation.status): done, "202": pending}


def _response(text: str, kind: Any, headers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "description": text,
        "headers": dict(headers),
        "content": {"application/json": {"schema": _ref(kind)}},
    }
