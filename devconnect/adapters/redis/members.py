"""A message as it is a member of its conversation's tail: two places, `seq` and `previous`, in as many digits, and then
the JSON of its MessageView.
"""

import msgspec

from devconnect.domain.projections import AppendMessage
from devconnect.ports.reads import MessageView

DIGITS = 16
HEAD = 2 * DIGITS
_VIEW = msgspec.json.Decoder(MessageView)


def encode(message: AppendMessage) -> str:
    """A message as it is kept."""
    view = MessageView(
        id=message.message,
        conversation=message.conversation,
        seq=message.seq,
        sender=message.sender,
        recipient=message.recipient,
        text=message.text,
        at=message.at,
        edited_at=message.edited_at,
        deleted=message.deleted,
    )
    return f"{message.seq:0{DIGITS}d}{message.previous:0{DIGITS}d}{msgspec.json.encode(view).decode()}"


def view_of(kept: str) -> MessageView:
    """The message in what is kept."""
    return _VIEW.decode(kept[HEAD:])


def previous_of(kept: str) -> int:
    """The place of the one before it, 0 for none."""
    return int(kept[DIGITS:HEAD])
