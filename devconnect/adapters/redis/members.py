"""A message as it is a member of its conversation's tail, and back."""

import msgspec

from devconnect.domain.projections import AppendMessage

_MESSAGE = msgspec.json.Decoder(AppendMessage)


def member_of(message: AppendMessage) -> str:
    """The message as a text."""
    return msgspec.json.encode(message).decode()


def message_of(member: str) -> AppendMessage:
    """The message that a text says."""
    return _MESSAGE.decode(member)
