"""Conversations: who may say what to whom, and how far each has got."""

from typing import Any

import msgspec

from devconnect.domain.model import (
    AnyDocument,
    Connection,
    Conversation,
    Message,
    Position,
    Ref,
    Snapshot,
    message_key,
)
from devconnect.domain.verdict import Verdict, accept, refuse, stamp
from devconnect.events import commands as c, facts as f
from devconnect.events.base import pair_of


def wanted(command: c.MessageCommand) -> tuple[Ref, ...]:
    """The documents that the verdict on this command rests on."""
    conversation = Ref("conversation", command.key)
    return (conversation, Ref("connection", command.key)) if isinstance(command, c.SendMessage) else (conversation,)


def decide(command: c.MessageCommand, offset: int, state: Snapshot) -> Verdict:
    """The verdict on a message command."""
    conversation = state.get(Ref("conversation", command.key))
    if conversation is not None and not isinstance(conversation, Conversation):
        raise TypeError(f"{command.key} is no conversation")
    if isinstance(command, c.SendMessage):
        return _send(command, offset, state.get(Ref("connection", command.key)), conversation)
    return _move(command, offset, conversation)


def message_view(event: f.MessageSent) -> dict[str, Any]:
    """A message as both people see it."""
    return {
        "id": event.message,
        "conversation": event.conversation,
        "seq": event.seq,
        "sender": event.sender,
        "recipient": event.recipient,
        "text": event.text,
        "at": event.at,
    }


def _send(
    command: c.SendMessage, offset: int, between: AnyDocument | None, conversation: Conversation | None
) -> Verdict:
    if not isinstance(between, Connection) or between.state != "accepted":
        return refuse("not_connected", "Only connected people can message each other: send them a request first.")
    mark = stamp(command, offset)
    event = f.MessageSent(
        id=mark.id,
        seq=mark.seq,
        at=mark.at,
        conversation=command.key,
        message=command.id,
        sender=command.actor,
        recipient=command.to,
        text=command.text,
        previous=conversation.last if conversation else 0,
    )
    return accept(message_view(event), event)


def _move(command: c.MarkDelivered | c.MarkRead, offset: int, conversation: Conversation | None) -> Verdict:
    if conversation is None or command.actor not in conversation.users:
        return refuse("conversation_unknown", "You have no conversation with them.")
    if command.up_to > conversation.last:
        return refuse("message_unknown", "There is no message that far: `up_to` is the seq of a message.")
    now = conversation.positions.get(command.actor, Position())
    read = isinstance(command, c.MarkRead)
    after = _moved(now, command.up_to, read=read)
    result = {"peer": command.peer, "delivered": after.delivered, "read": after.read}
    if after == now:
        return accept(result)
    mark = stamp(command, offset)
    kind = f.MessageRead if read else f.MessageDelivered
    event = kind(
        id=mark.id, seq=mark.seq, at=mark.at, conversation=command.key, user=command.actor, up_to=command.up_to
    )
    return accept(result, event)


def _moved(position: Position, up_to: int, *, read: bool) -> Position:
    """Forward only; what is read was delivered."""
    delivered = max(position.delivered, up_to)
    return Position(delivered=delivered, read=max(position.read, up_to) if read else position.read)


def evolve(state: Snapshot, event: f.AnyMessageEvent) -> tuple[AnyDocument, ...]:
    """The conversation after the event, and the message when it is one; nothing when the state is ahead of it."""
    before = state.get(Ref("conversation", event.conversation))
    if before is not None and (before.seq >= event.seq or not isinstance(before, Conversation)):
        return _said(event)
    one, other = pair_of(event.conversation)
    if before is None:
        before = Conversation(
            id=event.conversation, seq=0, users=(one, other), last=0, last_at=0, count=0, positions={}
        )
    if isinstance(event, f.MessageSent):
        after = msgspec.structs.replace(before, seq=event.seq, last=event.seq, last_at=event.at, count=before.count + 1)
        return (after, *_said(event))
    position = _moved(before.positions.get(event.user, Position()), event.up_to, read=isinstance(event, f.MessageRead))
    return (msgspec.structs.replace(before, seq=event.seq, positions={**before.positions, event.user: position}),)


def _said(event: f.AnyMessageEvent) -> tuple[AnyDocument, ...]:
    """The message itself: written whatever the conversation says, since a crash may have come between the two."""
    if not isinstance(event, f.MessageSent):
        return ()
    return (
        Message(
            id=message_key(event.conversation, event.seq),
            seq=event.seq,
            message=event.message,
            conversation=event.conversation,
            sender=event.sender,
            recipient=event.recipient,
            text=event.text,
            at=event.at,
        ),
    )
