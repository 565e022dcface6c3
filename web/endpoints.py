"""Serves operations: who asks, may they, how often, what for; then the read or the command, and its answer."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from aiohttp import web
from multidict import istr

from devconnect.events.base import Role
from web.answers import Accepted, PendingCommand, encode
from web.auth import has_credentials, require_role
from web.calls import AnyCall, Call
from web.carrying import carry_out, charge
from web.commands import HEADER, Outcome, link
from web.compress import secret
from web.gateway import Gateway
from web.marks import Mark
from web.operations import ROLES, Operation, Reply
from web.problems import ProblemError, problem_response
from web.requests import read_body, read_query
from web.who import Caller

Headers = dict[str, str]
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Seconds that a read waits for what its reader has done before.
PATIENCE = 1.0
READ_AFTER, BEHIND = istr("Read-After"), istr("X-Behind")
SOURCE, AS_OF = istr("X-Source"), istr("X-As-Of")
_TYPE, _TAG, _LOCATION, _JSON = istr("Content-Type"), istr("ETag"), istr("Location"), "application/json"


def routes(gateway: Gateway, operations: Iterable[Operation]) -> list[web.RouteDef]:
    """What serves them; a GET answers HEAD, too."""
    serving, offered = Serving(gateway), tuple(operations)
    found = []
    for operation in offered:
        make = web.get if operation.method == "GET" else partial(web.route, operation.method)
        found.append(make(operation.path, serving.endpoint(operation)))
    return [*found, *_refusing(offered)]


def _refusing(operations: Sequence[Operation]) -> list[web.RouteDef]:
    """For paths such as /v1/connections/requests, which are no person's: what they haven't isn't {user}'s either."""
    templates = [re.compile(re.sub(r"\{\w+\}", "[^/]+", one.path)) for one in operations if "{" in one.path]
    methods: dict[str, set[str]] = {}
    for one in operations:
        if "{" not in one.path and any(template.fullmatch(one.path) for template in templates):
            methods.setdefault(one.path, set()).update((one.method, "HEAD") if one.method == "GET" else (one.method,))
    return [web.route("*", path, _refuse(frozenset(allowed))) for path, allowed in methods.items()]


def _refuse(allowed: frozenset[str]) -> Serve:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


class Serving:
    """Makes of each operation what aiohttp calls."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._gate = gateway.gate
        self._limits = gateway.limits
        self._freshness = gateway.parts.freshness

    def endpoint(self, operation: Operation) -> Serve:
        """What answers this operation's requests."""
        if operation.method == "GET":
            return self._reading(operation)
        return self._commanding(operation)

    def _reading(self, operation: Operation) -> Serve:
        handler = operation.handler
        if handler is None:
            raise TypeError(f"{operation.name} has no handler")
        is_private, roles, kind = operation.is_private, ROLES[operation.who], operation.query

        async def serve(request: web.Request) -> web.StreamResponse:
            caller = self._gate.at_hand(request) if is_private else None
            headers: Mapping[str, str] | None
            if caller is not None:
                headers = self._limits.read(caller.user.tier, caller.user.id)
            elif is_private:
                caller, headers = await self._admit_counted(request)
            else:
                headers = None
            if caller is not None and caller.role not in roles:
                require_role(caller, roles)
            call: AnyCall = Call(self._gateway, request, caller, request.match_info)
            if headers is None:
                headers = await self._lease(request, caller)
            if not is_private and has_credentials(request, self._gateway.cookies):
                call.admit(await self._gate.admit(request))
            call.query = read_query(request, kind)
            after = request.headers.get(READ_AFTER)
            if after is not None:
                headers = {**headers, **await self._wait(after)}
                if call.caller is not None:
                    # Who asks may be what they have changed.
                    call.admit(self._gate.at_hand(request) or await self._admit(request, roles))
            return self._read_response(await handler(call), headers)

        return serve

    async def _admit_counted(self, request: web.Request) -> tuple[Caller, Headers]:
        """Who asks, and what is left of their reads: where both aren't known they are asked for in one round trip."""
        claims = self._gate.claims(request)
        if not self._limits.needs_lease(claims.user):
            caller = await self._gate.let_in(claims)
            return caller, await self._limits.reads(caller.user.tier, caller.user.id)
        taking, asked = self._limits.taking("reads", claims.user), time.monotonic()
        caller, [allowance] = await asyncio.gather(
            self._gate.let_in(claims), self._gateway.parts.allowances.take([taking])
        )
        return caller, await self._limits.taken("reads", caller.user.tier, taking, allowance, asked)

    async def _admit(self, request: web.Request, roles: frozenset[Role]) -> Caller:
        caller = await self._gate.admit(request)
        require_role(caller, roles)
        return caller

    async def _lease(self, request: web.Request, caller: Caller | None) -> Headers:
        if caller is not None:
            return await self._limits.reads(caller.user.tier, caller.user.id)
        network = self._gateway.place(request)
        return self._limits.stranger(network) or await self._limits.strangers(network)

    async def _wait(self, text: str) -> Headers:
        """Wait for what the reader has done before, within bounds; what is still missing then is said."""
        mark = Mark.read(text)
        if mark is None:
            raise ProblemError("invalid_header", f"{READ_AFTER} is what an answer to a command has in this header.")
        if await self._freshness.wait(mark.topic, mark.partition, mark.seq, PATIENCE):
            return {}
        applied = await self._freshness.applied(mark.topic, mark.partition)
        if applied is None and mark.decided:
            return {}  # the database answers, and has it
        return {BEHIND: str(mark.behind(applied or 0))}

    def _read_response(self, reply: Reply, headers: Mapping[str, str]) -> web.StreamResponse:
        if reply.response is not None:
            return reply.response
        given = {_TYPE: _JSON, **headers, **reply.headers}
        if reply.etag is not None:
            given[_TAG] = reply.etag
        if (source := reply.source) is not None:
            given[SOURCE] = source
            as_of = self._freshness.as_of() if source == "cache" else self._gateway.parts.clock.now_ms()
            if as_of:
                given[AS_OF] = str(as_of)
        data = reply.data if type(reply.data) is bytes else encode(reply.data)
        return web.Response(body=data, status=reply.status, headers=given)

    def _commanding(self, operation: Operation) -> Serve:
        is_private, roles = operation.is_private, ROLES[operation.who]

        async def serve(request: web.Request) -> web.StreamResponse:
            if is_private:
                caller = self._gate.at_hand(request) or await self._gate.admit(request)
                if caller.role not in roles:
                    require_role(caller, roles)
            else:
                caller = None
            call: AnyCall = Call(self._gateway, request, caller, request.match_info)
            call.query = read_query(request, operation.query)
            call.body = await read_body(request, operation.body) if operation.body is not None else None
            if operation.make is None:
                return await self._act(operation, call)
            call.order = self._gateway.commander.order(request, call.me.user.id, call.body)
            outcome, headers = await carry_out(self._gateway, operation, call)
            return command_response(outcome, operation.status, headers)

        return serve

    async def _act(self, operation: Operation, call: AnyCall) -> web.Response:
        """What needs more than a command: the handler makes the order itself, and has it charged."""
        handler = operation.handler
        if handler is None:
            raise TypeError(f"{operation.name} has neither a command nor a handler")
        call.charge = lambda: self._charge(operation, call)
        reply = await handler(call)
        response = reply.response or self._outcome_response(reply, operation.status)
        if operation.secret:
            secret(response)
        return response

    async def _charge(self, operation: Operation, call: AnyCall) -> Mapping[str, str]:
        if call.caller is None:
            return await self._lease(call.request, None)
        return await charge(self._gateway, operation, call)

    def _outcome_response(self, reply: Reply, status: int) -> web.Response:
        if reply.outcome is None:
            return web.Response(body=encode(reply.data), status=status, headers={_TYPE: _JSON, **reply.headers})
        return command_response(reply.outcome, status, reply.headers, reply.data)


def command_response(
    outcome: Outcome, status: int, headers: Mapping[str, str], more: Mapping[str, object] | None = None
) -> web.Response:
    """The answer to a command: its result with `status`, its problem, or 202; `more` goes beside all but a problem."""
    command, decision = outcome.command.id, outcome.decision
    if decision is not None and decision.problem is not None:
        return problem_response(
            ProblemError(decision.problem.code, decision.problem.detail, headers={**headers, HEADER: command})
        )
    given = {_TYPE: _JSON, **headers, HEADER: command}
    if outcome.seq:
        given[READ_AFTER] = Mark.of(outcome).text()
    if decision is None:
        given[_LOCATION] = href = link(command)
        accepted = Accepted(command=PendingCommand(id=command, status="pending", href=href))
        data = {"command": accepted.command, **more} if more else accepted
        return web.Response(body=encode(data), status=202, headers=given)
    return web.Response(body=encode({**(decision.result or {}), **(more or {})}), status=status, headers=given)
