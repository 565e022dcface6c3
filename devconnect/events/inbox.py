"""What a person's devices are told and must not miss: the entries of inboxes, and what each kind of them says."""

from typing import Literal

from msgspec import Raw, Struct

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


class Data(Struct, frozen=True, kw_only=True):
    """What an entry says."""


class MessageData(Data, frozen=True):
    """A message as both people see it: when it was said, and again when it was changed. A deleted one has no text."""

    id: str
    conversation: str
    seq: int
    sender: str
    recipient: str
    text: str
    at: int
    edited_at: int | None = None
    deleted: bool = False


class StatusData(Data, frozen=True):
    """`user` holds, or has read, all that was said to them in the conversation up to `up_to`, a message's seq."""

    conversation: str
    user: str
    state: Literal["delivered", "read"]
    up_to: int


class NotificationData(Data, frozen=True):
    """A notification, as in the list."""

    id: str
    kind: str
    about: dict[str, str]
    at: int


class NotificationsReadData(Data, frozen=True):
    """These notifications were read on one of the person's devices."""

    notifications: tuple[str, ...]


#: What each kind says.
DATA: dict[Kind, type[Data]] = {
    "message": MessageData,
    "message_changed": MessageData,
    "status": StatusData,
    "notification": NotificationData,
    "notifications_read": NotificationsReadData,
}
