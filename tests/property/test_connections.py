"""Two people who do whatever they like to what is between them: held against a model that knows no documents."""

from random import Random
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from devconnect.adapters.mongo.records import relation_fields
from devconnect.domain import connections
from devconnect.domain.model import Connection, Ref, Snapshot, User, ref_of
from devconnect.domain.projections import PutRelation, project
from devconnect.events import commands as c, facts as f

AT = 1_700_000_000_000
PAIR = "ann.bob"
people = st.sampled_from(["ann", "bob"])


def other_than(one: str) -> str:
    return "bob" if one == "ann" else "ann"


class Two(RuleBasedStateMachine):
    """What stands is a name and whose doing it is; blocks and reports are pairs of who and whom."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = 0
        self.state: Snapshot = {Ref("user", name): user(name) for name in ("ann", "bob")}
        self.events: list[f.ConnectionEvent] = []
        self.standing, self.by = "", ""
        self.blocks: set[str] = set()
        self.reports: dict[str, str] = {}

    def give(self, kind: Any, actor: str, **fields: Any) -> str:
        """What becomes of a command: a problem's code, or "" for yes. Some of the events come twice."""
        self.offset += 1
        command = kind(id=f"c{self.offset}", actor=actor, at=AT + self.offset, **fields)
        verdict = connections.decide(command, self.offset, self.state)
        for event in (*verdict.events, *verdict.events):
            assert isinstance(event, f.ConnectionEvent)
            changed = connections.evolve(self.state, event)
            assert {ref_of(each) for each in changed} <= set(connections.touched(event))
            self.state = {**self.state, **{ref_of(each): each for each in changed}}
        self.events += [event for event in verdict.events if isinstance(event, f.ConnectionEvent)]
        return verdict.problem.code if verdict.problem else ""

    def now(self, standing: str, by: str) -> str:
        self.standing, self.by = standing, by
        return ""

    @rule(actor=people, ignored=st.booleans())
    def ask(self, actor: str, ignored: bool) -> None:
        other = other_than(actor)
        due = self._asked(actor, other, ignored=ignored)
        interest = "ignored" if ignored else "interested"
        assert self.give(c.RequestConnection, actor, to=other, interest=interest) == due

    def _asked(self, actor: str, other: str, *, ignored: bool) -> str:
        if actor in self.blocks:
            return "blocked_by_you"
        if other in self.blocks:
            return "user_unknown"
        match self.standing, self.by == actor:
            case "accepted", _:
                return "already_connected"
            case "requested", True:
                return "already_requested"
            case "requested", False if ignored:
                return "request_waiting"
            case "requested", False:
                return self.now("accepted", actor)
            case "rejected", False:
                return "request_rejected"
            case _:
                return self.now("ignored" if ignored else "requested", actor)

    @rule(actor=people, accepted=st.booleans())
    def answer(self, actor: str, accepted: bool) -> None:
        verdict = "accepted" if accepted else "rejected"
        waits = (self.standing, self.by) == ("requested", other_than(actor))
        due = self.now(verdict, actor) if waits else "request_unknown"
        assert self.give(c.ReviewConnection, actor, requester=other_than(actor), verdict=verdict) == due

    @rule(actor=people)
    def withdraw(self, actor: str) -> None:
        due = self.now("", "") if (self.standing, self.by) == ("requested", actor) else "request_unknown"
        assert self.give(c.WithdrawRequest, actor, to=other_than(actor)) == due

    @rule(actor=people)
    def remove(self, actor: str) -> None:
        due = self.now("", "") if self.standing == "accepted" else "not_connected"
        assert self.give(c.RemoveConnection, actor, other=other_than(actor)) == due

    @rule(actor=people)
    def block(self, actor: str) -> None:
        if actor not in self.blocks and self.standing != "rejected":
            self.now("", "")
        self.blocks.add(actor)
        assert self.give(c.BlockUser, actor, other=other_than(actor)) == ""

    @rule(actor=people)
    def unblock(self, actor: str) -> None:
        due = "" if actor in self.blocks else "not_blocked"
        self.blocks.discard(actor)
        assert self.give(c.UnblockUser, actor, other=other_than(actor)) == due

    @rule(actor=people)
    def report(self, actor: str) -> None:
        due = "already_reported" if actor in self.reports else ""
        assert self.give(c.ReportUser, actor, other=other_than(actor), reason="spam") == due
        self.reports.setdefault(actor, f"c{self.offset}")

    @rule(reporter=people, guess=st.booleans())
    def close(self, reporter: str, guess: bool) -> None:
        open_one = self.reports.get(reporter)
        report = "nobody's" if guess or open_one is None else open_one
        told = {"report": report, "reporter": reporter, "reported": other_than(reporter), "outcome": "read"}
        due = "report_unknown" if report == "nobody's" else ""
        assert self.give(c.CloseReport, "op", **told, authority="operator") == due
        if not due:
            del self.reports[reporter]
            assert self.give(c.CloseReport, "op", **told, authority="operator") == "report_closed"

    # -- what must be so

    def connection(self) -> Connection | None:
        found = self.state.get(Ref("connection", PAIR))
        assert found is None or isinstance(found, Connection)
        return found

    @invariant()
    def the_document_says_what_the_model_does(self) -> None:
        found = self.connection()
        if found is None:
            assert (self.standing, self.blocks, self.reports) == ("", set(), {})
            return
        assert set(found.blocked_by) == self.blocks
        assert found.reports == self.reports
        state = "" if found.state in ("none", "removed") else found.state
        assert (state, found.by if state else "") == (self.standing, self.by)

    @invariant()
    def nobody_is_connected_across_a_block(self) -> None:
        assert not self.blocks or self.standing in ("", "rejected")

    @invariant()
    def both_stores_show_the_same_whatever_order_the_events_come_in(self) -> None:
        found = self.connection()
        due = {
            (fields["user"], fields["other"]): (fields["state"], fields["by"], fields["at"])
            for fields in (relation_fields(found) if found else ())
        }
        newest: dict[tuple[str, str], PutRelation] = {}
        for event in Random(self.offset).sample(self.events, len(self.events)):
            for update in project(event):
                assert isinstance(update, PutRelation)
                before = newest.get((update.user, update.other))
                if before is None or before.seq < update.seq:
                    newest[update.user, update.other] = update
        assert {pair: (each.state, each.by, each.at) for pair, each in newest.items()} == due

    @invariant()
    def each_sees_their_own_side(self) -> None:
        found = self.connection()
        for fields in relation_fields(found) if found else ():
            mine, theirs = fields["user"] in self.blocks, fields["other"] in self.blocks
            assert (fields["state"] == "blocked") == mine
            assert (fields["state"] == "barred") == (theirs and not mine)


def user(name: str) -> User:
    return User(
        id=name,
        seq=1,
        email=f"{name}@x",
        profile=f.Profile(name=name),
        tier="free",
        role="member",
        created_at=AT,
        updated_at=AT,
    )


TestTwo = Two.TestCase
TestTwo.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
