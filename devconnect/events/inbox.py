"""What a person's devices are told and must not miss: the entries of inboxes, and what each kind of them says."""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

#: The events of sockets that are kept in inboxes.
Kind = Literal["message", "message_changed", "status", "notification", "notifications_read"]


class InboxEntry(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="inbox.entry", gc=False
):
    """Something for all devices of `recipient`. Its offset in the topic gives it its place in their inbox.

    `source` names the events topic and the partition that it comes from; of one recipient and one source `seq` only
    grows, so what isn't above it is a repeat. `id` is that of the event behind it, `data` one of the types below, as
    JSON.
    """

    recipient: str
    source: str
    seq: int
    id: str
    at: int
    kind: Kind
    data: Raw
    v: int = 1

    @property
    def key(self) -> str:
        """One person's entries are in one partition."""
        return self.recipient


Place = Annotated[int, Meta(description="A message's place in its conversation.")]
Time = Annotated[int, Meta(description="Milliseconds since 1970.")]
Conversation = Annotated[str, Meta(description="Both user ids, sorted, with a dot between them.")]


class Data(Struct, frozen=True, kw_only=True):
    """What an entry says."""


class MessageData(Data, frozen=True):
    """A message as both people see it: when it was said, and again when it was changed. A deleted one has no text."""

    id: str
    conversation: Conversation
    seq: Place
    sender: str
    recipient: str
    text: str
    at: Annotated[int, Meta(description="When it was said, in milliseconds since 1970.")]
    edited_at: Annotated[int | None, Meta(description="When it was changed; null if it never was.")] = None
    deleted: bool = False


class StatusData(Data, frozen=True):
    """`user` holds, or has read, all that was said to them in the conversation up to `up_to`, a message's seq."""

    conversation: Conversation
    user: Annotated[str, Meta(description="Who has them: the peer, or the person on another device.")]
    state: Literal["delivered", "read"]
    up_to: Place


class NotificationData(Data, frozen=True):
    """A notification, as in the list."""

    id: Annotated[str, Meta(description="Sorts by time.")]
    kind: str
    about: Annotated[dict[str, str], Meta(description="Whom and what it is about, by name.")]
    at: Time


class NotificationsReadData(Data, frozen=True):
    """These notifications were read on one of the person's devices."""

    notifications: Annotated[tuple[str, ...], Meta(description="Their ids.")]


#: What each kind says.
DATA: dict[Kind, type[Data]] = {
    "message": MessageData,
    "message_changed": MessageData,
    "status": StatusData,
    "notification": NotificationData,
    "notifications_read": NotificationsReadData,
}
