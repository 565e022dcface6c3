"""Deciding a batch: repeats are answered, other requests under a used id are refused, addresses are one person's."""

import msgspec

from devconnect.domain.deciding import Placed, is_carried_out, reservations, settle
from devconnect.domain.model import Place, Reservation, Secret, ref_of
from devconnect.events import commands as c
from devconnect.events.base import seq_of
from devconnect.events.topics import CONNECTION_COMMANDS, USER_COMMANDS

AT = 1_700_000_000_000
SIGN_UP = c.SignUp(
    id="c1", actor="ann", at=AT, fingerprint="f", user="ann", email="ann@x", password_hash="secret", name="Ann"
)


def placed(*commands: c.AnyCommand, topic: str = USER_COMMANDS.name, start: int = 0) -> list[Placed]:
    return [Placed(Place(topic, 0, start + number), command) for number, command in enumerate(commands)]


def test_a_repeat_is_answered_as_the_first_was_and_has_no_effect_of_its_own() -> None:
    settlement = settle(placed(SIGN_UP, SIGN_UP), {}, {}, {"ann@x": "ann"})
    first, second = settlement.answers
    assert first.decision == second.decision
    assert len(settlement.fresh) == 1
    assert list(settlement.all_events()) == list(first.decision.events)


def test_a_repeat_in_a_later_batch_emits_nothing() -> None:
    [decision] = settle(placed(SIGN_UP), {}, {}, {"ann@x": "ann"}).fresh
    settlement = settle(placed(SIGN_UP, start=7), {decision.id: decision}, {}, {})
    assert settlement.events == {}
    assert settlement.documents == settlement.fresh == ()
    assert settlement.answers[0].decision == decision


def test_a_stored_decision_at_the_same_place_is_carried_on_from() -> None:
    """The process that decided has died before it told anybody."""
    [decision] = settle(placed(SIGN_UP), {}, {}, {"ann@x": "ann"}).fresh
    settlement = settle(placed(SIGN_UP), {decision.id: decision}, {}, {})
    assert settlement.events == {0: list(decision.events)}
    assert len(settlement.documents) == 1
    assert settlement.fresh == ()


def test_a_decision_is_carried_out_once_its_documents_are_stored() -> None:
    """Before that nobody may be told of it: what they do next would be decided on what was."""
    [decision] = settle(placed(SIGN_UP), {}, {}, {"ann@x": "ann"}).fresh
    change = c.ChangeProfile(id="c2", actor="ann", at=AT, headline="h")
    before = settle(placed(SIGN_UP), {}, {}, {"ann@x": "ann"}).documents
    stored = {ref_of(document): document for document in before}
    changed = settle(placed(change, start=1), {}, stored, {})
    assert not is_carried_out(decision, {})
    assert is_carried_out(decision, stored)
    assert not is_carried_out(changed.fresh[0], stored)
    assert is_carried_out(changed.fresh[0], {ref_of(document): document for document in changed.documents})
    assert is_carried_out(decision, {ref_of(document): document for document in changed.documents})


def test_another_request_under_a_used_id_is_refused() -> None:
    other = msgspec.structs.replace(SIGN_UP, fingerprint="g", name="Eve")
    settlement = settle(placed(SIGN_UP, other), {}, {}, {"ann@x": "ann"})
    problem = settlement.answers[1].decision.problem
    assert problem is not None
    assert problem.code == "idempotency_key_reused"


def test_an_address_that_somebody_holds_is_refused() -> None:
    settlement = settle(placed(SIGN_UP), {}, {}, {"ann@x": "eve"})
    problem = settlement.answers[0].decision.problem
    assert problem is not None
    assert problem.code == "email_taken"
    assert settlement.documents == ()


def test_a_password_is_kept_apart_from_all_that_anybody_reads() -> None:
    settlement = settle(placed(SIGN_UP), {}, {}, {"ann@x": "ann"})
    assert settlement.secrets == (Secret("ann", seq_of(0), "secret"),)
    assert b"secret" not in msgspec.json.encode((settlement.fresh, settlement.documents, settlement.events))


def test_a_refused_sign_up_sets_no_password_and_lets_go_of_the_address() -> None:
    settlement = settle(placed(SIGN_UP), {}, {}, {"ann@x": "eve"})
    assert settlement.secrets == ()
    assert settlement.releases == (Reservation("ann@x", "ann", seq_of(0)),)


def test_a_repeat_sets_no_password() -> None:
    [decision] = settle(placed(SIGN_UP), {}, {}, {"ann@x": "ann"}).fresh
    again = settle(placed(SIGN_UP, start=7), {decision.id: decision}, {}, {})
    assert (again.secrets, again.releases) == ((), ())
    assert settle(placed(SIGN_UP), {decision.id: decision}, {}, {}).secrets == (Secret("ann", seq_of(0), "secret"),)


def test_two_who_ask_each_other_end_as_one_connection() -> None:
    users = settle(
        placed(SIGN_UP, c.SignUp(id="c2", actor="bob", at=AT, user="bob", email="b@x", password_hash="", name="Bob")),
        {},
        {},
        {"ann@x": "ann", "b@x": "bob"},
    )
    state = {ref_of(document): document for document in users.documents}
    ask = [
        c.RequestConnection(id="r1", actor="ann", at=AT, to="bob", interest="interested"),
        c.RequestConnection(id="r2", actor="bob", at=AT, to="ann", interest="interested"),
    ]
    settlement = settle(placed(*ask, topic=CONNECTION_COMMANDS.name), {}, state, {})
    assert [event.__struct_config__.tag for event in settlement.all_events()] == [
        "connection.requested",
        "connection.accepted",
    ]
    assert len(settlement.documents) == 1


def test_only_the_first_request_under_an_id_takes_its_address() -> None:
    """Else an address would be held by somebody whose sign-up is refused, for ever."""
    other = msgspec.structs.replace(SIGN_UP, email="eve@x", user="eve")
    third = msgspec.structs.replace(other, id="c2")
    assert reservations(placed(SIGN_UP, other), ()) == (Reservation("ann@x", "ann", seq_of(0)),)
    assert reservations(placed(other, third), {"c1"}) == (Reservation("eve@x", "eve", seq_of(1)),)


def test_an_address_is_taken_once_by_the_first_and_as_of_their_last_command() -> None:
    def confirm(name: str, actor: str, email: str) -> c.ConfirmEmail:
        return c.ConfirmEmail(id=name, actor=actor, at=AT, ticket="t", email=email)

    batch = placed(confirm("c1", "ann", "a@x"), confirm("c2", "ann", "b@x"), confirm("c3", "eve", "a@x"))
    again = placed(confirm("c4", "ann", "a@x"), start=3)
    assert reservations([*batch, *again]) == (
        Reservation("a@x", "ann", seq_of(3)),
        Reservation("b@x", "ann", seq_of(1)),
    )
