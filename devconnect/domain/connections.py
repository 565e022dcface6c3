"""Connections: what two people may do to what is between them."""

from typing import Any

from devconnect.domain.model import AnyDocument, Connection, ConnectionState, Ref, Snapshot
from devconnect.domain.verdict import Verdict, accept, refuse, stamp
from devconnect.events import commands as c, facts as f
from devconnect.events.base import pair_id

_STATES: dict[type[f.ConnectionEvent], ConnectionState] = {
    f.ConnectionRequested: "requested",
    f.ConnectionIgnored: "ignored",
    f.ConnectionAccepted: "accepted",
    f.ConnectionRejected: "rejected",
    f.ConnectionRemoved: "removed",
}


def state_after(event: f.ConnectionEvent) -> ConnectionState:
    """What is between the two after the event."""
    return _STATES[type(event)]


def wanted(command: c.ConnectionCommand) -> tuple[Ref, ...]:
    """The documents that the verdict on this command rests on."""
    pair = Ref("connection", command.key)
    return (pair, Ref("user", command.to)) if isinstance(command, c.RequestConnection) else (pair,)


def decide(command: c.ConnectionCommand, offset: int, state: Snapshot) -> Verdict:
    """The verdict on a connection command."""
    between = state.get(Ref("connection", command.key))
    if between is not None and not isinstance(between, Connection):
        raise TypeError(f"{command.key} is no connection")
    match command:
        case c.RequestConnection():
            return _request(command, offset, between, known=Ref("user", command.to) in state)
        case c.ReviewConnection():
            return _review(command, offset, between)
        case c.RemoveConnection():
            return _remove(command, offset, between)


def _request(command: c.RequestConnection, offset: int, between: Connection | None, *, known: bool) -> Verdict:
    if command.to == command.actor:
        return refuse("not_yourself", "A connection is between two people: name somebody else.")
    if not known:
        return refuse("user_unknown", "There is no such user.")
    state, theirs = (between.state, between.by == command.to) if between else ("removed", False)
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


def _review(command: c.ReviewConnection, offset: int, between: Connection | None) -> Verdict:
    if between is None or between.state != "requested" or between.by != command.requester:
        return refuse("request_unknown", "There is no request of theirs that waits for your answer.")
    kind = f.ConnectionAccepted if command.verdict == "accepted" else f.ConnectionRejected
    return _happened(kind, command, offset, command.requester)


def _remove(command: c.RemoveConnection, offset: int, between: Connection | None) -> Verdict:
    if between is None or between.state != "accepted":
        return refuse("not_connected", "You are not connected.")
    return _happened(f.ConnectionRemoved, command, offset, command.other)


def _happened(kind: type[Any], command: c.ConnectionCommand, offset: int, other: str) -> Verdict:
    mark = stamp(command, offset)
    event = kind(id=mark.id, seq=mark.seq, at=mark.at, by=command.actor, other=other)
    result = {"user": other, "state": _STATES[kind], "by": command.actor, "at": command.at}
    return accept(result, event)


def evolve(state: Snapshot, event: f.AnyConnectionEvent) -> tuple[AnyDocument, ...]:
    """The connection as it is after the event, unless it is ahead of it already."""
    pair = event.key
    before = state.get(Ref("connection", pair))
    if before is not None and before.seq >= event.seq:
        return ()
    one, other = sorted((event.by, event.other))
    return (
        Connection(
            id=pair_id(one, other),
            seq=event.seq,
            users=(one, other),
            state=state_after(event),
            by=event.by,
            at=event.at,
        ),
    )
