"""The analytics tables as pure folds: what an event adds to which key, and how the partitions' parts make a view.

A table holds partial aggregates: one row a source partition and key, with the `seq` of the last event that it counted.
An event counts where its `seq` is above the row's, so a replay adds nothing. A view merges the rows of all partitions.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from devconnect.events import facts as f
from devconnect.events.base import type_of

MINUTE_MS = 60_000
HOUR_MS = 3_600_000

Values = tuple[int, ...]
#: What an event adds: at most one entry a key.
Touch = Callable[[f.AnyEvent], Iterable[tuple[str, Values]]]


class Row(NamedTuple):
    """A partial aggregate and the seq of the last event in it."""

    values: Values
    seq: int


class Table(Struct, frozen=True, kw_only=True):
    """One table. `shape` says how parts merge: "sum" adds the columns up, "distinct" counts the members of a window
    (its row keys are `window|member`). `buckets` is how many parts the view of a large "sum" table is kept in.
    """

    name: str
    key: str
    columns: tuple[str, ...]
    shape: Literal["sum", "distinct"]
    touch: Touch
    buckets: int = 1


def _by_type(event: f.AnyEvent) -> Iterable[tuple[str, Values]]:
    yield type_of(event), (1,)


def _activity(event: f.AnyEvent) -> Iterable[tuple[str, Values]]:
    match event:
        case f.MessageSent():
            yield event.sender, (1, 0, 0, 0)
            yield event.recipient, (0, 1, 0, 0)
        case f.ConnectionRequested():
            yield event.by, (0, 0, 1, 0)
        case f.ConnectionAccepted():
            yield event.by, (0, 0, 0, 1)
            yield event.other, (0, 0, 0, 1)
        case f.ConnectionRemoved():
            yield event.by, (0, 0, 0, -1)
            yield event.other, (0, 0, 0, -1)


def _per_minute(event: f.AnyEvent) -> Iterable[tuple[str, Values]]:
    if isinstance(event, f.MessageSent):
        yield str(event.at - event.at % MINUTE_MS), (1,)


def _active(event: f.AnyEvent) -> Iterable[tuple[str, Values]]:
    match event:
        case f.MessageSent():
            user = event.sender
        case f.ConnectionEvent():
            user = event.by
        case f.UserEvent() | f.MessageDelivered() | f.MessageRead():
            user = event.user
        case _:
            return
    yield f"{event.at - event.at % HOUR_MS}|{user}", (1,)


EVENTS_BY_TYPE = Table(name="events_by_type", key="type", columns=("count",), shape="sum", touch=_by_type)
USER_ACTIVITY = Table(
    name="user_activity",
    key="user",
    columns=("messages_sent", "messages_received", "requests_sent", "connections"),
    shape="sum",
    touch=_activity,
    buckets=256,
)
MESSAGES_PER_MINUTE = Table(
    name="messages_per_minute", key="minute", columns=("count",), shape="sum", touch=_per_minute
)
ACTIVE_USERS = Table(name="active_users", key="hour", columns=("users",), shape="distinct", touch=_active)

TABLES = {table.name: table for table in (EVENTS_BY_TYPE, USER_ACTIVITY, MESSAGES_PER_MINUTE, ACTIVE_USERS)}


def fold(table: Table, rows: Mapping[str, Row], prefix: str, events: Iterable[f.AnyEvent]) -> dict[str, Row]:
    """The rows that these events of one source partition change; `rows` itself is left alone.

    `prefix` names the source, since each source has a clock of its own; row keys are `prefix|key`.
    """
    changed: dict[str, Row] = {}
    for event in events:
        for name, delta in table.touch(event):
            key = f"{prefix}|{name}"
            row = changed.get(key) or rows.get(key)
            if row is None:
                changed[key] = Row(delta, event.seq)
            elif event.seq > row.seq:
                changed[key] = Row(tuple(map(int.__add__, row.values, delta)), event.seq)
    return changed


#: The version of a row's encoding, first in each.
ROW_VERSION = 1

_encode_numbers = msgspec.msgpack.Encoder().encode
_decode_numbers = msgspec.msgpack.Decoder(list[int]).decode


def encode_row(row: Row) -> bytes:
    """A row as MessagePack: [version, seq, values…]."""
    return _encode_numbers((ROW_VERSION, row.seq, *row.values))


class RowVersionError(Exception):
    """A row of a version that this reader doesn't know: written by a newer program, and not to be passed over."""


def decode_row(data: bytes) -> Row:
    """The row in `data`; ValueError when it is none, RowVersionError when it is one of another version."""
    numbers = _numbers(data)
    return Row(tuple(numbers[2:]), numbers[1])


def seq_in(data: bytes) -> int:
    """The seq of the row in `data`; raises what `decode_row` does."""
    return _numbers(data)[1]


def _numbers(data: bytes) -> list[int]:
    try:
        numbers = _decode_numbers(data)
    except msgspec.DecodeError as exc:
        raise ValueError(f"no table row: {exc}") from exc
    if len(numbers) < 2:
        raise ValueError("no table row: too short")
    if numbers[0] != ROW_VERSION:
        raise RowVersionError(f"a table row of version {numbers[0]}: this reader knows {ROW_VERSION}")
    return numbers


def newer(one: Row | None, other: Row) -> Row:
    """Of two versions of one row, the one that has counted more."""
    return other if one is None or other.seq > one.seq else one


def name_of(row_key: str) -> str:
    """The table's key in a row's key."""
    return row_key.partition("|")[2]


def merge(table: Table, rows: Iterable[tuple[str, Values]]) -> dict[str, Values]:
    """The view: the parts of every source and partition made one. `rows` are (row key, values)."""
    if table.shape == "distinct":
        members: dict[str, set[str]] = {}
        for row_key, _ in rows:
            window, _, member = name_of(row_key).partition("|")
            members.setdefault(window, set()).add(member)
        return {window: (len(found),) for window, found in members.items()}
    view: dict[str, Values] = {}
    for row_key, values in rows:
        name = name_of(row_key)
        sofar = view.get(name)
        view[name] = values if sofar is None else tuple(map(int.__add__, sofar, values))
    return view


def present(table: Table, view: Mapping[str, Values]) -> list[dict[str, str | int]]:
    """The view as rows for people: the key under its name, then the columns, sorted by key."""
    rows: list[dict[str, str | int]] = []
    for name in sorted(view):
        row: dict[str, str | int] = {table.key: name}
        row.update(zip(table.columns, view[name], strict=True))
        rows.append(row)
    return rows
