"""What two people may do to what is between them: the whole table of states."""

from typing import Any

import pytest

from devconnect.domain import connections
from devconnect.domain.model import Connection, ConnectionState, Ref, Snapshot, User
from devconnect.domain.verdict import Verdict
from devconnect.events import commands as c, facts as f
from devconnect.events.base import seq_of

AT = 1_700_000_000_000
ME, THEM = "bob", "ann"
STAMP: dict[str, Any] = {"id": "c9", "actor": ME, "at": AT}

ASK = c.RequestConnection(**STAMP, to=THEM, interest="interested")
IGNORE = c.RequestConnection(**STAMP, to=THEM, interest="ignored")
TAKE = c.ReviewConnection(**STAMP, requester=THEM, verdict="accepted")
TURN_DOWN = c.ReviewConnection(**STAMP, requester=THEM, verdict="rejected")
REMOVE = c.RemoveConnection(**STAMP, other=THEM)
COLUMNS = (ASK, IGNORE, TAKE, TURN_DOWN, REMOVE)

#: What is between the two and whose doing it is; then what becomes of each command of mine: the new state in capitals,
#: or the code of the problem.
TABLE = """
state     by    ASK                IGNORE             TAKE            TURN_DOWN       REMOVE
-         -     REQUESTED          IGNORED            request_unknown request_unknown not_connected
requested ME    already_requested  already_requested  request_unknown request_unknown not_connected
requested THEM  ACCEPTED           request_waiting    ACCEPTED        REJECTED        not_connected
ignored   ME    REQUESTED          IGNORED            request_unknown request_unknown not_connected
ignored   THEM  REQUESTED          IGNORED            request_unknown request_unknown not_connected
accepted  ME    already_connected  already_connected  request_unknown request_unknown REMOVED
accepted  THEM  already_connected  already_connected  request_unknown request_unknown REMOVED
rejected  ME    REQUESTED          IGNORED            request_unknown request_unknown not_connected
rejected  THEM  request_rejected   request_rejected   request_unknown request_unknown not_connected
removed   ME    REQUESTED          IGNORED            request_unknown request_unknown not_connected
removed   THEM  REQUESTED          IGNORED            request_unknown request_unknown not_connected
"""


def rows() -> list[Any]:
    found = []
    for line in TABLE.strip().splitlines()[1:]:
        state, by, *outcomes = line.split()
        for command, name, outcome in zip(COLUMNS, TABLE.split()[2:7], outcomes, strict=True):
            found.append(pytest.param(state, by, command, outcome, id=f"{state}-{by}-{name}"))
    return found


def between(state: ConnectionState, by: str, seq: int = 256) -> Connection:
    return Connection(id="ann.bob", seq=seq, users=("ann", "bob"), state=state, by=by, at=AT - 1)


def snapshot(connection: Connection | None, *users: str) -> Snapshot:
    found: Snapshot = {Ref("user", user): person(user) for user in users}
    return found if connection is None else {**found, Ref("connection", connection.id): connection}


def person(user: str) -> User:
    return User(
        id=user,
        seq=256,
        email=f"{user}@x",
        profile=f.Profile(name=user),
        tier="free",
        role="member",
        created_at=AT,
        updated_at=AT,
    )


def code(verdict: Verdict) -> str | None:
    return verdict.problem.code if verdict.problem else None


@pytest.mark.parametrize(("state", "by", "command", "outcome"), rows())
def test_each_command_in_each_state(state: Any, by: str, command: c.ConnectionCommand, outcome: str) -> None:
    before = None if state == "-" else between(state, ME if by == "ME" else THEM)
    verdict = connections.decide(command, 9, snapshot(before, ME, THEM))
    if outcome.islower():
        assert code(verdict) == outcome
        assert verdict.result is None
        assert verdict.events == ()
        assert verdict.problem is not None
        assert verdict.problem.detail.endswith(".")
        return
    state_now = outcome.lower()
    assert verdict.problem is None
    assert verdict.result == {"user": THEM, "state": state_now, "by": ME, "at": AT}
    [event] = verdict.events
    assert isinstance(event, f.ConnectionEvent)
    assert (event.id, event.seq, event.at, event.by, event.other) == ("c9.0", seq_of(9), AT, ME, THEM)
    assert connections.state_after(event) == state_now


def test_nobody_connects_with_themselves() -> None:
    for interest in ("interested", "ignored"):
        command = c.RequestConnection(**STAMP, to=ME, interest=interest)
        assert code(connections.decide(command, 9, snapshot(None, ME))) == "not_yourself"


@pytest.mark.parametrize("command", [ASK, IGNORE])
def test_nobody_asks_somebody_who_does_not_exist(command: c.RequestConnection) -> None:
    assert code(connections.decide(command, 9, snapshot(None, ME))) == "user_unknown"


@pytest.mark.parametrize("command", COLUMNS)
def test_a_verdict_rests_only_on_the_documents_that_are_asked_for(command: c.ConnectionCommand) -> None:
    refs = connections.wanted(command)
    assert Ref("connection", "ann.bob") in refs
    whole = snapshot(between("requested", THEM), ME, THEM, "eve")
    asked = {ref: document for ref, document in whole.items() if ref in refs}
    assert connections.decide(command, 9, asked) == connections.decide(command, 9, whole)


EVENTS = (
    (f.ConnectionRequested, "requested"),
    (f.ConnectionIgnored, "ignored"),
    (f.ConnectionAccepted, "accepted"),
    (f.ConnectionRejected, "rejected"),
    (f.ConnectionRemoved, "removed"),
)


@pytest.mark.parametrize(("kind", "state"), EVENTS)
@pytest.mark.parametrize("before", [None, between("rejected", THEM, seq=2047)])
def test_an_event_leaves_its_state_and_who_brought_it_about(kind: Any, state: str, before: Connection | None) -> None:
    event = kind(id="c9.0", seq=2048, at=AT, by=ME, other=THEM)
    [after] = connections.evolve(snapshot(before), event)
    assert after == Connection(id="ann.bob", seq=2048, users=("ann", "bob"), state=state, by=ME, at=AT)


@pytest.mark.parametrize("seq", [2048, 2049])
def test_a_connection_that_is_ahead_of_an_event_stays_as_it_is(seq: int) -> None:
    event = f.ConnectionRequested(id="c9.0", seq=2048, at=AT, by=ME, other=THEM)
    assert connections.evolve(snapshot(between("accepted", THEM, seq)), event) == ()
