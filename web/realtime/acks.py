"""Acknowledgements: what came of an event, as it would be answered over HTTP."""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from web.answers import ProblemAnswer
from web.commands import HEADER, Outcome
from web.marks import Mark
from web.problems import RETRY_AFTER, ProblemError, document


class Ack(Struct, frozen=True, kw_only=True):
    """`status` is HTTP's: 200 or 201 with the `result`, 202 where that isn't known yet, an error's with the `problem`.

    `command` is the id under which `GET /v1/commands/{id}` tells what became of it, `read_after` what a later read may
    bring as `Read-After`, `retry_after` the seconds after which it makes sense to ask again.
    """

    status: int
    result: Any = UNSET
    problem: ProblemAnswer | UnsetType = UNSET
    command: str | UnsetType = UNSET
    read_after: str | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode


def done(result: Any) -> bytes:
    """It is done, and this is what came of it."""
    return _encode(Ack(status=200, result=result))


def outcome_ack(outcome: Outcome, status: int) -> bytes:
    """What became of a command."""
    command, decision = outcome.command.id, outcome.decision
    if decision is not None and decision.problem is not None:
        return problem_ack(ProblemError(decision.problem.code, decision.problem.detail, headers={HEADER: command}))
    mark = Mark.of(outcome).text() if outcome.seq else UNSET
    if decision is None:
        return _encode(Ack(status=202, command=command, read_after=mark))
    return _encode(Ack(status=status, result=decision.result or {}, command=command, read_after=mark))


def problem_ack(problem: ProblemError) -> bytes:
    """It is refused."""
    found = msgspec.convert(document(problem.code, problem.detail, problem.errors), ProblemAnswer)
    wait = problem.headers.get("Retry-After", RETRY_AFTER if found.status == 503 else None)
    return _encode(
        Ack(
            status=found.status,
            problem=found,
            command=problem.headers.get(HEADER, UNSET),
            retry_after=int(wait) if wait is not None else UNSET,
        )
    )
