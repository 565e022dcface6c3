"""What clients send, as values: each event with the type of what it holds and of its answer.

What changes something is an operation of the HTTP API under another name: the same command, rules, quota and
idempotency.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from web import bodies
from web.answers import Answer, Message, Moved, NotificationsRead, PresenceAnswer
from web.operations import Operation
from web.patterns import KEY_OR_NONE
from web.routes.conversations import OPERATIONS as CONVERSATIONS
from web.routes.notifications import OPERATIONS as NOTIFICATIONS

#: People that one socket watches at most.
WATCHED_MAX = 500

Key = Annotated[
    str,
    Meta(pattern=KEY_OR_NONE, description="An Idempotency-Key, as in HTTP: repeated with it, it happens once."),
]
UserIds = Annotated[tuple[bodies.UserId, ...], Meta(min_length=1, max_length=200, description="Their ids.")]


class Payload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an event of a client holds."""


class Command(Payload, frozen=True):
    """One that changes something."""

    key: Key = ""


class SendMessage(Command, frozen=True, kw_only=True):
    """Say something to a connected person."""

    to: bodies.UserId
    text: bodies.Text


class EditMessage(Command, frozen=True, kw_only=True):
    """Say something else instead."""

    peer: bodies.UserId
    message: bodies.Seq
    text: bodies.Text


class DeleteMessage(Command, frozen=True, kw_only=True):
    """Take an own message back, for both."""

    peer: bodies.UserId
    message: bodies.Seq


class UpTo(Command, frozen=True, kw_only=True):
    """All that the peer has said up to a message."""

    peer: bodies.UserId
    up_to: bodies.Seq


class ReadNotifications(Command, frozen=True, kw_only=True):
    """Mark some as read."""

    notifications: bodies.NotificationIds


class Typing(Payload, frozen=True):
    """Whether the person is writing to somebody."""

    to: bodies.UserId
    typing: bool = True


class People(Payload, frozen=True):
    """Some people."""

    users: UserIds


class Focus(Payload, frozen=True):
    """Whose conversation is on the screen; null for none."""

    peer: bodies.UserId | None


class Watched(Answer, frozen=True):
    """Who is here of those that are watched from now on, as far as they show it."""

    presence: tuple[PresenceAnswer, ...]


class Done(Answer, frozen=True):
    """That is all."""


class Commanding(Struct, frozen=True, kw_only=True):
    """An event that is an operation: what stands in its path, and its body."""

    name: str
    payload: type[Command]
    operation: Operation
    params: Callable[[Any], Mapping[str, str]]
    body: Callable[[Any], Any]
    answer: type[Answer]


class Telling(Struct, frozen=True, kw_only=True):
    """An event that changes nothing that is kept."""

    name: Literal["typing", "watch_presence", "unwatch_presence", "focus"]
    payload: type[Payload]
    answer: type[Answer]
    summary: str


_OPERATIONS = {operation.name: operation for operation in (*CONVERSATIONS, *NOTIFICATIONS)}


def _message_of(payload: EditMessage | DeleteMessage) -> Mapping[str, str]:
    return {"user": payload.peer, "message": str(payload.message)}


def _peer_of(payload: UpTo) -> Mapping[str, str]:
    return {"user": payload.peer}


def _up_to(payload: UpTo) -> bodies.UpTo:
    return bodies.UpTo(up_to=payload.up_to)


COMMANDS: tuple[Commanding, ...] = (
    Commanding(
        name="send_message",
        payload=SendMessage,
        operation=_OPERATIONS["sendMessage"],
        params=lambda payload: {"user": payload.to},
        body=lambda payload: bodies.SendMessage(text=payload.text),
        answer=Message,
    ),
    Commanding(
        name="edit_message",
        payload=EditMessage,
        operation=_OPERATIONS["editMessage"],
        params=_message_of,
        body=lambda payload: bodies.EditMessage(text=payload.text),
        answer=Message,
    ),
    Commanding(
        name="delete_message",
        payload=DeleteMessage,
        operation=_OPERATIONS["deleteMessage"],
        params=_message_of,
        body=lambda payload: None,
        answer=Message,
    ),
    Commanding(
        name="mark_delivered",
        payload=UpTo,
        operation=_OPERATIONS["markDelivered"],
        params=_peer_of,
        body=_up_to,
        answer=Moved,
    ),
    Commanding(
        name="mark_read",
        payload=UpTo,
        operation=_OPERATIONS["markRead"],
        params=_peer_of,
        body=_up_to,
        answer=Moved,
    ),
    Commanding(
        name="mark_notifications_read",
        payload=ReadNotifications,
        operation=_OPERATIONS["markNotificationsRead"],
        params=lambda payload: {},
        body=lambda payload: bodies.ReadNotifications(notifications=payload.notifications),
        answer=NotificationsRead,
    ),
)
TELLINGS: tuple[Telling, ...] = (
    Telling(name="typing", payload=Typing, answer=Done, summary="Say that one is writing, or no longer"),
    Telling(
        name="watch_presence",
        payload=People,
        answer=Watched,
        summary=f"Be told when these people come and go ({WATCHED_MAX} a socket at most)",
    ),
    Telling(name="unwatch_presence", payload=People, answer=Done, summary="Be told no more"),
    Telling(name="focus", payload=Focus, answer=Done, summary="Say whose conversation is on the screen"),
)
_ALL: tuple[Commanding | Telling, ...] = (*COMMANDS, *TELLINGS)
EVENTS: Mapping[str, Commanding | Telling] = {event.name: event for event in _ALL}
