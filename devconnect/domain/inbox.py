"""Inboxes: who is told of an event on their sockets, and which entries follow one another without a gap."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw, Struct

from devconnect.events import facts as f
from devconnect.events.base import other_of, pair_of
from devconnect.events.inbox import (
    Data,
    InboxEntry,
    Kind,
    MessageData,
    NotificationData,
    NotificationsReadData,
    StatusData,
)

#: The letter of an events topic in the name of a source.
LETTERS = {"user-events": "u", "connection-events": "c", "message-events": "m"}

_encode = msgspec.json.Encoder().encode


class Item(Struct, frozen=True):
    """An entry in its place: `cursor` grows within an inbox, `previous` is the cursor of the one before it (0: none).

    `text` is the JSON that sockets are sent.
    """

    cursor: int
    previous: int
    kind: str
    text: bytes


class Head(Struct, frozen=True):
    """How far an inbox is: its last cursor and, a source, the last seq in it.

    Another `epoch` means another log: cursors of the one say nothing in the other.
    """

    epoch: int = 1
    cursor: int = 0
    sources: dict[str, int] = {}


def source_of(topic: str, partition: int) -> str:
    """The name of a partition of an events topic as a source of entries."""
    return f"{LETTERS[topic]}{partition}"


def entries(event: f.AnyEvent, source: str) -> tuple[InboxEntry, ...]:
    """Who is told of an event, and what; each person once."""
    match event:
        case f.MessageSent():
            data = MessageData(
                id=event.message,
                conversation=event.conversation,
                seq=event.seq,
                sender=event.sender,
                recipient=event.recipient,
                text=event.text,
                at=event.at,
            )
            return _both(event, source, "message", data)
        case f.MessageEdited() | f.MessageDeleted():
            return _both(event, source, "message_changed", _changed(event))
        case f.MessageDelivered() | f.MessageRead():
            state = StatusData(
                conversation=event.conversation,
                user=event.user,
                state="read" if isinstance(event, f.MessageRead) else "delivered",
                up_to=event.up_to,
            )
            return _both(event, source, "status", state)
        case f.NotificationsRead():
            read = NotificationsReadData(notifications=event.notifications)
            return (_entry(event, source, event.user, "notifications_read", read),)
        case f.NotificationRaised():
            raised = NotificationData(id=event.notification, kind=event.kind, about=event.about, at=event.at)
            return (_entry(event, source, event.recipient, "notification", raised),)
        case _:
            return ()


def _changed(event: f.MessageEdited | f.MessageDeleted) -> MessageData:
    is_edited = isinstance(event, f.MessageEdited)
    return MessageData(
        id=event.message,
        conversation=event.conversation,
        seq=event.of,
        sender=event.sender,
        recipient=other_of(event.conversation, event.sender),
        text=event.text if isinstance(event, f.MessageEdited) else "",
        at=event.said_at,
        edited_at=event.at if is_edited else None,
        deleted=not is_edited,
    )


def _both(event: f.AnyMessageEvent, source: str, kind: Kind, data: Data) -> tuple[InboxEntry, ...]:
    return tuple(_entry(event, source, user, kind, data) for user in pair_of(event.conversation))


def _entry(event: f.AnyEvent, source: str, recipient: str, kind: Kind, data: Data) -> InboxEntry:
    return InboxEntry(
        recipient=recipient,
        source=source,
        seq=event.seq,
        id=event.id,
        at=event.at,
        kind=kind,
        data=Raw(_encode(data)),
    )


class _Envelope(Struct):
    cursor: str
    id: str
    at: int
    data: Raw


def text_of(entry: InboxEntry, epoch: int, cursor: int) -> str:
    """The JSON that sockets are sent."""
    return _encode(_Envelope(written(epoch, cursor), entry.id, entry.at, entry.data)).decode()


def written(epoch: int, cursor: int) -> str:
    """A cursor as clients have it."""
    return f"{epoch}-{cursor}"


def read_cursor(text: str) -> tuple[int, int] | None:
    """Epoch and cursor of what a client has; None when we never wrote that."""
    epoch, dash, cursor = text.partition("-")
    if not (dash and _is_number(epoch) and _is_number(cursor)):
        return None
    return int(epoch), int(cursor)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 16


def following(items: Iterable[Item], cursor: int) -> list[Item]:
    """Those of the items, which are in order, that follow the cursor one by one; none once one is missing."""
    found: list[Item] = []
    for item in items:
        if item.cursor <= cursor:
            continue
        if item.previous > cursor:
            break
        found.append(item)
        cursor = item.cursor
    return found


def newest(items: Sequence[Item]) -> list[Item]:
    """The last of the items that follow one another without a gap."""
    start = len(items) - 1
    while start > 0 and items[start].previous == items[start - 1].cursor:
        start -= 1
    return list(items[max(start, 0) :])
