"""Inboxes, pure: who is told of what, and which entries follow one another without a gap."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from devconnect.domain.inbox import Item, entries, following, newest, read_cursor, source_of, text_of, written
from devconnect.events import facts as f
from devconnect.events.inbox import DATA, InboxEntry

STAMP: dict[str, Any] = {"id": "c7.0", "seq": 1792, "at": 5}
SENT = f.MessageSent(
    **STAMP, conversation="ada.bob", message="c7", sender="ada", recipient="bob", text="Hello", previous=0
)


def told(event: f.AnyEvent) -> dict[str, tuple[str, dict[str, Any]]]:
    """Recipient -> kind and data; each is of its kind's type."""
    found = {}
    for entry in entries(event, "m3"):
        msgspec.json.decode(entry.data, type=DATA[entry.kind], strict=True)
        assert (entry.source, entry.seq, entry.id, entry.at) == ("m3", 1792, "c7.0", 5)
        found[entry.recipient] = (entry.kind, msgspec.json.decode(entry.data))
    return found


def test_a_message_is_told_to_whom_it_is_for_and_to_its_senders_other_devices() -> None:
    found = told(SENT)
    assert set(found) == {"ada", "bob"}
    kind, data = found["bob"]
    assert kind == "message"
    assert (data["id"], data["seq"], data["sender"], data["text"]) == ("c7", 1792, "ada", "Hello")


def test_a_changed_message_is_told_in_its_place_and_a_deleted_one_without_its_text() -> None:
    place: dict[str, Any] = {"conversation": "ada.bob", "of": 512, "message": "c2", "sender": "bob", "said_at": 3}
    kind, data = told(f.MessageEdited(**STAMP, **place, text="Hi"))["ada"]
    assert (kind, data["seq"], data["text"], data["at"], data["edited_at"]) == ("message_changed", 512, "Hi", 3, 5)
    kind, data = told(f.MessageDeleted(**STAMP, **place))["ada"]
    assert (kind, data["text"], data["deleted"], data["recipient"]) == ("message_changed", "", True, "ada")


@pytest.mark.parametrize(("event", "state"), [(f.MessageDelivered, "delivered"), (f.MessageRead, "read")])
def test_a_receipt_is_told_to_both(event: type[f.MessageRead], state: str) -> None:
    found = told(event(**STAMP, conversation="ada.bob", user="bob", up_to=512))
    assert found["ada"] == found["bob"]
    assert found["ada"][1] == {"conversation": "ada.bob", "user": "bob", "state": state, "up_to": 512}


def test_what_was_read_of_notifications_is_told_to_the_persons_own_devices_alone() -> None:
    assert set(told(f.NotificationsRead(**STAMP, user="ada", notifications=("n1",)))) == {"ada"}


def test_other_events_are_in_nobodys_inbox() -> None:
    assert told(f.ConnectionAccepted(**STAMP, by="ada", other="bob")) == {}


def test_a_source_names_its_topic_and_partition() -> None:
    assert source_of("message-events", 3) == "m3"
    with pytest.raises(KeyError):
        source_of("notification-events", 3)


def test_what_sockets_are_sent_has_the_cursor_as_they_give_it_back() -> None:
    [_, entry] = entries(SENT, "m3")
    assert isinstance(entry, InboxEntry)
    sent = msgspec.json.decode(text_of(entry, 2, 77))
    assert read_cursor(sent["cursor"]) == (2, 77)
    assert sent["id"] == "c7.0"


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-x", "x-1", "1--1", "1-1-1", "1-" + "9" * 17, "²-1"])
def test_what_is_no_cursor_of_ours_is_none(text: str) -> None:
    assert read_cursor(text) is None


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_a_cursor_is_read_as_it_was_written(epoch: int, cursor: int) -> None:
    assert read_cursor(written(epoch, cursor)) == (epoch, cursor)


@st.composite
def chains(draw: st.DrawFn) -> list[Item]:
    cursors = sorted(draw(st.sets(st.integers(1, 60), max_size=20)))
    return [Item(now, before, "message", b"") for before, now in zip([0, *cursors], cursors, strict=False)]


@given(chains(), st.data())
def test_what_follows_ends_before_a_gap_and_leaves_nothing_out(chain: list[Item], data: st.DataObject) -> None:
    held = [item for item in chain if data.draw(st.booleans())]
    cursor = data.draw(st.sampled_from([0, *(item.cursor for item in chain)]))
    found = following(held, cursor)
    rest = [item for item in chain if item.cursor > cursor]
    assert found == rest[: len(found)]
    missing = rest[len(found) :]
    assert not missing or missing[0] not in held


@given(chains(), st.data())
def test_the_newest_are_the_end_of_the_chain_as_far_as_it_is_whole(chain: list[Item], data: st.DataObject) -> None:
    held = [item for item in chain if data.draw(st.booleans())]
    found = newest(held)
    assert found == held[len(held) - len(found) :]
    assert all(later.previous == item.cursor for item, later in pairwise(found))
    if len(found) < len(held):
        assert found[0].previous != held[-len(found) - 1].cursor
