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
    )
    return f"{message.seq:0{_DIGITS}d}{message.previous:0{_DIGITS}d}{msgspec.json.encode(view).decode()}"


def decode(kept: bytes) -> MessageView:
    """The message in what is kept."""
    return _VIEW.decode(kept[_HEAD:])


class _Found(msgspec.Struct, frozen=True):
    """Messages as they are kept, newest first, the place of what follows, and how far each has got."""

    kept: Sequence[bytes]
    next: str | None
    positions: list[PositionView]


async def read(client: Client, conversation: str, cursor: str | None, limit: int) -> Page[MessageView] | None:
    """Messages, newest first; None for a page that isn't wholly in what is held of the conversation."""
    found = await _find(client, conversation, cursor, limit)
    return None if found is None else Page(tuple(map(decode, found.kept)), found.next)


async def read_json(client: Client, conversation: str, cursor: str | None, limit: int) -> HistoryPage | None:
    """The same as it is sent, with the positions; None also where those aren't held."""
    found = await _find(client, conversation, cursor, limit)
    if found is None or not found.positions:
        return None
    items = b",".join([kept[_HEAD:] for kept in found.kept])
    return HistoryPage(msgspec.Raw(b"[" + items + b"]"), found.next, found.positions)


async def _find(client: Client, conversation: str, cursor: str | None, limit: int) -> _Found | None:
    cursors.check_limit(limit)
    top = "+inf" if cursor is None else f"({int(cursors.decode(cursor, cursors.MESSAGE))}"
    key = keys.messages(conversation)
    commands: list[Command] = [
        ("GET", keys.EPOCH),
        ("ZREVRANGEBYSCORE", key, top, "-inf", "LIMIT", 0, limit),
        ("ZRANGE", key, 0, 0),
        ("HGETALL", keys.positions(conversation)),
    ]
    epoch, kept, oldest, fields = await run(client, commands, raw=True)
    if epoch is None or not oldest:
        return None
    # Each message names the one before it: 0 is the beginning, and a page that is full needs nothing beyond it.
    last = kept[-1] if kept else oldest[0]
    before = int(last[_DIGITS:_HEAD])
    if before and len(kept) < limit:
        return None
    place = cursors.encode(last[:_DIGITS].decode()) if before else None
    return _Found(kept, place, positions(conversation, {name.decode(): int(to) for name, to in fields.items()}))


def positions(conversation: str, fields: Mapping[str, str | int]) -> list[PositionView]:
    """How far each of the two has got; empty where nothing is held of the conversation."""
    if not fields:
        return []
    return [
        PositionView(user=user, delivered=int(fields.get(f"d:{user}", 0)), read=int(fields.get(f"r:{user}", 0)))
        for user in pair_of(conversation)
    ]
