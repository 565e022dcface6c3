"""Conversations: who may say what to whom, who may change it, and how far each has got."""

from typing import Any

import msgspec

from devconnect.domain import unread
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
from devconnect.events.base import other_of, pair_of


def wanted(command: c.MessageCommand) -> tuple[Ref, ...]:
    """The documents that the verdict on this command rests on."""
    conversation = Ref("conversation", command.key)
    match command:
        case c.SendMessage():
            return (conversation, Ref("connection", command.key))
        case c.EditMessage():
            return (conversation, Ref("connection", command.key), _named(command))
        case c.DeleteMessage():
            return (conversation, _named(command))
        case _:
            return (conversation,)


def touched(event: f.MessageEvent) -> tuple[Ref, ...]:
    """The documents that an event changes, but for a message that it makes."""
    conversation = Ref("conversation", event.conversation)
    if isinstance(event, (f.MessageEdited, f.MessageDeleted)):
        return (conversation, Ref("message", message_key(event.conversation, event.of)))
    return (conversation,)


def _named(command: c.EditMessage | c.DeleteMessage) -> Ref:
    return Ref("message", message_key(command.key, command.message))


def decide(command: c.MessageCommand, offset: int, state: Snapshot) -> Verdict:
    """The verdict on a message command."""
    conversation = state.get(Ref("conversation", command.key))
    if conversation is not None and not isinstance(conversation, Conversation):
        raise TypeError(f"{command.key} is no conversation")
    match command:
        case c.SendMessage():
            return _send(command, offset, state.get(Ref("connection", command.key)), conversation)
        case c.EditMessage():
            return _edit(command, offset, state)
        case c.DeleteMessage():
            return _delete(command, offset, state)
        case _:
            return _move(command, offset, conversation)


def message_view(message: Message) -> dict[str, Any]:
    """A message as both people see it."""
    return {
        "id": message.message,
        "conversation": message.conversation,
        "seq": message.place,
        "sender": message.sender,
        "recipient": message.recipient,
        "text": message.text,
        "at": message.at,
        "edited_at": message.edited_at,
        "deleted": message.deleted,
    }


def _connected(between: AnyDocument | None) -> bool:
    return isinstance(between, Connection) and between.state == "accepted"


def _send(
    command: c.SendMessage, offset: int, between: AnyDocument | None, conversation: Conversation | None
) -> Verdict:
    if not _connected(between):
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
    return accept(message_view(_said(event)), event)


def _edit(command: c.EditMessage, offset: int, state: Snapshot) -> Verdict:
    """Only among connected people: to change what somebody has in front of them is to say something to them."""
    message = _own(command, state)
    if isinstance(message, Verdict):
        return message
    if message.deleted:
        return refuse("message_deleted", "This message was deleted: say it anew.")
    if not _connected(state.get(Ref("connection", command.key))):
        return refuse("not_connected", "Only connected people can message each other: send them a request first.")
    if message.text == command.text:
        return accept(message_view(message))
    mark = stamp(command, offset)
    event = f.MessageEdited(
        id=mark.id, seq=mark.seq, at=mark.at, sender=command.actor, text=command.text, **_place(message)
    )
    return accept(message_view(_changed(message, event)), event)


def _delete(command: c.DeleteMessage, offset: int, state: Snapshot) -> Verdict:
    """Whatever is between the two by now: what one has said can always be taken back."""
    message = _own(command, state)
    if isinstance(message, Verdict):
        return message
    if message.deleted:
        return accept(message_view(message))
    mark = stamp(command, offset)
    event = f.MessageDeleted(id=mark.id, seq=mark.seq, at=mark.at, sender=command.actor, **_place(message))
    return accept(message_view(_changed(message, event)), event)


def _own(command: c.EditMessage | c.DeleteMessage, state: Snapshot) -> Message | Verdict:
    """The message that the actor names, or why they can't change it."""
    message = state.get(_named(command))
    if not isinstance(message, Message):
        return refuse("message_unknown", "There is no such message: name it by its seq in this conversation.")
    if message.sender != command.actor:
        return refuse("not_allowed", "Only who said it can change or delete a message.")
    return message


def _place(message: Message) -> dict[str, Any]:
    return {
        "conversation": message.conversation,
        "of": message.place,
        "message": message.message,
        "said_at": message.at,
        "previous": message.previous,
    }


def _move(command: c.MarkDelivered | c.MarkRead, offset: int, conversation: Conversation | None) -> Verdict:
    if conversation is None or command.actor not in conversation.users:
        return refuse("conversation_unknown", "You have no conversation with them.")
    if command.up_to > conversation.last:
        return refuse("message_unknown", "There is no message that far: `up_to` is the seq of a message.")
    now = conversation.positions.get(command.actor, Position())
    read = isinstance(command, c.MarkRead)
    after = _moved(now, command.up_to, read=read)
    left = unread.above(conversation.unread.get(command.actor, ()), after.read)
    result = {"peer": command.peer, "delivered": after.delivered, "read": after.read, "unread": len(left)}
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
    """The conversation and the message as they are after the event; nothing of what is ahead of it already.

    A message is given whatever its conversation says, since a crash may have come between the two.
    """
    found = _message_after(state, event)
    before = state.get(Ref("conversation", event.conversation))
    if before is not None and (before.seq >= event.seq or not isinstance(before, Conversation)):
        return found
    if before is None:
        users = pair_of(event.conversation)
        before = Conversation(id=event.conversation, seq=0, users=users, last=0, last_at=0, count=0, positions={})
    return (_conversation_after(before, event), *found)


def _conversation_after(before: Conversation, event: f.AnyMessageEvent) -> Conversation:
    replace = msgspec.structs.replace
    match event:
        case f.MessageSent():
            said = {"last": event.seq, "last_at": event.at, "count": before.count + 1}
            left = unread.with_one(before.unread.get(event.recipient, ()), event.seq)
            return replace(before, seq=event.seq, unread={**before.unread, event.recipient: left}, **said)
        case f.MessageDeleted():
            told = other_of(event.conversation, event.sender)
            left = unread.without(before.unread.get(told, ()), event.of)
            return replace(before, seq=event.seq, unread={**before.unread, told: left})
        case f.MessageEdited():
            return replace(before, seq=event.seq)
    position = before.positions.get(event.user, Position())
    position = _moved(position, event.up_to, read=isinstance(event, f.MessageRead))
    left = unread.above(before.unread.get(event.user, ()), position.read)
    return replace(
        before,
        seq=event.seq,
        positions={**before.positions, event.user: position},
        unread={**before.unread, event.user: left},
    )


def taken_back(state: Snapshot, event: f.AnyEvent) -> tuple[str, ...]:
    """The ids of the commands that gave a message its texts, once it is deleted: also when the state is ahead."""
    if not isinstance(event, f.MessageDeleted):
        return ()
    message = state.get(Ref("message", message_key(event.conversation, event.of)))
    return message.commands if isinstance(message, Message) else (event.message,)


def _message_after(state: Snapshot, event: f.AnyMessageEvent) -> tuple[Message, ...]:
    """The message that an event says or changes, unless it is ahead of that."""
    match event:
        case f.MessageSent():
            said = _said(event)
            return () if Ref("message", said.id) in state else (said,)
        case f.MessageEdited() | f.MessageDeleted():
            before = state.get(Ref("message", message_key(event.conversation, event.of)))
            if not isinstance(before, Message) or before.seq >= event.seq:
                return ()
            return (_changed(before, event),)
        case _:
            return ()


def _said(event: f.MessageSent) -> Message:
    return Message(
        id=message_key(event.conversation, event.seq),
        seq=event.seq,
        message=event.message,
        conversation=event.conversation,
        sender=event.sender,
        recipient=event.recipient,
        text=event.text,
        at=event.at,
        previous=event.previous,
    )


def _changed(before: Message, event: f.MessageEdited | f.MessageDeleted) -> Message:
    if isinstance(event, f.MessageEdited):
        edits = (*before.edits, event.id.rpartition(".")[0])
        return msgspec.structs.replace(before, seq=event.seq, text=event.text, edited_at=event.at, edits=edits)
    return msgspec.structs.replace(before, seq=event.seq, text="", edited_at=None, deleted=True)
