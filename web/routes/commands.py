"""What became of a command."""

from typing import Any

from aiohttp import web

from devconnect.domain.model import Decision
from devconnect.ports.truth import UnavailableError
from web.auth import Caller, caller_if_any
from web.commands import opens
from web.gateway import GATEWAY
from web.ids import is_id
from web.problems import ProblemError, document
from web.requests import only
from web.views import json_response


async def read_command(request: web.Request) -> web.Response:
    """A command of the reader's own; with no token, a sign-up or log-in, whose id nobody else can know.

    Whatever else there may be, the answer is the same as for a command that never was.
    """
    only(request, ())
    commander = request.app[GATEWAY].commander
    caller, command = await caller_if_any(request), request.match_info["id"]
    if not is_id(command):
        raise _unknown()
    sent = commander.pending(command)
    try:
        decision = await commander.find(command)
    except UnavailableError:
        if sent is None:
            raise
        decision = None  # nobody decides without the database
    if decision is not None:
        if not _may_read(caller, decision.actor, opens=opens(decision)):
            raise _unknown()
        return json_response(_shown(decision))
    if sent is None or not _may_read(caller, sent.actor, opens=sent.opens):
        raise _unknown()
    return json_response({"id": command, "status": "pending"})


def _may_read(caller: Caller | None, actor: str, *, opens: bool) -> bool:
    return opens if caller is None else caller.user.id == actor


def _shown(decision: Decision) -> dict[str, Any]:
    if decision.problem is not None:
        problem = document(decision.problem.code, decision.problem.detail)
        return {"id": decision.id, "status": "refused", "problem": problem}
    return {"id": decision.id, "status": "accepted", "result": decision.result}


def _unknown() -> ProblemError:
    return ProblemError("command_unknown", "There is no such command of yours.")


def routes() -> list[web.RouteDef]:
    """/v1/commands"""
    return [web.get("/v1/commands/{id}", read_command)]
