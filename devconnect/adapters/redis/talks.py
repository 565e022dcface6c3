"""Conversations from Redis: each page in two round trips, whatever its length; None for what isn't wholly here."""

from collections.abc import Sequence
from typing import Any

from devconnect.adapters.redis import cursors, keys
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.adapters.redis.members import previous_of, view_of
from devconnect.events.base import pair_id, pair_of
from devconnect.ports.reads import ConversationView, MessageView, Page, PositionView

_EPOCH: Command = ("GET", keys.EPOCH)


async def read_conversations(
    client: Client, user: str, cursor: str | None, limit: int
) -> Page[ConversationView] | None:
    """The user's conversations, the one in which something was said last first."""
    cursors.check_limit(limit)
    place = None if cursor is None else cursors.decode(cursor, cursors.DATED)
    listed = await _listed(client, user, place, limit + 1)
    if listed is None:
        return None
    views = await read_talks(client, user, [peer for _, peer in listed[:limit]])
    if views is None:
        return None
    last = keys.dated(*listed[limit - 1]) if len(listed) > limit else None
    return Page(tuple(views), None if last is None else cursors.encode(last))


async def _listed(client: Client, user: str, place: str | None, count: int) -> list[tuple[int, str]] | None:
    """When and with whom, what follows the place: of those who share its time, the ones behind its peer."""
    key = keys.conversations(user)
    at, _, peer = (place or "").partition(":")
    same: Command = ("ZRANGEBYSCORE", key, int(at), int(at)) if place else ("ZRANGEBYSCORE", key, "(0", "(0")
    below = f"({int(at)}" if place else "+inf"
    older: Command = ("ZREVRANGEBYSCORE", key, below, "-inf", "WITHSCORES", "LIMIT", 0, count)
    epoch, tied, found = await run(client, [_EPOCH, same, older])
    if epoch is None:
        return None
    listed = [(int(at), each) for each in reversed(tied) if each < peer]
    return [*listed, *_scored(found)][:count]


def _scored(found: Sequence[Any]) -> list[tuple[int, str]]:
    """Scores and members, whichever of its two ways the client gives them in."""
    pairs = found if found and isinstance(found[0], (list, tuple)) else zip(found[::2], found[1::2], strict=True)
    return [(int(float(score)), member) for member, score in pairs]


async def read_talks(client: Client, user: str, peers: Sequence[str]) -> list[ConversationView] | None:
    """The user's conversations with these peers; None unless all of them are held to their last message."""
    commands: list[Command] = [_EPOCH]
    for conversation in (pair_id(user, peer) for peer in peers):
        commands += [
            ("ZRANGE", keys.messages(conversation), -1, -1),
            ("HGETALL", keys.positions(conversation)),
            ("ZCARD", keys.unread_messages(conversation, user)),
        ]
    epoch, *found = await run(client, commands)
    views: list[ConversationView] = []
    for peer, tail, fields, unread in zip(peers, found[::3], found[1::3], found[2::3], strict=True):
        last = view_of(tail[0]) if tail else None
        if last is None or str(last.seq) != fields.get("last"):
            return None
        positions = tuple(position_views(last.conversation, fields))
        views.append(ConversationView(peer=peer, last=last, unread=int(unread), positions=positions))
    return None if epoch is None else views


async def read_forward(client: Client, conversation: str, cursor: str | None, limit: int) -> Page[MessageView] | None:
    """Messages, oldest first; None for a page that doesn't follow the cursor without a gap in what is held."""
    cursors.check_limit(limit)
    after = 0 if cursor is None else int(cursors.decode(cursor, cursors.MESSAGE))
    page: Command = ("ZRANGEBYSCORE", keys.messages(conversation), f"({after}", "+inf", "LIMIT", 0, limit)
    last: Command = ("HGET", keys.positions(conversation), "last")
    epoch, found, newest = await run(client, [_EPOCH, page, last])
    if epoch is None or newest is None:
        return None
    # Each names the one before it: what lies between the cursor and the first would be missing.
    if previous_of(found[0]) > after if found else int(newest) > after:
        return None
    views = tuple(map(view_of, found))
    return Page(views, next=place_in(views[-1]), previous=place_in(views[0])) if views else Page(())


def place_in(message: MessageView) -> str:
    """The cursor of a message in its conversation."""
    return cursors.encode(f"{message.seq:016d}")


def position_views(conversation: str, fields: dict[str, str]) -> list[PositionView]:
    """How far each of the two has got."""
    return [
        PositionView(user=user, delivered=int(fields.get(f"d:{user}", 0)), read=int(fields.get(f"r:{user}", 0)))
        for user in pair_of(conversation)
    ]
