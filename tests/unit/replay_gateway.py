"""A gateway in memory for the replay's tests: it knows a command by its Idempotency-Key, and can be made to fail."""

import itertools
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

#: What may go wrong with the n-th POST: answered 503, answered 202, dropped unread, done but the answer lost.
Fault = str | None
RENEW = "sessions/renew"
#: Where one needn't be logged in.
OPEN = ("users", "sessions", RENEW, "nowhere")


class FakeGateway:
    """Accounts, connections and messages in dictionaries; `faults` says what goes wrong with the n-th POST."""

    def __init__(self, faults: Callable[[int], Fault] = lambda number: None) -> None:
        self.faults = faults
        self.posts = itertools.count(1)
        self.users: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        #: Renewal token -> user.
        self.renewals: dict[str, str] = {}
        #: Requests after which a token is over; and what is answered 429 in place of a 201.
        self.lasts = 10**9
        self.limited: Callable[[str], tuple[int, str] | None] = lambda path: None
        self.between: dict[frozenset[str], str] = {}
        self.messages: list[tuple[str, str]] = []
        self.events: Counter[str] = Counter()
        self.used: Counter[str] = Counter()
        self.activity: dict[str, Counter[str]] = {}
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.by_command: dict[str, dict[str, Any]] = {}
        self.skew: Callable[[str, list[dict[str, Any]]], None] = lambda table, rows: None

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/{path:.*}", self.post)
        app.router.add_get("/v1/commands/{id}", self.command)
        app.router.add_get("/v1/analytics/tables/{name}", self.table)
        return app

    async def post(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults(next(self.posts))
        path = request.match_info["path"]
        limit = self.limited(path)
        if limit is not None:
            problem = {"code": "rate_limited", "status": 429, "detail": limit[1]}
            return web.json_response(problem, status=429, headers={"Retry-After": str(limit[0])})
        if path not in OPEN and not self.is_good(request):
            return web.json_response({"code": "not_logged_in", "status": 401, "detail": "over"}, status=401)
        if fault == "503":
            return web.json_response({"code": "kafka_unavailable"}, status=503, headers={"Retry-After": "0"})
        body = await request.json()
        if fault == "drop":
            return await _hang_up(request)
        key = request.headers["Idempotency-Key"]
        if key not in self.answers:
            self.answers[key] = self.apply(request, body)
        status, answer = self.answers[key]
        if fault == "lost":
            return await _hang_up(request)
        if fault == "202" and status < 300:
            command = uuid.uuid4().hex
            self.by_command[command] = {"id": command, "status": "accepted", "result": answer}
            told = ("token", "renewal_token") if path != RENEW else ()
            shown = {"command": {"id": command}, **{name: answer[name] for name in told if name in answer}}
            return web.json_response(shown, status=202, headers={"Location": f"/v1/commands/{command}"})
        return web.json_response(answer, status=status)

    def apply(self, request: web.Request, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        path = request.match_info["path"].split("/")
        me = self.tokens.get(bearer(request), "")
        match path:
            case ["users"]:
                return self.sign_up(body)
            case ["sessions"]:
                self.events["user.logged_in"] += 1
                return 201, self.opened(self.users[body["email"]]["id"])
            case ["sessions", "renew"]:
                if body["renewal_token"] not in self.renewals:
                    return 401, {"code": "token_reused", "status": 401, "detail": "used before"}
                return 200, self.opened(self.renewals.pop(body["renewal_token"]))
            case ["connections"]:
                return self.connect(me, body["user"])
            case ["connections", other, "review"]:
                return self.accept(me, other)
            case ["conversations", other, "messages"]:
                return self.message(me, other)
        return 404, {"code": "not_found", "status": 404, "detail": "no such page"}

    def opened(self, user: str) -> dict[str, Any]:
        token, renewal = uuid.uuid4().hex, uuid.uuid4().hex
        self.tokens[token], self.renewals[renewal] = user, user
        return {"token": token, "renewal_token": renewal, "user": user}

    def is_good(self, request: web.Request) -> bool:
        """Whether the token is; each is good for so many requests."""
        token = bearer(request)
        self.used[token] += 1
        return token in self.tokens and self.used[token] <= self.lasts

    def sign_up(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["email"] in self.users:
            return 409, {"code": "email_taken", "status": 409, "detail": "taken"}
        self.users[body["email"]] = {"id": uuid.uuid4().hex, **body}
        self.events["user.signed_up"] += 1
        return 201, self.users[body["email"]]

    def connect(self, me: str, other: str) -> tuple[int, dict[str, Any]]:
        if frozenset((me, other)) in self.between:
            return 409, {"code": "already_requested", "status": 409, "detail": "asked already"}
        self.between[frozenset((me, other))] = me
        self.count("connection.requested", {me: ["requests_sent"]})
        return 201, {"user": other}

    def accept(self, me: str, other: str) -> tuple[int, dict[str, Any]]:
        if self.between.get(frozenset((me, other))) != other:
            return 404, {"code": "request_unknown", "status": 404, "detail": "no such request"}
        self.between[frozenset((me, other))] = "both"
        self.count("connection.accepted", {me: ["connections"], other: ["connections"]})
        return 200, {"user": other}

    def message(self, me: str, other: str) -> tuple[int, dict[str, Any]]:
        if self.between.get(frozenset((me, other))) != "both":
            return 403, {"code": "not_connected", "status": 403, "detail": "not connected"}
        self.messages.append((me, other))
        self.count("message.sent", {me: ["messages_sent"], other: ["messages_received"]})
        return 201, {"id": uuid.uuid4().hex}

    def count(self, event: str, columns: dict[str, list[str]]) -> None:
        self.events[event] += 1
        for user, names in columns.items():
            self.activity.setdefault(user, Counter()).update(names)

    async def command(self, request: web.Request) -> web.Response:
        return web.json_response(self.by_command[request.match_info["id"]])

    async def table(self, request: web.Request) -> web.Response:
        if not self.is_good(request):
            return web.json_response({"code": "not_logged_in", "status": 401, "detail": "over"}, status=401)
        rows: list[dict[str, Any]] = []
        match request.match_info["name"]:
            case "events_by_type":
                rows = [{"type": kind, "count": count} for kind, count in self.events.items()]
            case "messages_per_minute":
                # An old minute that leaves the table meanwhile is nobody's affair.
                now = time.time_ns() // 1_000_000
                leaving = {"minute": "0", "count": max(0, 5 - len(self.messages))}
                rows = [{"minute": str(now - now % 60_000), "count": len(self.messages)}, leaving]
            case "user_activity":
                columns = ("messages_sent", "messages_received", "requests_sent", "connections")
                rows = [
                    {"user": user, **{column: counts[column] for column in columns}}
                    for user, counts in self.activity.items()
                ]
        self.skew(request.match_info["name"], rows)
        start = int(request.query.get("cursor", "0"))
        page, more = rows[start : start + 50], start + 50 < len(rows)
        return web.json_response({"items": page, "next": str(start + 50) if more else None})


def bearer(request: web.Request) -> str:
    """The token that it was sent with."""
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


async def _hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
