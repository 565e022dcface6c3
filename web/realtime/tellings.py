"""What sockets are told beside what is in inboxes: presence and typing, and what clients say of it."""

from collections.abc import Sequence

import msgspec

from devconnect.events.base import pair_id
from devconnect.ports.reads import PresenceView
from web.answers import Answer, PresenceAnswer
from web.realtime.frames import Frame, encode_event

_encode = msgspec.json.Encoder().encode


class PresenceChanged(Answer, frozen=True):
    """Some of those whom this socket watches have come or gone."""

    presence: tuple[PresenceAnswer, ...]


class TypingChanged(Answer, frozen=True):
    """Somebody is writing to the reader, or no longer. Nobody says so for those who close their lid: let it fade."""

    user: str
    conversation: str
    typing: bool


def presence_frame(views: Sequence[PresenceView]) -> Frame:
    """The event `presence`."""
    return encode_event("presence", _encode(PresenceChanged(presence=shown(views))))


def shown(views: Sequence[PresenceView]) -> tuple[PresenceAnswer, ...]:
    """Presences as they are answered."""
    return tuple(PresenceAnswer(user=view.user, online=view.online, last_seen=view.last_seen) for view in views)


def typing_text(writer: str, reader: str, *, typing: bool) -> str:
    """What the event `typing` holds."""
    changed = TypingChanged(user=writer, conversation=pair_id(writer, reader), typing=typing)
    return _encode(changed).decode()
