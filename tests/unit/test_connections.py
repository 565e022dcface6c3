"""What two people may do to what is between them: the whole table of states."""

from typing import Any

import msgspec
import pytest

from devconnect.domain import connections
from devconnect.domain.model import Connection, ConnectionState, Ref, Report, Snapshot, User, ref_of
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
WITHDRAW = c.WithdrawRequest(**STAMP, to=THEM)
BLOCK = c.BlockUser(**STAMP, other=THEM)
UNBLOCK = c.UnblockUser(**STAMP, other=THEM)
REPORT = c.ReportUser(**STAMP, other=THEM, reason="spam", note="ads")
CLOSE = c.CloseReport(
    **{**STAMP, "actor": "op"}, report="c1", reporter=ME, reported=THEM, outcome="warned", authority="operator"
)
COLUMNS = (ASK, IGNORE, TAKE, TURN_DOWN, WITHDRAW, REMOVE)

#: What is between the two and whose doing it is; then what becomes of each command of mine: the new state in capitals,
#: or the code of the problem.
TABLE = """
state     by    ASK                IGNORE             TAKE            TURN_DOWN       WITHDRAW        REMOVE
-         -     REQUESTED          IGNORED            request_unknown request_unknown request_unknown not_connected
none      -     REQUESTED          IGNORED            request_unknown request_unknown request_unknown not_connected
requested ME    already_requested  already_requested  request_unknown request_unknown REMOVED         not_connected
requested THEM  ACCEPTED           request_waiting    ACCEPTED        REJECTED        request_unknown not_connected
ignored   ME    REQUESTED          IGNORED            request_unknown request_unknown request_unknown not_connected
ignored   THEM  REQUESTED          IGNORED            request_unknown request_unknown request_unknown not_connected
accepted  ME    already_connected  already_connected  request_unknown request_unknown request_unknown REMOVED
accepted  THEM  already_connected  already_connected  request_unknown request_unknown request_unknown REMOVED
rejected  ME    REQUESTED          IGNORED            request_unknown request_unknown request_unknown not_connected
rejected  THEM  request_rejected   request_rejected   request_unknown request_unknown request_unknown not_connected
removed   ME    REQUESTED          IGNORED            request_unknown request_unknown request_unknown not_connected
removed   THEM  REQUESTED          IGNORED            request_unknown request_unknown request_unknown not_connected
"""
#: What becomes of them while somebody blocks somebody: nothing but refusals, and to whom is blocked there is nobody.
UNDER_A_BLOCK = """
blocks ASK            IGNORE         TAKE            TURN_DOWN       WITHDRAW        REMOVE
ME     blocked_by_you blocked_by_you request_unknown request_unknown request_unknown not_connected
THEM   user_unknown   user_unknown   request_unknown request_unknown request_unknown not_connected
BOTH   blocked_by_you blocked_by_you request_unknown request_unknown request_unknown not_connected
"""
BLOCKERS = {"ME": (ME,), "THEM": (THEM,), "BOTH": (ME, THEM)}


def rows() -> list[Any]:
    found = []
    for line in TABLE.strip().splitlines()[1:]:
        state, by, *outcomes = line.split()
        for command, name, outcome in zip(COLUMNS, TABLE.split()[2:8], outcomes, strict=True):
            found.append(pytest.param(state, by, command, outcome, id=f"{state}-{by}-{name}"))
    return found


def between(state: ConnectionState, by: str, seq: int = 256, *blockers: str) -> Connection:
    blocked_by = dict.fromkeys(blockers, AT - 1)
    return Connection(id="ann.bob", seq=seq, users=("ann", "bob"), state=state, by=by, at=AT - 1, blocked_by=blocked_by)


def snapshot(connection: Connection | None, *users: str) -> Snapshot:
    found: Snapshot = {Ref("user", user): person(user) for user in users}
    return found if connection is None else {**found, Ref("connection", connection.id): connection}


def person(user: str, *, deleted: bool = False) -> User:
    return User(
        deleted=deleted,
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
    before = None if state == "-" else between(state, {"ME": ME, "THEM": THEM}.get(by, ""))
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


@pytest.mark.parametrize("command", [*COLUMNS, BLOCK, UNBLOCK, REPORT])
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
    (f.RequestWithdrawn, "removed"),
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


# -- blocks


def under_a_block() -> list[Any]:
    found = []
    for line in UNDER_A_BLOCK.strip().splitlines()[1:]:
        who, *outcomes = line.split()
        for command, outcome in zip(COLUMNS, outcomes, strict=True):
            found.append(pytest.param(BLOCKERS[who], command, outcome, id=f"{who}-{type(command).__name__}-{outcome}"))
    return found


@pytest.mark.parametrize(("blockers", "command", "outcome"), under_a_block())
@pytest.mark.parametrize("state", ["removed", "rejected"])
def test_nothing_passes_a_block(blockers: Any, command: c.ConnectionCommand, outcome: str, state: Any) -> None:
    there = snapshot(between(state, THEM, 256, *blockers), ME, THEM)
    assert code(connections.decide(command, 9, there)) == outcome


@pytest.mark.parametrize("command", COLUMNS)
def test_who_is_blocked_hears_what_they_would_hear_of_somebody_who_does_not_exist(command: c.ConnectionCommand) -> None:
    barred = snapshot(between("removed", THEM, 256, THEM), ME, THEM)
    assert connections.decide(command, 9, barred) == connections.decide(command, 9, snapshot(None, ME))


@pytest.mark.parametrize("state", ["requested", "ignored", "accepted", "rejected", "removed"])
@pytest.mark.parametrize("by", [ME, THEM])
def test_a_block_ends_what_stands_but_not_a_rejection(state: Any, by: str) -> None:
    there = snapshot(between(state, by), ME, THEM)
    verdict = connections.decide(BLOCK, 9, there)
    assert verdict.result == {"user": THEM, "state": "blocked", "by": ME, "at": AT}
    [after] = evolved(there, verdict)
    assert after.blocked_by == {ME: AT}
    assert (after.state, after.by) == (("rejected", by) if state == "rejected" else ("removed", ME))
    # Who counts connections counts one less.
    assert [type(event) for event in verdict.events] == [f.ConnectionRemoved] * (state == "accepted") + [f.UserBlocked]


def evolved(state: Snapshot, verdict: Verdict) -> list[Connection]:
    """The connection after the events of a verdict."""
    state = dict(state)
    for event in verdict.events:
        assert isinstance(event, f.ConnectionEvent)
        state.update((ref_of(each), each) for each in connections.evolve(state, event))
    return [each for each in state.values() if isinstance(each, Connection)]


def test_strangers_can_be_blocked_and_people_who_have_left_but_nobody_who_never_was() -> None:
    [after] = evolved({}, connections.decide(BLOCK, 9, snapshot(None, THEM)))
    assert after.blocked_by == {ME: AT}
    gone: Snapshot = {Ref("user", THEM): person(THEM, deleted=True)}
    assert code(connections.decide(BLOCK, 9, gone)) is None
    assert code(connections.decide(BLOCK, 9, {})) == "user_unknown"
    assert code(connections.decide(c.BlockUser(**STAMP, other=ME), 9, snapshot(None, ME))) == "not_yourself"


def test_who_blocks_twice_is_told_since_when() -> None:
    verdict = connections.decide(BLOCK, 9, snapshot(between("removed", ME, 256, ME), THEM))
    assert verdict.result == {"user": THEM, "state": "blocked", "by": ME, "at": AT - 1}
    assert verdict.events == ()


def test_a_block_is_taken_back_by_who_made_it_alone() -> None:
    assert code(connections.decide(UNBLOCK, 9, {})) == "not_blocked"
    assert code(connections.decide(UNBLOCK, 9, snapshot(between("removed", THEM, 256, THEM)))) == "not_blocked"
    there = snapshot(between("removed", THEM, 256, ME, THEM), THEM)
    [after] = evolved(there, connections.decide(UNBLOCK, 9, there))
    assert after.blocked_by == {THEM: AT - 1}


def test_nobody_blocks_and_unblocks_their_way_past_a_rejection() -> None:
    state = snapshot(between("rejected", THEM), ME, THEM)
    for command in (BLOCK, UNBLOCK):
        [after] = evolved(state, connections.decide(command, after_of(state), state))
        state[Ref("connection", after.id)] = after
    assert code(connections.decide(ASK, 99, state)) == "request_rejected"


def test_who_takes_a_block_back_says_what_stands_again() -> None:
    [event] = connections.decide(UNBLOCK, 9, snapshot(between("rejected", THEM, 256, ME), THEM)).events
    assert event == f.UserUnblocked(id="c9.0", seq=seq_of(9), at=AT, by=ME, other=THEM, rejected_by=THEM)
    [event] = connections.decide(UNBLOCK, 9, snapshot(between("removed", ME, 256, ME, THEM), THEM)).events
    assert event == f.UserUnblocked(id="c9.0", seq=seq_of(9), at=AT, by=ME, other=THEM, mutual=True)


def after_of(state: Snapshot) -> int:
    """An offset behind what made the state."""
    return state[Ref("connection", "ann.bob")].seq // 256 + 1


@pytest.mark.parametrize("command", [ASK, IGNORE])
def test_who_has_left_can_not_be_asked(command: c.ConnectionCommand) -> None:
    gone: Snapshot = {Ref("user", THEM): person(THEM, deleted=True)}
    assert code(connections.decide(command, 9, gone)) == "user_unknown"


@pytest.mark.parametrize("command", [TAKE, TURN_DOWN])
def test_the_request_of_somebody_who_has_left_is_gone_with_them(command: c.ConnectionCommand) -> None:
    gone = {**snapshot(between("requested", THEM)), Ref("user", THEM): person(THEM, deleted=True)}
    assert code(connections.decide(command, 9, gone)) == "request_unknown"


# -- reports


def report(**fields: Any) -> Report:
    return Report(**{"id": "c1", "seq": 256, "by": ME, "user": THEM, "reason": "spam", "note": "", "at": AT, **fields})


@pytest.mark.parametrize("before", [None, between("accepted", ME), between("removed", THEM, 256, ME, THEM)])
def test_anybody_can_be_reported_whatever_stands_and_it_stands_as_before(before: Connection | None) -> None:
    there = snapshot(before, THEM)
    verdict = connections.decide(REPORT, 9, there)
    assert verdict.result == {"report": "c9", "user": THEM, "reason": "spam", "at": AT}
    [event] = verdict.events
    assert isinstance(event, f.UserReported)
    made, after = connections.evolve(there, event)
    assert made == report(id="c9", seq=seq_of(9), note="ads")
    assert isinstance(after, Connection)
    assert after.reports == {ME: "c9"}
    assert (after.state, after.blocked_by) == ((before.state, before.blocked_by) if before else ("none", {}))


def test_one_report_of_somebody_is_open_at_a_time() -> None:
    there = snapshot(between("none", ""), THEM)
    [after] = evolved(there, connections.decide(REPORT, 9, there))
    there[Ref("connection", after.id)] = after
    again = c.ReportUser(id="c10", actor=ME, at=AT, other=THEM, reason="other")
    assert code(connections.decide(again, 10, there)) == "already_reported"
    back = c.ReportUser(id="c11", actor=THEM, at=AT, other=ME, reason="other")
    assert code(connections.decide(back, 11, {**there, **snapshot(None, ME)})) is None


def test_nobody_reports_themselves_or_somebody_who_never_was() -> None:
    assert code(connections.decide(REPORT, 9, {})) == "user_unknown"
    own = c.ReportUser(**STAMP, other=ME, reason="spam")
    assert code(connections.decide(own, 9, snapshot(None, ME))) == "not_yourself"


def test_a_closed_report_says_by_whom_and_what_came_of_it_and_another_can_be_made() -> None:
    pair = msgspec.structs.replace(between("accepted", ME), reports={ME: "c1", THEM: "c2"})
    there: Snapshot = {Ref("connection", "ann.bob"): pair, Ref("report", "c1"): report()}
    verdict = connections.decide(CLOSE, 9, there)
    assert verdict.result == {"report": "c1", "outcome": "warned", "closed_by": "op", "closed_at": AT}
    [event] = verdict.events
    assert isinstance(event, f.ReportClosed)
    closed, after = connections.evolve(there, event)
    assert closed == report(seq=seq_of(9), closed_at=AT, closed_by="op", outcome="warned")
    assert isinstance(after, Connection)
    assert after.reports == {THEM: "c2"}
    assert code(connections.decide(CLOSE, 10, {**there, Ref("report", "c1"): closed})) == "report_closed"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"authority": "member"}, "not_allowed"),
        ({"authority": "analyst"}, "not_allowed"),
        ({"actor": THEM}, "not_allowed"),
        ({"actor": "system", "authority": "member"}, None),
        ({"reporter": "eve"}, "report_unknown"),
        ({"reported": "eve"}, "report_unknown"),
    ],
)
def test_only_operators_close_reports_and_not_those_of_themselves(changes: Any, outcome: str | None) -> None:
    there: Snapshot = {Ref("report", "c1"): report()}
    assert code(connections.decide(msgspec.structs.replace(CLOSE, **changes), 9, there)) == outcome
    if "authority" in changes:
        assert code(connections.decide(CLOSE, 9, {})) == "report_unknown"


@pytest.mark.parametrize("kind", [f.UserBlocked, f.UserUnblocked])
def test_a_block_on_a_connection_that_is_ahead_changes_nothing(kind: Any) -> None:
    event = kind(id="c9.0", seq=2048, at=AT, by=ME, other=THEM)
    assert connections.evolve(snapshot(between("removed", ME, 2048)), event) == ()


def test_a_report_whose_connection_is_ahead_is_made_and_one_that_is_ahead_is_left_alone() -> None:
    event = f.UserReported(id="c9.0", seq=2048, at=AT, by=ME, other=THEM, report="c9", reason="spam")
    ahead = snapshot(between("removed", ME, 2048))
    assert connections.evolve(ahead, event) == (report(id="c9", seq=2048),)
    assert connections.evolve({**ahead, Ref("report", "c9"): report(id="c9", seq=4096)}, event) == ()
