"""What became of a command."""

from devconnect.domain.model import Decision
from devconnect.ports.truth import UnavailableError
from web.answers import CommandStatus
from web.calls import AnyCall
from web.commands import opens
from web.operations import Operation, Reply, read
from web.problems import ProblemError, document
from web.who import Caller


async def read_command(call: AnyCall) -> Reply:
    """A command of the reader's own; with no token, one whose asker had none, and whose id nobody else can know.

    Whatever else there may be, the answer is the same as for a command that never was.
    """
    commander, caller = call.gateway.commander, call.caller
    command = call.ident("command", "command_unknown")
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
        return Reply(data=_shown(decision))
    if sent is None or not _may_read(caller, sent.actor, opens=sent.opens):
        raise _unknown()
    return Reply(data={"id": command, "status": "pending"})


def _may_read(caller: Caller | None, actor: str, *, opens: bool) -> bool:
    return opens if caller is None else caller.user.id == actor


def _shown(decision: Decision) -> dict[str, object]:
    if decision.problem is not None:
        problem = document(decision.problem.code, decision.problem.detail)
        return {"id": decision.id, "status": "refused", "problem": problem}
    return {"id": decision.id, "status": "accepted", "result": decision.result}


def _unknown() -> ProblemError:
    return ProblemError("command_unknown", "There is no such command of yours.")


OPERATIONS: tuple[Operation, ...] = (
    read(
        "/v1/commands/{command}",
        read_command,
        "What became of a command",
        who="anybody",
        answer=CommandStatus,
        problems=("command_unknown", "not_logged_in"),
        description="Its actor may ask; what was asked for without a token, whoever has its id.",
        tag="commands",
    ),
)
