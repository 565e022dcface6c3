"""Conversations: only connected people talk, messages form a chain, and nobody's position goes back."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from devconnect.domain import messaging
from devconnect.domain.model import (
    UNREAD_KEPT,
    Connection,
    ConnectionState,
    Conversation,
    Message,
    Position,
    Ref,
    Snapshot,
    message_key,
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


# -- changing and taking back


def edit(place: int, text: str = "better", actor: str = "ann", peer: str = "bob") -> c.EditMessage:
    return c.EditMessage(id="c8", actor=actor, at=AT + 8, peer=peer, message=place, text=text)


def delete(place: int, actor: str = "ann", peer: str = "bob") -> c.DeleteMessage:
    return c.DeleteMessage(id="c8", actor=actor, at=AT + 8, peer=peer, message=place)


def said(*commands: c.MessageCommand, between: ConnectionState = "accepted") -> Snapshot:
    """What these leave among connected people, who then may be so no more."""
    state, _ = carry_out(commands or [send(0)], snapshot(connected()))
    return {**state, **snapshot(connected(between))}


def test_who_has_said_something_can_say_it_better() -> None:
    verdict = messaging.decide(edit(seq_of(0)), 8, said())
    view = {"id": "c0", "conversation": PAIR, "seq": seq_of(0), "sender": "ann", "recipient": "bob"}
    assert verdict.result == {**view, "text": "better", "at": AT, "edited_at": AT + 8, "deleted": False}
    [event] = verdict.events
    assert event == f.MessageEdited(
        id="c8.0",
        seq=seq_of(8),
        at=AT + 8,
        conversation=PAIR,
        of=seq_of(0),
        message="c0",
        sender="ann",
        text="better",
        said_at=AT,
        previous=0,
    )


def test_an_edited_message_stays_in_its_place() -> None:
    state, events = carry_out([send(0), send(1), edit(seq_of(0)), send(3)], snapshot(connected()))
    message = state[Ref("message", message_key(PAIR, seq_of(0)))]
    assert isinstance(message, Message)
    assert (message.place, message.text, message.edited_at, message.seq) == (seq_of(0), "better", AT + 8, seq_of(2))
    assert isinstance(events[3], f.MessageSent)
    assert events[3].previous == seq_of(1)
    conversation = state[Ref("conversation", PAIR)]
    assert isinstance(conversation, Conversation)
    assert (conversation.count, conversation.last) == (3, seq_of(3))


def test_what_was_deleted_has_no_text_and_is_not_unread_any_more() -> None:
    state, events = carry_out([send(0), send(1), edit(seq_of(1)), delete(seq_of(1))], snapshot(connected()))
    message = state[Ref("message", message_key(PAIR, seq_of(1)))]
    assert isinstance(message, Message)
    assert (message.text, message.deleted, message.edited_at, message.at) == ("", True, None, AT + 1)
    assert "better" not in repr(events[3])
    assert unread_of(state, "bob") == (seq_of(0),)


def test_deleting_twice_and_editing_to_the_same_are_no_events() -> None:
    state, _ = carry_out([send(0), delete(seq_of(0))], snapshot(connected()))
    again = messaging.decide(delete(seq_of(0)), 9, state)
    assert again.events == ()
    assert again.result is not None
    assert (again.result["deleted"], again.result["text"]) == (True, "")
    same = messaging.decide(edit(seq_of(0), "text 0"), 9, said())
    assert same.events == ()
    assert same.result is not None
    assert same.result["edited_at"] is None


@pytest.mark.parametrize("make", [edit, delete])
def test_only_ones_own_messages_can_be_changed(make: Any) -> None:
    assert code(make(seq_of(0), actor="bob", peer="ann"), said()) == "not_allowed"
    assert code(make(seq_of(5)), said()) == "message_unknown"
    assert code(make(seq_of(0), actor="eve", peer="ann"), said()) == "message_unknown"
    assert code(make(seq_of(0)), {}) == "message_unknown"


def test_what_was_deleted_can_not_be_edited() -> None:
    assert code(edit(seq_of(0)), said(send(0), delete(seq_of(0)))) == "message_deleted"


def test_who_is_connected_no_more_can_take_back_what_they_said_but_not_say_it_differently() -> None:
    """Else a block would keep nobody from putting something before the one who made it."""
    state = said(between="removed")
    assert code(edit(seq_of(0)), state) == "not_connected"
    assert code(delete(seq_of(0)), state) is None


@pytest.mark.parametrize(
    "command", [edit(seq_of(0)), delete(seq_of(0)), edit(seq_of(0), actor="bob", peer="ann"), send(1), read(1)]
)
def test_a_change_rests_only_on_the_documents_that_are_asked_for(command: c.MessageCommand) -> None:
    whole = said()
    asked = {ref: document for ref, document in whole.items() if ref in messaging.wanted(command)}
    assert messaging.decide(command, 9, asked) == messaging.decide(command, 9, whole)


def test_what_an_event_changes_is_what_is_looked_for_of_it() -> None:
    state = said()
    for command in (edit(seq_of(0)), delete(seq_of(0))):
        [event] = messaging.decide(command, 8, state).events
        assert isinstance(event, f.MessageEvent)
        assert {ref_of(found) for found in messaging.evolve(state, event)} == set(messaging.touched(event))


def test_a_replay_leaves_a_message_that_is_ahead_alone() -> None:
    commands = [send(0), edit(seq_of(0), "one"), edit(seq_of(0), "two"), delete(seq_of(0))]
    state, events = carry_out(commands, snapshot(connected()))
    for event in events:
        assert isinstance(event, f.MessageEvent)
        assert messaging.evolve(state, event) == ()


# -- what isn't read yet


def unread_of(state: Snapshot, user: str) -> tuple[int, ...]:
    conversation = state[Ref("conversation", PAIR)]
    assert isinstance(conversation, Conversation)
    return conversation.unread.get(user, ())


def test_what_is_said_is_unread_until_its_recipient_has_read_that_far() -> None:
    state, _ = carry_out([send(0), send(1, "bob", "ann"), send(2), send(3)], snapshot(connected()))
    assert unread_of(state, "bob") == (seq_of(0), seq_of(2), seq_of(3))
    assert unread_of(state, "ann") == (seq_of(1),)
    verdict = messaging.decide(read(seq_of(2)), 4, state)
    assert verdict.result == {"peer": "ann", "delivered": seq_of(2), "read": seq_of(2), "unread": 1}
    [event] = verdict.events
    assert isinstance(event, f.MessageRead)
    [after] = messaging.evolve(state, event)
    assert isinstance(after, Conversation)
    assert after.unread == {"bob": (seq_of(3),), "ann": (seq_of(1),)}


def test_what_is_delivered_is_unread_all_the_same() -> None:
    state, _ = carry_out([send(0), delivered(seq_of(0))], snapshot(connected()))
    assert unread_of(state, "bob") == (seq_of(0),)
    verdict = messaging.decide(delivered(seq_of(0)), 9, state)
    assert verdict.result == {"peer": "ann", "delivered": seq_of(0), "read": 0, "unread": 1}


def test_no_more_than_the_newest_unread_ones_are_known() -> None:
    state, _ = carry_out([send(number) for number in range(UNREAD_KEPT + 3)], snapshot(connected()))
    assert unread_of(state, "bob") == tuple(seq_of(number) for number in range(3, UNREAD_KEPT + 3))


def step(kind: str, offset: int, place: int) -> c.MessageCommand:
    match kind:
        case "read":
            return read(place)
        case "delete":
            return delete(place)
        case "edit":
            return edit(place, f"{offset}")
        case _:
            return send(offset, kind, "bob" if kind == "ann" else "ann")


@given(st.lists(st.tuples(st.sampled_from(["ann", "bob", "read", "delete", "edit"]), st.integers(0, 30)), max_size=40))
def test_unread_is_what_was_said_to_somebody_beyond_what_they_have_read_and_not_deleted(steps: Any) -> None:
    state: Snapshot = snapshot(connected())
    told: list[int] = []
    furthest = 0
    for offset, (kind, number) in enumerate(steps):
        command = step(kind, offset, seq_of(number))
        for event in messaging.decide(command, offset, state).events:
            assert isinstance(event, f.MessageEvent)
            state = {**state, **{ref_of(found): found for found in messaging.evolve(state, event)}}
            match event:
                case f.MessageSent(recipient="bob"):
                    told.append(event.seq)
                case f.MessageRead():
                    furthest = max(furthest, event.up_to)
                case f.MessageDeleted():
                    told.remove(event.of)
    if Ref("conversation", PAIR) in state:
        assert unread_of(state, "bob") == tuple(place for place in told if place > furthest)
