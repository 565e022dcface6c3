"""Which problems an operation may answer with, and how the OpenAPI document says so."""

from typing import Any

from web import openapi_headers
from web.operations import Operation
from web.problems import PROBLEMS

PROBLEM_TYPE = "application/problem+json"
PROBLEM_REF = {"$ref": "#/components/schemas/ProblemAnswer"}

#: Problems that any request may have, and those of some kinds of requests.
ALWAYS = (
    "malformed_request",
    "request_timeout",
    "uri_too_long",
    "expectation_failed",
    "headers_too_large",
    "rate_limited",
    "internal_error",
    "store_unavailable",
    "too_busy",
    "timed_out",
)
WITH_QUERY = ("invalid_query", "invalid_header")
#: Where a parameter is empty, or has a slash in it, it is another path.
WITH_PATH_PARAMETERS = ("not_found",)
WITH_BODY = ("malformed_json", "invalid_body", "body_too_large", "unsupported_media_type")
WITH_COMMAND = ("idempotency_key_reused", "kafka_unavailable")
WHEN_PRIVATE = ("not_logged_in",)
WHEN_PRIVATE_COMMAND = ("origin_not_allowed",)


def problems_of(operation: Operation) -> tuple[str, ...]:
    """Every code that a request of this operation may be answered with."""
    codes = [*operation.problems, *ALWAYS, *WITH_QUERY]
    if "{" in operation.path:
        codes += WITH_PATH_PARAMETERS
    if operation.body is not None:
        codes += WITH_BODY
    if operation.is_command:
        codes += WITH_COMMAND
    if operation.is_private:
        codes += WHEN_PRIVATE
        if operation.is_command:
            codes += WHEN_PRIVATE_COMMAND
    if operation.who not in ("anybody", "member"):
        codes.append("not_allowed")
    return tuple(dict.fromkeys(codes))


def responses(operation: Operation) -> dict[str, Any]:
    """The answers that are problems, by their status."""
    by_status: dict[int, list[str]] = {}
    for code in problems_of(operation):
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    return {
        str(status): {
            "description": "; ".join(f"`{code}`: {PROBLEMS[code][1]}" for code in codes),
            "headers": openapi_headers.of_problem(status),
            "content": {PROBLEM_TYPE: {"schema": _schema(status, codes), "example": _example(codes[0])}},
        }
        for status, codes in sorted(by_status.items())
    }


def _schema(status: int, codes: list[str]) -> dict[str, Any]:
    return {"allOf": [PROBLEM_REF, {"properties": {"status": {"const": status}, "code": {"enum": codes}}}]}


def _example(code: str) -> dict[str, Any]:
    status, title = PROBLEMS[code]
    detail = "What to do about it, in words."
    return {"type": f"/problems/{code}", "title": title, "status": status, "detail": detail, "code": code}
