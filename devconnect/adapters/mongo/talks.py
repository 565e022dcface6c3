"""Conversations, their messages and the search in them, from the database."""

from collections.abc import Sequence

import msgspec

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, Fields
from devconnect.adapters.mongo.paging import check_limit, cursor_of, newest, oldest, page, place_of
from devconnect.adapters.mongo.records import said_to, word_of
from devconnect.domain.model import Position, message_key, place_of as message_place
from devconnect.domain.search import words_of
from devconnect.events.base import pair_id, pair_of
from devconnect.ports.reads import ConversationView, MessageView, Page, PositionView


async def read_history(
    db: Database, conversation: str, cursor: str | None, limit: int, *, forward: bool
) -> Page[MessageView]:
    """Messages, newest first, or `forward`; see ports.reads."""
    check_limit(limit)
    prefix, listing = f"{conversation}:", layout.HISTORY
    after = None if cursor is None else place_of(listing, cursor)
    if forward:
        records = await oldest(db, listing, prefix, after, count=limit)
        last = records[-1] if records else None
    else:
        records = await newest(db, listing, prefix, after, count=limit + 1)
        last = records[limit - 1] if len(records) > limit else None
        records = records[:limit]
    return Page(
        tuple(map(_message_view, records)),
        next=cursor_of(listing, prefix, last) if last else None,
        previous=cursor_of(listing, prefix, records[0]) if records else None,
    )


async def read_conversations(db: Database, user: str, cursor: str | None, limit: int) -> Page[ConversationView]:
    """The user's conversations, the one in which something was said last first."""
    talks, after = await page(db, layout.CONVERSATION_LIST, f"{user}:", cursor, limit)
    found = await read_talks(db, user, [talk["peer"] for talk in talks])
    return Page(tuple(view for view in found if view is not None), after)


async def read_talks(db: Database, user: str, peers: Sequence[str]) -> list[ConversationView | None]:
    """The user's conversations with these peers, in the order asked for; None where nothing was said."""
    ids = [pair_id(user, peer) for peer in peers]
    talks = await _by_id(db, layout.CONVERSATIONS, ids)
    lasts = {pair: message_key(pair, talk["last"]) for pair, talk in talks.items()}
    said = await _by_id(db, layout.MESSAGES, list(lasts.values()))
    views: list[ConversationView | None] = []
    for peer, pair in zip(peers, ids, strict=True):
        last = said.get(lasts.get(pair, ""))
        views.append(None if last is None else _conversation_view(user, peer, talks[pair], last))
    return views


async def search(
    db: Database, user: str, words: Sequence[str], cursor: str | None, limit: int, *, peer: str | None
) -> Page[MessageView]:
    """The user's messages that have all of these words, newest first; see ports.reads."""
    check_limit(limit)
    if not words:
        return Page(())
    terms = [word_of(user, word) for word in (*words, *([said_to(peer)] if peer is not None else []))]
    found, after = await page(db, layout.FOUND, f"{user}:", cursor, limit, only={"words": {"$all": terms}})
    ids = [each["_id"].removeprefix(f"{user}:") for each in found]
    messages = await _by_id(db, layout.MESSAGES, ids)
    # The index may be behind: what was changed since must have the words still.
    views = [_message_view(messages[each]) for each in ids if each in messages]
    return Page(tuple(view for view in views if set(words) <= set(words_of(view.text))), after)


async def read_positions(db: Database, conversation: str) -> list[PositionView]:
    """How far each of the two has got; nowhere, where nothing was said yet."""
    fields = await db[layout.CONVERSATIONS].find_one({"_id": conversation})
    return _positions(conversation, fields or {"positions": {}})


async def _by_id(db: Database, collection: str, ids: Sequence[str]) -> dict[str, Fields]:
    if not ids:
        return {}
    found = await db[collection].find({"_id": {"$in": list(ids)}}, batch_size=len(ids) + 1).to_list(None)
    return {fields["_id"]: fields for fields in found}


def _conversation_view(user: str, peer: str, talk: Fields, last: Fields) -> ConversationView:
    return ConversationView(
        peer=peer,
        last=_message_view(last),
        unread=len(talk.get("unread", {}).get(user, ())),
        positions=tuple(_positions(talk["_id"], talk)),
    )


def _positions(conversation: str, talk: Fields) -> list[PositionView]:
    positions = msgspec.convert(talk["positions"], dict[str, Position])
    views = []
    for user in pair_of(conversation):
        position = positions.get(user, Position())
        views.append(PositionView(user=user, delivered=position.delivered, read=position.read))
    return views


def _message_view(fields: Fields) -> MessageView:
    shown = {**fields, "id": fields["message"], "seq": message_place(fields["_id"])}
    return msgspec.convert(shown, MessageView, strict=False)  # as in records.document_of
