"""Connections: what two people may do to what is between them.

What becomes of a command of mine, by what is between us and whose doing it is. In capitals the new state, which is then
mine; in small letters the problem.

========= ===== ================= ================= =============== =============== =============== =============
between   by    ask               pass by           accept          reject          withdraw        remove
========= ===== ================= ================= =============== =============== =============== =============
nothing         REQUESTED         IGNORED           request_unknown request_unknown request_unknown not_connected
requested me    already_requested already_requested request_unknown request_unknown REMOVED         not_connected
requested them  ACCEPTED          request_waiting   ACCEPTED        REJECTED        request_unknown not_connected
ignored   any   REQUESTED         IGNORED           request_unknown request_unknown request_unknown not_connected
accepted  any   already_connected already_connected request_unknown request_unknown request_unknown REMOVED
rejected  me    REQUESTED         IGNORED           request_unknown request_unknown request_unknown not_connected
rejected  them  request_rejected  request_rejected  request_unknown request_unknown request_unknown not_connected
removed   any   REQUESTED         IGNORED           request_unknown request_unknown request_unknown not_connected
========= ===== ================= ================= =============== =============== =============== =============

A block lies over that, one each way: it ends what stands (only a rejection holds on, or whoever was turned down could
block and unblock their way to asking again). While I block them asking is `blocked_by_you`; while they block me it is
`user_unknown`, as if there were no such person. Everything else is refused as it is where nothing stands.
"""

from typing import Any

import msgspec

from devconnect.domain import reports
from devconnect.domain.model import AnyDocument, Connection, ConnectionState, Ref, Snapshot, User
from devconnect.domain.verdict import Verdict, accept, refuse, stamp
from devconnect.events import commands as c, facts as f
from devconnect.events.base import pair_of

_STATES: dict[type[f.ConnectionEvent], ConnectionState] = {
    f.ConnectionRequested: "requested",
    f.ConnectionIgnored: "ignored",
    f.ConnectionAccepted: "accepted",
    f.ConnectionRejected: "rejected",
    f.ConnectionRemoved: "removed",
    f.RequestWithdrawn: "removed",
}


def state_after(event: f.ConnectionEvent) -> ConnectionState | None:
    """What is between the two after the event, both the same; None where it depends on more, or stays as it is."""
    return _STATES.get(type(event))


def wanted(command: c.ConnectionCommand) -> tuple[Ref, ...]:
    """The documents that the verdict on this command rests on."""
    pair = Ref("connection", command.key)
    match command:
        case c.RequestConnection():
            return (pair, Ref("user", command.to))
        case c.ReviewConnection():
            return (pair, Ref("user", command.requester))
        case c.BlockUser() | c.ReportUser():
            return (pair, Ref("user", command.other))
        case c.CloseReport():
            return (pair, Ref("report", command.report))
        case _:
            return (pair,)


def touched(event: f.ConnectionEvent) -> tuple[Ref, ...]:
    """The documents that an event changes."""
    pair = Ref("connection", event.key)
    return (pair, Ref("report", event.report)) if isinstance(event, reports.EVENTS) else (pair,)


def decide(command: c.ConnectionCommand, offset: int, state: Snapshot) -> Verdict:
    """The verdict on a connection command."""
    between = state.get(Ref("connection", command.key))
    if between is not None and not isinstance(between, Connection):
        raise TypeError(f"{command.key} is no connection")
    match command:
        case c.RequestConnection():
            return _request(command, offset, between, known=_is_here(state.get(Ref("user", command.to))))
        case c.ReviewConnection():
            return _review(command, offset, between, gone=_is_gone(state.get(Ref("user", command.requester))))
        case c.RemoveConnection():
            return _remove(command, offset, between)
        case c.WithdrawRequest():
            return _withdraw(command, offset, between)
        case c.BlockUser():
            return _block(command, offset, between, known=Ref("user", command.other) in state)
        case c.UnblockUser():
            return _unblock(command, offset, between)
        case c.ReportUser():
            return reports.report(command, offset, between, known=Ref("user", command.other) in state)
        case c.CloseReport():
            return reports.close(command, offset, state.get(Ref("report", command.report)))


def _is_here(user: AnyDocument | None) -> bool:
    return isinstance(user, User) and not user.deleted


def _is_gone(user: AnyDocument | None) -> bool:
    return isinstance(user, User) and user.deleted


def _request(command: c.RequestConnection, offset: int, between: Connection | None, *, known: bool) -> Verdict:
    if command.to == command.actor:
        return refuse("not_yourself", "A connection is between two people: name somebody else.")
    blocked_by = between.blocked_by if between else {}
    if command.actor in blocked_by:
        return refuse("blocked_by_you", "You have blocked them: unblock them first.")
    if not known or command.to in blocked_by:
        return refuse("user_unknown", "There is no such user.")
    state, theirs = (between.state, between.by == command.to) if between else ("none", False)
    if state == "accepted":
        return refuse("already_connected", "You are connected already.")
    if state == "requested" and theirs:
        if command.interest == "interested":
            return _happened(f.ConnectionAccepted, command, offset, command.to)
        return refuse("request_waiting", "They have asked you: review their request instead.")
    if state == "requested":
        return refuse("already_requested", "You have asked already: wait for their answer.")
    if state == "rejected" and theirs:
        return refuse("request_rejected", "They have turned you down; only they can ask now.")
    if command.interest == "ignored":
        return _happened(f.ConnectionIgnored, command, offset, command.to)
    return _happened(f.ConnectionRequested, command, offset, command.to)


def _review(command: c.ReviewConnection, offset: int, between: Connection | None, *, gone: bool) -> Verdict:
    if between is None or between.state != "requested" or between.by != command.requester or gone:
        return refuse("request_unknown", "There is no request of theirs that waits for your answer.")
    kind = f.ConnectionAccepted if command.verdict == "accepted" else f.ConnectionRejected
    return _happened(kind, command, offset, command.requester)


def _remove(command: c.RemoveConnection, offset: int, between: Connection | None) -> Verdict:
    if between is None or between.state != "accepted":
        return refuse("not_connected", "You are not connected.")
    return _happened(f.ConnectionRemoved, command, offset, command.other)


def _withdraw(command: c.WithdrawRequest, offset: int, between: Connection | None) -> Verdict:
    if between is None or between.state != "requested" or between.by != command.actor:
        return refuse("request_unknown", "There is no request of yours that waits for their answer.")
    return _happened(f.RequestWithdrawn, command, offset, command.to)


def _block(command: c.BlockUser, offset: int, between: Connection | None, *, known: bool) -> Verdict:
    """Whoever has blocked us, or has left, can be blocked too: a refusal would tell us which of the two it is."""
    if command.other == command.actor:
        return refuse("not_yourself", "Nobody can block themselves: name somebody else.")
    if not known:
        return refuse("user_unknown", "There is no such user.")
    blocked_by = between.blocked_by if between else {}
    if command.actor in blocked_by:
        return accept(_result(command, command.other, "blocked", blocked_by[command.actor]))
    ended: list[f.AnyEvent] = []
    if between is not None and between.state == "accepted":
        # An event of its own, so that whoever counts connections needn't know of blocks.
        ended.append(_event(f.ConnectionRemoved, command, offset, command.other))
    blocked = _event(
        f.UserBlocked, command, offset, command.other, index=len(ended), mutual=command.other in blocked_by
    )
    return accept(_result(command, command.other, "blocked", command.at), *ended, blocked)


def _unblock(command: c.UnblockUser, offset: int, between: Connection | None) -> Verdict:
    if between is None or command.actor not in between.blocked_by:
        return refuse("not_blocked", "You have not blocked them.")
    event = _event(
        f.UserUnblocked,
        command,
        offset,
        command.other,
        mutual=command.other in between.blocked_by,
        rejected_by=between.by if between.state == "rejected" else "",
    )
    return accept(_result(command, command.other, "removed", command.at), event)


def _happened(kind: type[Any], command: c.ConnectionCommand, offset: int, other: str) -> Verdict:
    event = _event(kind, command, offset, other)
    return accept(_result(command, other, _STATES[kind], command.at), event)


def _event(
    kind: type[Any], command: c.ConnectionCommand, offset: int, other: str, *, index: int = 0, **more: Any
) -> Any:
    mark = stamp(command, offset, index)
    return kind(id=mark.id, seq=mark.seq, at=mark.at, by=command.actor, other=other, **more)


def _result(command: c.ConnectionCommand, other: str, state: str, at: int) -> dict[str, Any]:
    return {"user": other, "state": state, "by": command.actor, "at": at}


def evolve(state: Snapshot, event: f.AnyConnectionEvent) -> tuple[AnyDocument, ...]:
    """The connection and the report as they are after the event; nothing of what is ahead of it already."""
    found: tuple[AnyDocument, ...] = reports.evolve(state, event) if isinstance(event, reports.EVENTS) else ()
    before = state.get(Ref("connection", event.key))
    if before is not None and (before.seq >= event.seq or not isinstance(before, Connection)):
        return found
    if before is None:
        before = Connection(id=event.key, seq=0, users=pair_of(event.key), state="none", by="", at=0)
    return (*found, _after(before, event))


def _after(before: Connection, event: f.AnyConnectionEvent) -> Connection:
    replace = msgspec.structs.replace
    match event:
        case f.UserReported() | f.ReportClosed():
            return replace(before, seq=event.seq, reports=reports.open_after(before.reports, event))
        case f.UserBlocked():
            blocked_by = {**before.blocked_by, event.by: event.at}
        case f.UserUnblocked():
            blocked_by = {user: at for user, at in before.blocked_by.items() if user != event.by}
        case _:
            return replace(before, seq=event.seq, state=_STATES[type(event)], by=event.by, at=event.at)
    # Whatever stood is over, and a rejection goes on under the block.
    kept: tuple[ConnectionState, str] = ("rejected", before.by) if before.state == "rejected" else ("removed", event.by)
    return replace(before, seq=event.seq, state=kept[0], by=kept[1], at=event.at, blocked_by=blocked_by)
