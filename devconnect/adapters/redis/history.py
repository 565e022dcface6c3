"""How a conversation's messages are kept, and how pages of them are read: as they are sent, nothing is decoded."""

from collections.abc import Mapping, Sequence

import msgspec

from devconnect.adapters.redis import cursors, keys
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.domain.projections import AppendMessage
from devconnect.events.base import pair_of
from devconnect.ports.reads import HistoryPage, MessageView, Page, PositionView

#: A message is kept as two places, `seq` and `previous`, in as many digits, and then the JSON of its MessageView.
_DIGITS = 16
_HEAD = 2 * _DIGITS
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
    return f"{message.seq:0{_DIGITS}d}{message.previous:0{_DIGITS}d}{msgspec.json.encode(view).decode()}"


def decode(kept: bytes) -> MessageView:
    """The message in what is kept."""
    return _VIEW.decode(kept[_HEAD:])


class _Found(msgspec.Struct, frozen=True):
    """Messages as they are kept, in the order asked for, the places on and back, and how far each has got."""

    kept: Sequence[bytes]
    next: str | None
    previous: str | None
    positions: list[PositionView]


async def read(
    client: Client, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
) -> Page[MessageView] | None:
    """Messages, newest or oldest first; None for a page that isn't wholly in what is held of the conversation."""
    found = await _find(client, conversation, cursor, limit, forward=forward)
    return None if found is None else Page(tuple(map(decode, found.kept)), found.next, found.previous)


async def read_json(
    client: Client, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
) -> HistoryPage | None:
    """The same as it is sent, with the positions; None also where those aren't held."""
    found = await _find(client, conversation, cursor, limit, forward=forward)
    if found is None or not found.positions:
        return None
    items = b",".join([kept[_HEAD:] for kept in found.kept])
    return HistoryPage(msgspec.Raw(b"[%b]" % items), found.next, found.positions, found.previous)


async def _find(client: Client, conversation: str, cursor: str | None, limit: int, *, forward: bool) -> _Found | None:
    cursors.check_limit(limit)
    place = None if cursor is None else int(cursors.decode(cursor, cursors.MESSAGE))
    key = keys.messages(conversation)
    page: Command
    if forward:
        page = ("ZRANGEBYSCORE", key, f"({place or 0}", "+inf", "LIMIT", 0, limit)
    else:
        page = ("ZREVRANGEBYSCORE", key, "+inf" if place is None else f"({place}", "-inf", "LIMIT", 0, limit)
    commands: list[Command] = [("GET", keys.EPOCH), page, ("HGETALL", keys.positions(conversation))]
    if place is not None:
        # Nothing behind a place may be all that there is, or all that is held.
        commands.append(("ZRANGE", key, 0, 0))
    epoch, kept, answered, *oldest = await run(client, commands, raw=True)
    if epoch is None:
        return None
    fields = {name.decode(): int(to) for name, to in answered.items()}
    on = _forward(kept, place or 0, fields) if forward else _backward(kept, oldest[0] if oldest else kept, limit)
    if on is None:
        return None
    back = cursors.encode(_place(kept[0])) if kept else None
    return _Found(kept, on or None, back, positions(conversation, fields))


def _backward(kept: Sequence[bytes], oldest: Sequence[bytes], limit: int) -> str | None:
    """The cursor of what follows, "" where nothing does; None where the page isn't wholly held."""
    if not oldest:
        return None
    # Each message names the one before it: 0 is the beginning, and a page that is full needs nothing beyond it.
    last = kept[-1] if kept else oldest[0]
    before = _previous(last)
    if before and len(kept) < limit:
        return None
    return cursors.encode(_place(last)) if before else ""


def _forward(kept: Sequence[bytes], after: int, fields: Mapping[str, int]) -> str | None:
    """The same the other way: what lies between the cursor and the first message would be missing."""
    newest = fields.get("last")
    if newest is None or (_previous(kept[0]) if kept else newest) > after:
        return None
    return cursors.encode(_place(kept[-1])) if kept else ""


def _place(kept: bytes) -> str:
    return kept[:_DIGITS].decode()


def _previous(kept: bytes) -> int:
    return int(kept[_DIGITS:_HEAD])


def positions(conversation: str, fields: Mapping[str, str | int]) -> list[PositionView]:
    """How far each of the two has got; empty where nothing is held of the conversation."""
    if not fields:
        return []
    return [
        PositionView(user=user, delivered=int(fields.get(f"d:{user}", 0)), read=int(fields.get(f"r:{user}", 0)))
        for user in pair_of(conversation)
    ]
