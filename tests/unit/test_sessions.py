"""Sessions: how many, for how long, by which token, and what ends them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from devconnect.domain import sessions
from devconnect.domain.model import Login, Logins, Ref, Snapshot
from devconnect.domain.sessions import MOST, RETRY_MS, effective_role
from devconnect.domain.verdict import Verdict
from devconnect.events import commands as c, facts as f
from devconnect.events.base import Role, seq_of
from tests.unit.account_samples import (
    ANN,
    AT,
    DAY,
    STAMP,
    after,
    changed,
    code,
    decide,
    fact,
    login,
    logins,
    snapshot,
    tags,
)

ENDS: dict[str, int] = {"expires_at": AT + DAY, "ends_at": AT + 9 * DAY}


def log_in(session: str = "new", **fields: Any) -> c.LogIn:
    return c.LogIn(**STAMP, session=session, **{**ENDS, **fields})


def renewal(generation: int = 0, **fields: Any) -> c.RenewSession:
    given = {"session": "s1", "expires_at": AT + 2 * DAY, "successor": "s2"}
    return c.RenewSession(**STAMP, generation=generation, **{**given, **fields})


def left(verdict: Verdict, *there: Any) -> dict[str, Login]:
    found = after(verdict, ANN, *there)[Ref("logins", "ann")]
    assert isinstance(found, Logins)
    return found.sessions


# -- log-in


def test_the_session_that_was_used_longest_ago_makes_room_for_another_one() -> None:
    many = logins(**{f"s{number:03}": login(number) for number in range(MOST)})
    verdict = decide(log_in(), ANN, many)
    assert tags(verdict) == ["s000 too_many", "user.logged_in"]
    kept = left(verdict, many)
    assert set(kept) == {f"s{number:03}" for number in range(1, MOST)} | {"new"}


@pytest.mark.parametrize("over", [{"expires_at": AT}, {"ends_at": AT}])
def test_expired_sessions_leave_at_a_log_in_without_a_word_and_make_room(over: dict[str, int]) -> None:
    many = logins(**{f"s{number:03}": login(number) for number in range(MOST - 1)}, old=login(**over))
    verdict = decide(log_in(), ANN, many)
    assert tags(verdict) == ["user.logged_in"]
    assert set(left(verdict, many)) == {f"s{number:03}" for number in range(MOST - 1)} | {"new"}


def test_a_session_ends_at_its_absolute_end_at_the_latest() -> None:
    verdict = decide(log_in(expires_at=AT + 99 * DAY), ANN)
    assert verdict.result is not None
    assert verdict.result["expires_at"] == verdict.result["ends_at"] == AT + 9 * DAY
    assert left(verdict)["new"].expires_at == AT + 9 * DAY


def test_a_session_without_an_absolute_end_has_its_first_one() -> None:
    """As the events of before there were two ends say."""
    verdict = decide(log_in(ends_at=0), ANN)
    assert left(verdict)["new"].ends_at == AT + DAY
    [opened] = sessions.evolve({}, fact(f.UserLoggedIn, session="s1", expires_at=AT + DAY))
    assert isinstance(opened, Logins)
    assert opened.sessions["s1"].ends_at == AT + DAY


# -- renewal


def test_a_renewal_moves_the_idle_end_and_the_generation() -> None:
    there = logins(s1=login(generation=4), s9=login())
    verdict = decide(renewal(4, place="cafe"), ANN, there)
    assert verdict.result == {
        "session": "s1",
        "generation": 5,
        "user": "ann",
        "expires_at": AT + 2 * DAY,
        "ends_at": AT + 9 * DAY,
    }
    moved = login(generation=5, used_at=AT, expires_at=AT + 2 * DAY, place="cafe")
    assert left(verdict, there) == {"s1": moved, "s9": login()}


def test_no_renewal_passes_the_absolute_end() -> None:
    verdict = decide(renewal(expires_at=AT + 99 * DAY), ANN, logins(s1=login()))
    assert verdict.result is not None
    assert verdict.result["expires_at"] == AT + 9 * DAY


@pytest.mark.parametrize(
    "there", [(), (logins(),), (logins(s1=login(expires_at=AT)),), (logins(s1=login(ends_at=AT)),)]
)
def test_a_session_that_is_over_is_not_renewed(there: Any) -> None:
    verdict = decide(renewal(), ANN, *there)
    assert code(verdict) == "session_unknown"
    assert verdict.events == ()


def test_a_renewal_whose_answer_was_lost_is_answered_again() -> None:
    """The token that it would have brought is the one that is good now."""
    there = logins(s1=login())
    first = decide(renewal(), ANN, there)
    state = after(first, ANN, there)
    again = decide(changed(renewal(), at=AT + RETRY_MS - 1), *state.values())
    assert (again.result, again.events) == (first.result, ())


@pytest.mark.parametrize(
    ("generation", "after_ms"),
    [(1, RETRY_MS), (0, 0), (-1, 0), (3, 0)],
    ids=["late", "two behind", "before all", "ahead"],
)
def test_a_renewal_token_that_was_used_before_ends_the_session(generation: int, after_ms: int) -> None:
    there = logins(s1=login(generation=2, used_at=AT - after_ms), s9=login())
    verdict = decide(renewal(generation), ANN, there)
    assert code(verdict) == "token_reused"
    assert tags(verdict) == ["s1 reuse"]
    assert set(left(verdict, there)) == {"s9"}


def test_a_role_that_has_risen_takes_a_new_session() -> None:
    operator, there = changed(ANN, role="operator"), logins(s1=login(generation=4, role="analyst"))
    verdict = decide(renewal(4), operator, there)
    assert tags(verdict) == ["s1 replaced", "user.logged_in"]
    assert verdict.result == {
        "session": "s2",
        "generation": 0,
        "user": "ann",
        "expires_at": AT + 2 * DAY,
        "ends_at": AT + 9 * DAY,
    }
    heir = login(created_at=AT, used_at=AT, expires_at=AT + 2 * DAY, role="operator")
    assert left(verdict, there) == {"s2": heir}


def test_a_role_that_was_lowered_needs_no_new_session() -> None:
    there = logins(s1=login(role="operator"))
    assert tags(decide(renewal(), ANN, there)) == ["user.session_renewed"]


@pytest.mark.parametrize(
    ("session", "user", "effective"),
    [
        ("member", "operator", "member"),
        ("operator", "member", "member"),
        ("analyst", "operator", "analyst"),
        ("operator", "operator", "operator"),
    ],
)
def test_a_session_gives_no_more_than_it_was_opened_with_and_no_more_than_the_user_has(
    session: Role, user: Role, effective: Role
) -> None:
    assert effective_role(session, user) == effective


# -- ends


def test_a_log_out_of_what_is_over_or_somebody_elses_is_refused() -> None:
    assert code(decide(c.LogOut(**STAMP, session="s2"), logins(s1=login()))) == "session_unknown"
    assert code(decide(c.LogOut(**STAMP, session="s1"))) == "session_unknown"


def test_one_session_can_be_kept_where_all_others_end() -> None:
    there = logins(s1=login(), s2=login(), s3=login())
    verdict = decide(c.LogOutEverywhere(**STAMP, keep="s2"), ANN, there)
    assert verdict.result == {"ended": 2}
    assert set(left(verdict, there)) == {"s2"}


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (c.ChangePassword(**STAMP, password_hash="h", session="s1", successor="new", **ENDS), {"new"}),
        (c.DeleteAccount(**STAMP), set()),
    ],
)
def test_every_session_ends_with_the_password_and_with_the_account(command: c.UserCommand, kept: set[str]) -> None:
    there = logins(**{f"s{number}": login() for number in range(MOST)})
    verdict = decide(command, ANN, there)
    assert set(left(verdict, there)) == kept
    assert sum(isinstance(event, f.UserLoggedOut) for event in verdict.events) == MOST


def test_a_password_is_changed_by_an_open_session_only() -> None:
    command = c.ChangePassword(**STAMP, password_hash="h", session="s1", successor="s2", **ENDS)
    verdict = decide(command, ANN, logins(s9=login()))
    assert code(verdict) == "session_unknown"
    assert verdict.events == ()


# -- documents


EVENTS = [
    fact(f.UserLoggedIn, session="s2", expires_at=AT + DAY, ends_at=AT + DAY),
    fact(f.SessionRenewed, session="s1", expires_at=AT + 2 * DAY, generation=1),
    fact(f.UserLoggedOut, session="s1"),
]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("ahead", [0, 1])
def test_sessions_that_are_ahead_of_an_event_stay_as_they_are(event: Any, ahead: int) -> None:
    assert sessions.evolve(snapshot(changed(logins(s1=login()), seq=seq_of(9) + ahead)), event) == ()


kinds = st.sampled_from(("in", "renew", "out", "everywhere", "password"))


@given(st.lists(st.tuples(kinds, st.integers(0, 3), st.integers(0, 2), st.integers(0, 9)), max_size=40))
def test_whatever_is_done_sessions_are_bounded_and_ended_ones_stay_so(steps: list[tuple[str, int, int, int]]) -> None:
    """Every session id comes once, as the gateway draws it."""
    state: Snapshot = snapshot(ANN)
    over: set[str] = set()
    opened: list[str] = []
    for number, (kind, which, generation, hours) in enumerate(steps):
        stamp: dict[str, Any] = {"id": f"c{number}", "actor": "ann", "at": AT + hours * DAY // 4}
        session = opened[-1 - which % len(opened)] if opened else "none"
        ends = {"expires_at": stamp["at"] + DAY, "ends_at": stamp["at"] + 3 * DAY}
        command: Any = {
            "in": c.LogIn(**stamp, session=f"s{number}", **ends),
            "renew": c.RenewSession(
                **stamp, session=session, generation=generation, expires_at=ends["expires_at"], successor=f"s{number}"
            ),
            "out": c.LogOut(**stamp, session=session),
            "everywhere": c.LogOutEverywhere(**stamp, keep=session),
            "password": c.ChangePassword(**stamp, password_hash="h", session=session, successor=f"s{number}", **ends),
        }[kind]
        verdict = decide(command, *state.values())
        state = after(verdict, *(msgspec.structs.replace(each, seq=0) for each in state.values()))
        over |= {event.session for event in verdict.events if isinstance(event, f.UserLoggedOut)}
        opened += [event.session for event in verdict.events if isinstance(event, f.UserLoggedIn)]
        found = state.get(Ref("logins", "ann"))
        if isinstance(found, Logins):
            assert not over & found.sessions.keys()
            assert len(found.sessions) <= MOST
            assert all(each.expires_at <= each.ends_at for each in found.sessions.values())
