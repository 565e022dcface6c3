"""Accounts and sessions: what each user command leads to, and what it is refused for."""

import json
from typing import Any

import msgspec
import pytest

from devconnect.domain import accounts
from devconnect.domain.model import AnyDocument, Session, Snapshot, User, ref_of
from devconnect.domain.verdict import Verdict
from devconnect.events import commands as c, facts as f
from devconnect.events.base import SYSTEM, seq_of

AT = 1_700_000_000_000
PROFILE = f.Profile(name="Ann", headline="Compilers", about="Parsers.", photo_url="https://x/a.png", skills=("python",))
ANN = User(
    id="ann",
    seq=256,
    email="ann@x",
    profile=PROFILE,
    tier="silver",
    role="member",
    created_at=AT - 9,
    updated_at=AT - 9,
)
OPEN = Session(id="s1", seq=256, user="ann", device="phone", created_at=AT - 9, expires_at=AT + 9)
ENDED = msgspec.structs.replace(OPEN, ended_at=AT - 1)
STAMP: dict[str, Any] = {"id": "c9", "actor": "ann", "at": AT}
SYSTEM_STAMP = {**STAMP, "actor": SYSTEM}
FACT: dict[str, Any] = {"id": "c9.0", "seq": seq_of(9), "at": AT, "user": "ann"}

SIGN_UP = c.SignUp(
    **STAMP,
    user="ann",
    email="ann@x",
    password_hash="secret-hash",
    name="Ann",
    headline="Compilers",
    about="Parsers.",
    photo_url="https://x/a.png",
    skills=("python",),
)


def snapshot(*documents: AnyDocument) -> Snapshot:
    return {ref_of(document): document for document in documents}


def decide(command: c.UserCommand, *documents: AnyDocument, holder: str = "ann") -> Verdict:
    return accounts.decide(command, 9, snapshot(*documents), {"ann@x": holder} if holder else {})


def code(verdict: Verdict) -> str | None:
    assert (verdict.problem is None) != (verdict.result is None)
    return verdict.problem.code if verdict.problem else None


def view(**changes: Any) -> dict[str, Any]:
    account = {"id": "ann", "email": "ann@x", **msgspec.to_builtins(PROFILE), "tier": "silver", "role": "member"}
    return {**account, "created_at": AT - 9, **changes}


#: Command, what is there, the result, what has happened.
ACCEPTED: list[tuple[str, c.UserCommand, tuple[AnyDocument, ...], dict[str, Any], list[f.AnyEvent]]] = [
    (
        "sign-up",
        SIGN_UP,
        (),
        view(tier="free", created_at=AT),
        [f.UserSignedUp(**FACT, email="ann@x", profile=PROFILE, tier="free", role="member")],
    ),
    (
        "log-in",
        c.LogIn(**STAMP, session="s1", expires_at=AT + 9, device="phone"),
        (ANN,),
        {"session": "s1", "user": "ann", "expires_at": AT + 9},
        [f.UserLoggedIn(**FACT, session="s1", expires_at=AT + 9, device="phone")],
    ),
    (
        "log-out",
        c.LogOut(**STAMP, session="s1"),
        (OPEN,),
        {"session": "s1"},
        [f.UserLoggedOut(**FACT, session="s1")],
    ),
    ("log-out twice", c.LogOut(**STAMP, session="s1"), (ENDED,), {"session": "s1"}, []),
    (
        "one field of the profile",
        c.ChangeProfile(**STAMP, headline="Kafka"),
        (ANN,),
        view(headline="Kafka"),
        [f.ProfileChanged(**FACT, profile=msgspec.structs.replace(PROFILE, headline="Kafka"))],
    ),
    (
        "all fields of the profile, some to nothing",
        c.ChangeProfile(**STAMP, name="A", headline="", about="", photo_url="", skills=()),
        (ANN,),
        view(name="A", headline="", about="", photo_url="", skills=[]),
        [f.ProfileChanged(**FACT, profile=f.Profile(name="A"))],
    ),
    ("the profile as it is", c.ChangeProfile(**STAMP, name="Ann"), (ANN,), view(), []),
    ("no field of the profile", c.ChangeProfile(**STAMP), (ANN,), view(), []),
    (
        "a tier",
        c.ChangeTier(**SYSTEM_STAMP, user="ann", tier="gold"),
        (ANN,),
        view(tier="gold"),
        [f.TierChanged(**FACT, tier="gold")],
    ),
    ("the tier they have", c.ChangeTier(**SYSTEM_STAMP, user="ann", tier="silver"), (ANN,), view(), []),
    (
        "a role",
        c.ChangeRole(**SYSTEM_STAMP, user="ann", role="analyst"),
        (ANN,),
        view(role="analyst"),
        [f.RoleChanged(**FACT, role="analyst")],
    ),
    ("the role they have", c.ChangeRole(**SYSTEM_STAMP, user="ann", role="member"), (ANN,), view(), []),
    (
        "a device comes",
        c.GoOnline(**STAMP, session="s1", until=AT + 60_000),
        (),
        {"online": True, "until": AT + 60_000},
        [f.UserCameOnline(**FACT, session="s1", until=AT + 60_000)],
    ),
    (
        "a device goes",
        c.GoOffline(**STAMP, session="s1"),
        (),
        {"online": False},
        [f.UserWentOffline(**FACT, session="s1")],
    ),
    (
        "notifications",
        c.ReadNotifications(**STAMP, notifications=("n1", "n2")),
        (),
        {"read": ["n1", "n2"]},
        [f.NotificationsRead(**FACT, notifications=("n1", "n2"))],
    ),
]
accepted = pytest.mark.parametrize(
    ("command", "there", "result", "events"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED]
)

REFUSED: list[tuple[str, c.UserCommand, tuple[AnyDocument, ...], str, str]] = [
    ("an address that somebody else holds", SIGN_UP, (), "eve", "email_taken"),
    ("an address that wasn't reserved", SIGN_UP, (), "", "email_taken"),
    ("a log-in of nobody", c.LogIn(**STAMP, session="s1", expires_at=AT), (), "ann", "user_unknown"),
    ("a log-out of no session", c.LogOut(**STAMP, session="s1"), (), "ann", "session_unknown"),
    (
        "a log-out of somebody else's session",
        c.LogOut(**{**STAMP, "actor": "eve"}, session="s1"),
        (OPEN,),
        "ann",
        "session_unknown",
    ),
    ("a profile of nobody", c.ChangeProfile(**STAMP, name="A"), (), "ann", "user_unknown"),
    ("a tier for oneself", c.ChangeTier(**STAMP, user="ann", tier="gold"), (ANN,), "ann", "not_allowed"),
    ("a role for oneself", c.ChangeRole(**STAMP, user="ann", role="analyst"), (ANN,), "ann", "not_allowed"),
    (
        "a role given by an operator who isn't on the machine",
        c.ChangeRole(**{**STAMP, "actor": "olga"}, user="ann", role="analyst"),
        (ANN, msgspec.structs.replace(ANN, id="olga", role="operator")),
        "ann",
        "not_allowed",
    ),
    ("a tier for nobody", c.ChangeTier(**SYSTEM_STAMP, user="ann", tier="gold"), (), "ann", "user_unknown"),
    ("a role for nobody", c.ChangeRole(**SYSTEM_STAMP, user="ann", role="analyst"), (), "ann", "user_unknown"),
]


@accepted
def test_each_command_has_its_result_and_what_has_happened(
    command: c.UserCommand, there: tuple[AnyDocument, ...], result: dict[str, Any], events: list[f.AnyEvent]
) -> None:
    verdict = decide(command, *there)
    assert code(verdict) is None
    assert json.loads(msgspec.json.encode(verdict.result)) == json.loads(msgspec.json.encode(result))
    assert list(verdict.events) == events


@pytest.mark.parametrize(
    ("command", "there", "holder", "problem"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_each_refusal_has_its_code_and_says_what_to_do(
    command: c.UserCommand, there: tuple[AnyDocument, ...], holder: str, problem: str
) -> None:
    verdict = decide(command, *there, holder=holder)
    assert code(verdict) == problem
    assert verdict.events == ()
    assert verdict.problem is not None
    assert verdict.problem.detail.endswith(".")


def test_every_user_command_is_in_these_tables() -> None:
    assert {type(row[1]) for row in ACCEPTED} == set(c.UserCommand.__args__)


@pytest.mark.parametrize("holder", ["ann", "eve"])
def test_no_password_hash_leaves_with_a_verdict_or_a_document(holder: str) -> None:
    verdict = decide(SIGN_UP, holder=holder)
    documents = [accounts.evolve({}, event) for event in verdict.events if isinstance(event, f.UserSignedUp)]
    assert b"secret-hash" not in msgspec.json.encode((verdict, documents))


@accepted
def test_a_verdict_rests_only_on_the_documents_that_are_asked_for(
    command: c.UserCommand, there: tuple[AnyDocument, ...], result: Any, events: Any
) -> None:
    asked = [document for document in (ANN, OPEN, *there) if ref_of(document) in accounts.wanted(command)]
    assert decide(command, *asked) == decide(command, *there)


# -- evolve


def fact(kind: Any, **fields: Any) -> Any:
    return kind(**FACT, **fields)


CHANGES = [
    (fact(f.ProfileChanged, profile=f.Profile(name="A")), ANN, {"profile": f.Profile(name="A"), "updated_at": AT}),
    (fact(f.TierChanged, tier="gold"), ANN, {"tier": "gold", "updated_at": AT}),
    (fact(f.RoleChanged, role="operator"), ANN, {"role": "operator", "updated_at": AT}),
    (fact(f.UserLoggedOut, session="s1"), OPEN, {"ended_at": AT}),
]
changes = pytest.mark.parametrize(("event", "before", "fields"), CHANGES)


@changes
def test_an_event_changes_its_document_and_nothing_else(
    event: f.AnyUserEvent, before: AnyDocument, fields: dict[str, Any]
) -> None:
    [after] = accounts.evolve(snapshot(ANN, OPEN), event)
    assert after == msgspec.structs.replace(before, seq=seq_of(9), **fields)


@changes
@pytest.mark.parametrize("ahead", [0, 1])
def test_a_document_that_is_ahead_of_an_event_stays_as_it_is(
    event: f.AnyUserEvent, before: AnyDocument, fields: Any, ahead: int
) -> None:
    assert accounts.evolve(snapshot(msgspec.structs.replace(before, seq=seq_of(9) + ahead)), event) == ()


@changes
def test_an_event_without_its_document_makes_none(event: f.AnyUserEvent, before: Any, fields: Any) -> None:
    assert accounts.evolve({}, event) == ()


def test_a_sign_up_makes_the_account_that_it_answers_with() -> None:
    verdict = decide(SIGN_UP)
    [event] = verdict.events
    assert isinstance(event, f.UserSignedUp)
    [user] = accounts.evolve({}, event)
    assert isinstance(user, User)
    assert accounts.account_view(user) == verdict.result
    assert (user.seq, user.created_at, user.updated_at) == (seq_of(9), AT, AT)


def test_a_log_in_opens_a_session() -> None:
    [session] = accounts.evolve({}, fact(f.UserLoggedIn, session="s1", expires_at=AT + 9, device="phone"))
    assert session == Session(id="s1", seq=seq_of(9), user="ann", device="phone", created_at=AT, expires_at=AT + 9)


@pytest.mark.parametrize(
    "event",
    [
        fact(f.UserCameOnline, session="s1", until=AT),
        fact(f.UserWentOffline, session="s1"),
        fact(f.NotificationsRead, notifications=("n1",)),
    ],
)
def test_presence_and_marks_change_no_document(event: f.AnyUserEvent) -> None:
    assert accounts.evolve(snapshot(ANN, OPEN), event) == ()
