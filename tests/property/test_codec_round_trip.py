"""What is written is what is read, whatever its fields hold; and an event is where its command was."""

from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings, strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType

from devconnect.domain import deciding
from devconnect.domain.deciding import Placed
from devconnect.domain.model import Place, ref_of
from devconnect.events import commands as c, facts as f
from devconnect.events.base import SEQ_STRIDE, Command, Event, offset_of, seq_of, type_of
from devconnect.events.codec import CodecError
from devconnect.events.topics import COMMAND_TO_EVENT, REGISTRY, topic_of
from tests.property.test_command_agent import command_logs

COMMANDS: tuple[type[Command], ...] = get_args(c.AnyCommand)
EVENTS: tuple[type[Event], ...] = get_args(f.AnyEvent)
CODECS = [topic.codec for topic in REGISTRY if topic.codec is not None]


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, or of a Struct with any fields (but of the version that is written now)."""
    if get_origin(kind) is Annotated:
        of, *metas = get_args(kind)
        return within(of, *(meta for meta in metas if isinstance(meta, Meta)))
    if kind is UnsetType:
        return st.just(UNSET)
    if isinstance(kind, UnionType):
        return st.one_of(*(any_of(member) for member in get_args(kind)))
    if kind is int:
        return st.integers(-(2**63), 2**63 - 1)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return st.builds(kind, **{name: any_of(of) for name, of in hints(kind).items() if name != "v"})
    return st.from_type(kind)


def within(kind: Any, limits: Meta) -> st.SearchStrategy[Any]:
    """Values of a type that a field allows."""
    if limits.pattern is not None:
        return st.from_regex(limits.pattern, fullmatch=True)
    if limits.ge is not None or limits.le is not None:
        return st.integers(limits.ge, limits.le)
    return any_of(kind)


def hints(kind: type[Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@pytest.mark.parametrize("kind", [*COMMANDS, *EVENTS], ids=lambda kind: kind.__name__)
def test_every_value_survives_its_encoding(kind: type[Command | Event]) -> None:
    @settings(max_examples=40, deadline=None)
    @given(any_of(kind))
    def check(value: Any) -> None:
        [codec] = [codec for codec in CODECS if codec is not None and understands(codec, value)]
        again = codec.decode(codec.encode(value))
        assert type(again) is kind
        assert again == value
        assert codec.encode(again) == codec.encode(value)

    check()


def understands(codec: Any, value: Command | Event) -> bool:
    try:
        codec.decode(codec.encode(value))
    except CodecError as exc:
        if f"unknown type {type_of(value)!r}" in str(exc):
            return False
        raise
    return True


@given(st.binary(max_size=60), st.sampled_from(CODECS))
def test_any_bytes_are_decoded_or_refused(data: bytes, codec: Any) -> None:
    with pytest.raises(CodecError):
        codec.decode(data)


@settings(max_examples=200)
@given(st.sampled_from(CODECS), any_of(f.MessageSent), st.data())
def test_a_record_with_one_byte_changed_is_decoded_or_refused(codec: Any, value: f.MessageSent, data: Any) -> None:
    whole = bytearray(codec.encode(value))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        codec.decode(bytes(whole))
    except CodecError as exc:
        str(exc).encode()


@settings(max_examples=200, deadline=None)
@given(command_logs())
def test_an_event_has_the_key_and_the_place_of_its_command(log: list[c.AnyCommand]) -> None:
    """So the two share a partition. A sign-up is keyed by its address, which its user's id is drawn to fall in with."""
    state: dict[Any, Any] = {}
    offsets = dict.fromkeys(COMMAND_TO_EVENT, 0)
    for command in log:
        topic = topic_of(command).name
        place, offsets[topic] = Place(topic, 0, offsets[topic]), offsets[topic] + 1
        holders = {command.email: command.user} if isinstance(command, c.SignUp) else {}
        settlement = deciding.settle([Placed(place, command)], {}, state, holders)
        state.update((ref_of(document), document) for document in settlement.documents)
        for number, event in enumerate(settlement.all_events()):
            assert event.key == (command.user if isinstance(command, c.SignUp) else command.key)
            assert event.seq == seq_of(place.offset, number)
            assert event.id == f"{command.id}.{number}"
            assert event.at == command.at


@given(st.integers(0, 2**44), st.integers(0, SEQ_STRIDE - 1), st.integers(0, 2**44), st.integers(0, SEQ_STRIDE - 1))
def test_seq_orders_as_offset_and_index_do_and_is_never_none(one: int, i: int, other: int, j: int) -> None:
    assert (seq_of(one, i) < seq_of(other, j)) == ((one, i) < (other, j))
    assert offset_of(seq_of(one, i)) == one
    assert 0 < seq_of(one, i) <= 2**53


@pytest.mark.parametrize("index", [-1, SEQ_STRIDE])
def test_a_command_can_not_cause_more_events_than_seq_has_room_for(index: int) -> None:
    with pytest.raises(ValueError, match="at most 256"):
        seq_of(0, index)
