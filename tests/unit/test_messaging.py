"""Conversations: only connected people talk, messages form a chain, and nobody's position goes back."""

from collections.abc import Sequence
from typing import Any

import pytest

from devconnect.domain import messaging
from devconnect.domain.model import (
    Connection,
    ConnectionState,
    Conversation,
    Message,
    Position,
    Ref,
    Snapshot,
    ref_of,
)
from devconnect.events import commands as c, facts as f
from devconnect.events.base import seq_of

AT = 1_700_000_000_000
PAIR = "ann.bob"


def connected(state: ConnectionState = "accepted") -> Connection:
    return Connection(id=PAIR, seq=256, users=("ann", "bob"), state=state, by="bob", at=AT)


def talk(last: int = 512, seq: int | None = None, **positions: Position) -> Conversation:
    return Conversation(
        id=PAIR, seq=seq or last, users=("ann", "bob"), last=last, last_at=AT, count=1, positions=positions
    )


def snapshot(*documents: Connection | Conversation) -> Snapshot:
    return {ref_of(document): document for document in documents}


def send(number: int, actor: str = "ann", to: str = "bob") -> c.SendMessage:
    return c.SendMessage(id=f"c{number}", actor=actor, at=AT + number, to=to, text=f"text {number}")


def read(up_to: int, actor: str = "bob", peer: str = "ann") -> c.MarkRead:
    return c.MarkRead(id="c9", actor=actor, at=AT + 9, peer=peer, up_to=up_to)


def delivered(up_to: int) -> c.MarkDelivered:
    return c.MarkDelivered(id="c9", actor="bob", at=AT + 9, peer="ann", up_to=up_to)


def carry_out(commands: Sequence[c.MessageCommand], state: Snapshot) -> tuple[Snapshot, list[f.AnyEvent]]:
    """The state after these commands at offsets 0, 1, … and the events that they led to."""
    events: list[f.AnyEvent] = []
    for offset, command in enumerate(commands):
        for event in messaging.decide(command, offset, state).events:
            assert isinstance(event, f.MessageEvent)
            state = {**state, **{ref_of(found): found for found in messaging.evolve(state, event)}}
            events.append(event)
    return state, events


def code(command: c.MessageCommand, state: Snapshot) -> str | None:
    verdict = messaging.decide(command, 9, state)
    if verdict.problem is None:
        return None
    assert verdict.result is None
    assert verdict.events == ()
    return verdict.problem.code


# -- saying something


@pytest.mark.parametrize("actor", ["ann", "bob"])
def test_connected_people_can_message_each_other(actor: str) -> None:
    other = "bob" if actor == "ann" else "ann"
    verdict = messaging.decide(send(3, actor, other), 3, snapshot(connected()))
    expected = {"id": "c3", "conversation": PAIR, "seq": seq_of(3), "sender": actor, "recipient": other}
    assert verdict.result == {**expected, "text": "text 3", "at": AT + 3, "edited_at": None, "deleted": False}
    [event] = verdict.events
    assert event == f.MessageSent(
        id="c3.0",
        seq=seq_of(3),
        at=AT + 3,
        conversation=PAIR,
        message="c3",
        sender=actor,
        recipient=other,
        text="text 3",
        previous=0,
    )


@pytest.mark.parametrize("state", ["requested", "ignored", "rejected", "removed"])
def test_only_connected_people_can(state: ConnectionState) -> None:
    assert code(send(1), snapshot(connected(state))) == "not_connected"
    assert code(send(1), snapshot(connected(state), talk())) == "not_connected"


def test_strangers_and_oneself_can_not_be_messaged() -> None:
    assert code(send(1), {}) == "not_connected"
    assert code(send(1, "ann", "ann"), snapshot(connected())) == "not_connected"


def test_each_message_names_the_place_of_the_one_before_it() -> None:
    _, events = carry_out([send(0), send(1, "bob", "ann"), send(2)], snapshot(connected()))
    places = [(event.previous, event.seq) for event in events if isinstance(event, f.MessageSent)]
    assert places == [(0, seq_of(0)), (seq_of(0), seq_of(1)), (seq_of(1), seq_of(2))]


def test_marks_between_two_messages_do_not_break_the_chain() -> None:
    _, events = carry_out([send(0), read(seq_of(0)), send(2)], snapshot(connected()))
    assert isinstance(events[2], f.MessageSent)
    assert events[2].previous == seq_of(0)


def test_a_conversation_counts_its_messages_and_knows_its_last() -> None:
    state, _ = carry_out([send(0), send(1, "bob", "ann"), read(seq_of(1)), send(3)], snapshot(connected()))
    conversation = state[Ref("conversation", PAIR)]
    assert isinstance(conversation, Conversation)
    assert (conversation.count, conversation.last, conversation.last_at) == (3, seq_of(3), AT + 3)
    assert conversation.users == ("ann", "bob")


def test_the_ids_of_a_conversation_sort_as_its_messages_do() -> None:
    state, _ = carry_out([send(number) for number in range(12)], snapshot(connected()))
    said = [document for document in state.values() if isinstance(document, Message)]
    assert [message.text for message in sorted(said, key=lambda message: message.id)] == [
        f"text {number}" for number in range(12)
    ]


# -- delivered and read


def test_what_is_read_was_delivered() -> None:
    state, events = carry_out([send(0), read(seq_of(0))], snapshot(connected()))
    assert position(state, "bob") == Position(delivered=seq_of(0), read=seq_of(0))
    assert isinstance(events[1], f.MessageRead)


def test_what_is_delivered_is_not_read() -> None:
    state, events = carry_out([send(0), delivered(seq_of(0))], snapshot(connected()))
    assert position(state, "bob") == Position(delivered=seq_of(0), read=0)
    assert isinstance(events[1], f.MessageDelivered)


def test_each_of_the_two_has_a_position_of_their_own() -> None:
    state, _ = carry_out([send(0), read(seq_of(0)), read(seq_of(0), "ann", "bob")], snapshot(connected()))
    assert position(state, "ann") == position(state, "bob")


def position(state: Snapshot, user: str) -> Position:
    conversation = state[Ref("conversation", PAIR)]
    assert isinstance(conversation, Conversation)
    return conversation.positions[user]


@pytest.mark.parametrize("command", [read(300), read(512), delivered(300), delivered(512), read(0), read(-5)])
def test_a_position_never_goes_back_and_a_mark_that_moves_nothing_is_no_event(command: Any) -> None:
    state = snapshot(talk(512, bob=Position(delivered=512, read=512)))
    verdict = messaging.decide(command, 9, state)
    assert verdict.result == {"peer": "ann", "delivered": 512, "read": 512, "unread": 0}
    assert verdict.events == ()


def test_reading_less_than_was_delivered_moves_only_what_was_read() -> None:
    state = snapshot(talk(512, bob=Position(delivered=512, read=256)))
    verdict = messaging.decide(read(300), 9, state)
    assert verdict.result == {"peer": "ann", "delivered": 512, "read": 300, "unread": 0}
    [event] = verdict.events
    assert isinstance(event, f.MessageRead)
    [after] = messaging.evolve(state, event)
    assert isinstance(after, Conversation)
    assert after.positions == {"bob": Position(delivered=512, read=300)}
    assert (after.last, after.count, after.seq) == (512, 1, seq_of(9))


@pytest.mark.parametrize("command", [read(513), delivered(513), read(2**60)])
def test_nobody_is_further_than_the_last_message(command: Any) -> None:
    assert code(command, snapshot(talk(512))) == "message_unknown"


def test_a_conversation_that_is_not_there_can_not_be_read() -> None:
    assert code(read(1), snapshot(connected())) == "conversation_unknown"


def test_marks_stay_possible_when_two_are_connected_no_more() -> None:
    assert code(read(512), snapshot(connected("removed"), talk(512))) is None


# -- evolve


SENT = f.MessageSent(
    id="c1.0",
    seq=512,
    at=AT,
    conversation=PAIR,
    message="c1",
    sender="ann",
    recipient="bob",
    text="Hello",
    previous=0,
)


@pytest.mark.parametrize("seq", [512, 1024])
def test_a_conversation_that_is_ahead_is_left_alone_but_the_message_is_given(seq: int) -> None:
    """A crash may have come between the two writes."""
    [message] = messaging.evolve(snapshot(talk(512, seq)), SENT)
    assert message == Message(
        id=f"{PAIR}:0000000000000512",
        seq=512,
        message="c1",
        conversation=PAIR,
        sender="ann",
        recipient="bob",
        text="Hello",
        at=AT,
    )


@pytest.mark.parametrize("kind", [f.MessageRead, f.MessageDelivered])
def test_a_mark_on_a_conversation_that_is_ahead_changes_nothing(kind: Any) -> None:
    mark = kind(id="c1.0", seq=512, at=AT, conversation=PAIR, user="bob", up_to=256)
    assert messaging.evolve(snapshot(talk(512, 1024)), mark) == ()


def test_evolve_leaves_its_argument_alone() -> None:
    state = snapshot(talk(512, bob=Position(delivered=256)))
    before = dict(state)
    mark = f.MessageRead(id="c9.0", seq=2560, at=AT, conversation=PAIR, user="bob", up_to=512)
    messaging.evolve(state, mark)
    assert state == before == snapshot(talk(512, bob=Position(delivered=256)))


@pytest.mark.parametrize("command", [send(1), read(1), delivered(1)])
def test_a_verdict_rests_only_on_the_documents_that_are_asked_for(command: c.MessageCommand) -> None:
    whole = snapshot(connected(), talk())
    asked = {ref: document for ref, document in whole.items() if ref in messaging.wanted(command)}
    assert messaging.decide(command, 9, asked) == messaging.decide(command, 9, whole)
