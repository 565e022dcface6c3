"""The analytics tables: what they count, how a row is written, and how the partitions' parts make a view.

A table holds partial aggregates: one row a source partition and key, with the `seq` of the last event that it counted.
An event counts where its `seq` is above the row's, so a replay adds nothing. A view merges the rows of all partitions.

A windowed table has a row a window, or a row a window and member. For each source partition it has a mark besides, a
row that says up to where its windows are closed. What lies further back than the table keeps isn't counted any more.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from operator import add
from typing import Literal, NamedTuple, get_args

import msgspec
from msgspec import Struct

from devconnect.events import facts as f
from devconnect.events.base import Event
from devconnect.events.topics import CONNECTION_EVENTS, MESSAGE_EVENTS, USER_EVENTS

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

Values = tuple[int, ...]
Kind = type[Event]

#: What each topic of events carries.
CARRIED: Mapping[str, Collection[Kind]] = {
    USER_EVENTS.name: get_args(f.AnyUserEvent),
    CONNECTION_EVENTS.name: get_args(f.AnyConnectionEvent),
    MESSAGE_EVENTS.name: get_args(f.AnyMessageEvent),
}
#: What a row key starts with: each source topic has a clock of its own, and so rows of its own.
PREFIXES: Mapping[str, str] = {USER_EVENTS.name: "u", CONNECTION_EVENTS.name: "c", MESSAGE_EVENTS.name: "m"}
#: Begins the key of a mark: `~prefix`.
MARK = "~"


class Row(NamedTuple):
    """A partial aggregate and the seq of the last event in it."""

    values: Values
    seq: int


#: `Row(values, seq)` of the pair (values, seq), at a third of the time.
row_of: Callable[[tuple[Values, int]], Row] = partial(tuple.__new__, Row)


class Count(NamedTuple):
    """What an event adds to a column: `by`, in the row that `field` of the event names, or else the text `name`."""

    column: str
    field: str = ""
    name: str = ""
    by: int = 1


class Table(Struct, frozen=True, kw_only=True):
    """One table. `shape` says how parts merge: "sum" adds the columns up, "distinct" counts the members of a window.

    `counts` has what each type of event adds; an event adds to a row at most once. `buckets` is how many parts the view
    of a large "sum" table is kept in. A windowed table has windows of `window_ms`, which are let go of `keep_ms` after
    their end; their rows are named by the window's start, and by `start|member` in a "distinct" table.
    """

    name: str
    key: str
    columns: tuple[str, ...]
    shape: Literal["sum", "distinct"]
    counts: Mapping[Kind, tuple[Count, ...]]
    buckets: int = 1
    window_ms: int = 0
    keep_ms: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """The topics whose events it counts."""
        return tuple(topic for topic, kinds in CARRIED.items() if any(kind in self.counts for kind in kinds))


_EVERYTHING: tuple[Kind, ...] = tuple(kind for kinds in CARRIED.values() for kind in kinds)


def _tag(kind: Kind) -> str:
    return str(kind.__struct_config__.tag)


#: What is done to somebody, or for somebody who may be anybody: nobody was active.
_PASSIVE: Collection[Kind] = (f.PasswordResetRequested, f.ReportClosed)


def _active(kind: Kind) -> str:
    """The field that says who was active."""
    if issubclass(kind, f.ConnectionEvent):
        return "by"
    return "sender" if kind in (f.MessageSent, f.MessageEdited, f.MessageDeleted) else "user"


EVENTS_BY_TYPE = Table(
    name="events_by_type",
    key="type",
    columns=("count",),
    shape="sum",
    counts={kind: (Count("count", name=_tag(kind)),) for kind in _EVERYTHING},
)
USER_ACTIVITY = Table(
    name="user_activity",
    key="user",
    columns=("messages_sent", "messages_received", "requests_sent", "connections"),
    shape="sum",
    counts={
        f.MessageSent: (Count("messages_sent", "sender"), Count("messages_received", "recipient")),
        f.ConnectionRequested: (Count("requests_sent", "by"),),
        f.ConnectionAccepted: (Count("connections", "by"), Count("connections", "other")),
        f.ConnectionRemoved: (Count("connections", "by", by=-1), Count("connections", "other", by=-1)),
    },
    buckets=256,
)
MESSAGES_PER_MINUTE = Table(
    name="messages_per_minute",
    key="minute",
    columns=("count",),
    shape="sum",
    counts={f.MessageSent: (Count("count"),)},
    window_ms=MINUTE_MS,
    keep_ms=7 * DAY_MS,
)
ACTIVE_USERS = Table(
    name="active_users",
    key="hour",
    columns=("users",),
    shape="distinct",
    counts={kind: (Count("users", _active(kind)),) for kind in _EVERYTHING if kind not in _PASSIVE},
    window_ms=HOUR_MS,
    keep_ms=2 * DAY_MS,
)
DAILY_TOTALS = Table(
    name="daily_totals",
    key="day",
    columns=("sign_ups", "log_ins", "connections", "messages"),
    shape="sum",
    counts={
        f.UserSignedUp: (Count("sign_ups"),),
        f.UserLoggedIn: (Count("log_ins"),),
        f.ConnectionAccepted: (Count("connections"),),
        f.MessageSent: (Count("messages"),),
    },
    window_ms=DAY_MS,
    keep_ms=400 * DAY_MS,
)

TABLES = {
    table.name: table for table in (EVENTS_BY_TYPE, USER_ACTIVITY, MESSAGES_PER_MINUTE, ACTIVE_USERS, DAILY_TOTALS)
}
WINDOWED = {name: table for name, table in TABLES.items() if table.window_ms}


def touches(table: Table, event: f.AnyEvent) -> Iterator[tuple[str, Values]]:
    """What one event adds to which names: the definition of a table, which `fold` keeps to for many at once."""
    window = str(event.at - event.at % table.window_ms) if table.window_ms else ""
    for count in table.counts.get(type(event), ()):
        own = getattr(event, count.field) if count.field else count.name
        delta = tuple(count.by if column == count.column else 0 for column in table.columns)
        yield "|".join(part for part in (window, own) if part), delta


def mark_of(prefix: str) -> str:
    """The key of the mark that says up to where the windows of a source are closed."""
    return MARK + prefix


def is_mark(row_key: str) -> bool:
    """Whether the row is a mark, which counts nothing."""
    return row_key.startswith(MARK)


def mark(until: int) -> Row:
    """The mark of windows closed up to this time: it moves forward only, as every row does."""
    return Row((until,), until)


def closed_until(rows: Mapping[str, Row], prefix: str) -> int:
    """Up to where the windows of a source partition are closed, in milliseconds since 1970; 0 before any is."""
    row = rows.get(mark_of(prefix))
    return row.values[0] if row else 0


def window_of(row_key: str) -> int:
    """The start of the window that a row of a windowed table is of."""
    return int(row_key.split("|", 2)[1])


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
    return row_of((tuple(numbers[2:]), numbers[1]))


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
    """The view: the parts of every source and partition made one. `rows` are (row key, values).

    A window that one source has let go of isn't in it any more: it would be a part of itself.
    """
    floor = 0
    members: dict[str, set[str]] = {}
    view: dict[str, Values] = {}
    for row_key, values in rows:
        if is_mark(row_key):
            floor = max(floor, values[0] - table.keep_ms)
            continue
        name = name_of(row_key)
        if table.shape == "distinct":
            name, _, member = name.partition("|")
            members.setdefault(name, set()).add(member)
        else:
            sofar = view.get(name)
            view[name] = values if sofar is None else tuple(map(add, sofar, values))
    view.update((window, (len(found),)) for window, found in members.items())
    return {name: values for name, values in view.items() if is_kept(table, name, floor)} if floor else view


def is_kept(table: Table, name: str, floor: int) -> bool:
    """Whether a row of this name is shown where windows that ended by `floor` have been let go of."""
    return not table.window_ms or int(name) + table.window_ms > floor


def present(table: Table, view: Mapping[str, Values]) -> list[dict[str, str | int]]:
    """The view as rows for people: the key under its name, then the columns, sorted by key."""
    rows: list[dict[str, str | int]] = []
    for name in sorted(view):
        row: dict[str, str | int] = {table.key: name}
        row.update(zip(table.columns, view[name], strict=True))
        rows.append(row)
    return rows
