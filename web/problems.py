"""Every error that the gateway answers with, as RFC 9457 problems."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

#: code -> (status, title); docs/http-api.md has the same table.
PROBLEMS: Mapping[str, tuple[int, str]] = {
    "malformed_request": (400, "The request is no HTTP that can be read"),
    "malformed_json": (400, "The body is not JSON"),
    "invalid_body": (400, "The body is not as it must be"),
    "invalid_query": (400, "The query is not as it must be"),
    "invalid_header": (400, "A header is not as it must be"),
    "not_logged_in": (401, "Not logged in"),
    "wrong_credentials": (401, "Wrong e-mail address or password"),
    "cursor_expired": (410, "The cursor is no longer good"),
    "link_invalid": (410, "The link is not good (any more)"),
    "token_reused": (401, "The renewal token was used before"),
    "wrong_password": (403, "Not the account's password"),
    "not_allowed": (403, "Not allowed"),
    "origin_not_allowed": (403, "Another site has sent this"),
    "not_connected": (403, "Not connected"),
    "not_found": (404, "No such page"),
    "user_unknown": (404, "No such user"),
    "session_unknown": (404, "No such session"),
    "request_unknown": (404, "No such request"),
    "conversation_unknown": (404, "No such conversation"),
    "message_unknown": (404, "No such message"),
    "not_blocked": (404, "Not blocked"),
    "notification_unknown": (404, "No such notification"),
    "report_unknown": (404, "No such report"),
    "command_unknown": (404, "No such command"),
    "event_unknown": (404, "No such event"),
    "subscription_unknown": (404, "No such subscription"),
    "webhook_unknown": (404, "No such webhook"),
    "table_unknown": (404, "No such table"),
    "method_not_allowed": (405, "Method not allowed"),
    "request_timeout": (408, "The request did not come in time"),
    "email_taken": (409, "The e-mail address is taken"),
    "already_connected": (409, "Connected already"),
    "already_requested": (409, "Asked already"),
    "request_waiting": (409, "They have asked already"),
    "request_rejected": (409, "They have said no"),
    "message_deleted": (409, "The message is deleted"),
    "blocked_by_you": (409, "You have blocked them"),
    "already_reported": (409, "Reported already"),
    "too_many_webhooks": (409, "Too many webhooks"),
    "report_closed": (409, "The report is closed"),
    "precondition_failed": (412, "It has changed meanwhile"),
    "body_too_large": (413, "The body is too large"),
    "uri_too_long": (414, "The path or query is too long"),
    "unsupported_media_type": (415, "Not a media type that is taken here"),
    "expectation_failed": (417, "Not what can be expected here"),
    "preferences_invalid": (422, "Not preferences that can be kept"),
    "idempotency_key_reused": (422, "The Idempotency-Key was used for another request"),
    "not_yourself": (422, "Not with yourself"),
    "password_refused": (422, "Not a safe password"),
    "rate_limited": (429, "Too many requests"),
    "too_many_attempts": (429, "Too many attempts"),
    "headers_too_large": (431, "The headers are too large"),
    "internal_error": (500, "Something is wrong here"),
    "kafka_unavailable": (503, "Kafka can't be reached"),
    "store_unavailable": (503, "The stores can't be reached"),
    "too_busy": (503, "Too much at once"),
    "timed_out": (504, "This took too long"),
}

#: Seconds after which it makes sense to try a 503 again.
RETRY_AFTER = "1"


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field of a body or of a query."""

    field: str
    message: str


class ProblemError(Exception):
    """Ends a request with a problem; `detail` says what to do about it."""

    def __init__(
        self, code: str, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.code, self.detail, self.errors = code, detail, tuple(errors)
        self.headers = dict(headers or {})


def bad_field(field: str, message: str) -> ProblemError:
    """A body that is refused for one of its fields."""
    return ProblemError("invalid_body", f"`{field}`: {message}", errors=(FieldError(field, message),))


def bad_query(field: str, message: str) -> ProblemError:
    """A query that is refused for one of its parameters."""
    return ProblemError("invalid_query", f"`{field}`: {message}", errors=(FieldError(field, message),))


def unavailable() -> ProblemError:
    """Neither the cache nor the database could be asked."""
    return ProblemError("store_unavailable", "What this needs to read can't be reached: try again in a moment.")


def our_mistake(reference: str) -> ProblemError:
    """Something went wrong that nobody expected: it is logged under this reference."""
    return ProblemError("internal_error", f"This is our mistake. Tell us the reference {reference}.")


def not_logged_in(
    detail: str = "Log in, and send the token as `Authorization: Bearer <token>`.", error: str = ""
) -> ProblemError:
    """There is no session behind the request; `error` is RFC 6750's word for it where a token was sent."""
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return ProblemError("not_logged_in", detail, headers={"WWW-Authenticate": challenge})


def user_unknown() -> ProblemError:
    """There is nobody of this id."""
    return ProblemError("user_unknown", "There is no such user.")


def document(code: str, detail: str, errors: Sequence[FieldError] = ()) -> dict[str, Any]:
    """The problem as it is answered; a code that isn't ours counts as a conflict."""
    status, title = PROBLEMS.get(code, (409, "Refused"))
    found: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if errors:
        found["errors"] = [msgspec.to_builtins(error) for error in errors]
    return found


def problem_response(problem: ProblemError) -> web.Response:
    """The answer to a request that ended with a problem."""
    found = document(problem.code, problem.detail, problem.errors)
    headers = dict(problem.headers)
    if found["status"] == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    if found["status"] == 503:
        headers.setdefault("Retry-After", RETRY_AFTER)
    return web.Response(
        status=found["status"],
        body=msgspec.json.encode(found),
        content_type="application/problem+json",
        headers=headers,
    )
