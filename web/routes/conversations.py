"""What two people say to each other. The conversation's id is built from the reader's own: it is always theirs."""

from typing import Any

import msgspec

from devconnect.domain.search import sought
from devconnect.events import commands as c
from devconnect.events.base import pair_id
from web import answers, bodies
from web.answers import ConversationAnswer, History, Message, Moved
from web.calls import AnyCall, Call, known_user
from web.operations import Operation, Page, Reply, command, read
from web.problems import user_unknown
from web.queries import HistoryQuery, NoQuery, PageQuery, SearchQuery
from web.reads import Reading
from web.requests import paged


def send_message(call: Call[bodies.SendMessage, NoQuery]) -> c.SendMessage:
    """Say something to a connected person."""
    return c.SendMessage(**call.common(), to=call.user(), text=call.body.text)


def edit_message(call: Call[bodies.EditMessage, NoQuery]) -> c.EditMessage:
    """Say something else instead."""
    return c.EditMessage(**call.common(), peer=call.user(), message=call.seq(), text=call.body.text)


def delete_message(call: AnyCall) -> c.DeleteMessage:
    """Take an own message back, for both."""
    return c.DeleteMessage(**call.common(), peer=call.user(), message=call.seq())


def mark_delivered(call: Call[bodies.UpTo, NoQuery]) -> c.MarkDelivered:
    """A device of the reader holds all up to a message."""
    return c.MarkDelivered(**call.common(), peer=call.user(), up_to=call.body.up_to)


def mark_read(call: Call[bodies.UpTo, NoQuery]) -> c.MarkRead:
    """The reader has read all up to a message."""
    return c.MarkRead(**call.common(), peer=call.user(), up_to=call.body.up_to)


async def read_history(call: Call[None, HistoryQuery]) -> Reply:
    """Messages, newest first or oldest first, and how far each of the two has got."""
    asked, peer = call.query, call.user()
    reading = call.gateway.reads.reading()
    conversation = pair_id(call.me.user.id, peer)
    found = await paged(
        asked, reading.history_json(conversation, asked.cursor, asked.limit, forward=asked.direction == "newer")
    )
    if found.items == _EMPTY:
        await _insist_on(peer, reading)
    return Reply(data=found, source=reading.source)


async def _insist_on(peer: str, reading: Reading) -> None:
    [user] = await reading.users([peer])
    if user is None:
        raise user_unknown()


async def read_conversations(call: Call[None, PageQuery]) -> Reply:
    """The conversations, the one with the newest message first."""
    asked, me = call.query, call.me.user.id
    reading = call.gateway.reads.reading()
    page = await paged(asked, reading.conversations(me, asked.cursor, asked.limit))
    peers = [view.peer for view in page.items]
    people = await reading.users(peers)
    relations = await reading.relations_to(me, peers)
    items = tuple(
        ConversationAnswer(
            user=answers.card(user, relation),
            last=answers.message(view.last),
            unread=view.unread,
            positions=answers.positions(view.positions),
        )
        for view, user, relation in zip(page.items, people, relations, strict=True)
        if user is not None
    )
    return Reply(data=Page(items=items, next=page.next), source=reading.source)


async def search_messages(call: Call[None, SearchQuery]) -> Reply:
    """Messages of the own conversations that have all of these words, newest first."""
    asked = call.query
    peer = known_user(asked.user) if asked.user is not None else None
    library, words = call.gateway.parts.library, sought(asked.q)
    page = await paged(asked, library.search(call.me.user.id, words, peer, asked.cursor, asked.limit))
    items = tuple(map(answers.message, page.items))
    return Reply(data=Page(items=items, next=page.next), source="database")


_EMPTY = msgspec.Raw(b"[]")
_TAG: dict[str, Any] = {"tag": "conversations"}
_MESSAGES = "/v1/conversations/{user}/messages"

OPERATIONS: tuple[Operation, ...] = (
    read(
        "/v1/conversations",
        read_conversations,
        "The own conversations",
        query=PageQuery,
        answer=Page[ConversationAnswer],
        **_TAG,
    ),
    command(
        "POST",
        _MESSAGES,
        send_message,
        "Say something to a connected person",
        body=bodies.SendMessage,
        status=201,
        answer=Message,
        quota="messages",
        problems=("user_unknown", "not_connected"),
        **_TAG,
    ),
    read(
        _MESSAGES,
        read_history,
        "What two people have said",
        query=HistoryQuery,
        answer=History,
        problems=("user_unknown",),
        **_TAG,
    ),
    command(
        "PATCH",
        _MESSAGES + "/{message}",
        edit_message,
        "Say something else instead",
        body=bodies.EditMessage,
        answer=Message,
        problems=(
            "user_unknown",
            "not_connected",
            "message_unknown",
            "message_deleted",
            "not_allowed",
        ),
        **_TAG,
    ),
    command(
        "DELETE",
        _MESSAGES + "/{message}",
        delete_message,
        "Take an own message back, for both",
        answer=Message,
        problems=("user_unknown", "message_unknown", "not_allowed"),
        **_TAG,
    ),
    command(
        "POST",
        "/v1/conversations/{user}/delivered",
        mark_delivered,
        "A device holds all up to a message",
        body=bodies.UpTo,
        answer=Moved,
        problems=("user_unknown", "conversation_unknown", "message_unknown"),
        **_TAG,
    ),
    command(
        "POST",
        "/v1/conversations/{user}/read",
        mark_read,
        "All up to a message is read",
        body=bodies.UpTo,
        answer=Moved,
        problems=("user_unknown", "conversation_unknown", "message_unknown"),
        **_TAG,
    ),
    read(
        "/v1/messages/search",
        search_messages,
        "Look for words in the own conversations",
        query=SearchQuery,
        answer=Page[Message],
        problems=("user_unknown",),
        **_TAG,
    ),
)
