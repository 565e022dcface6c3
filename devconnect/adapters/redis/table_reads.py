"""Reading what `table_views` keeps: pages of an analytics table, merged from the parts of all partitions."""

from collections.abc import Sequence
from typing import Any

from devconnect.adapters.redis import cursors, keys, lua
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.domain.analytics import TABLES, Table, Values, merge, present
from devconnect.ports.reads import Page

TablePage = Page[dict[str, str | int]]

#: Buckets asked at once grow by this factor, so that a small table in many buckets takes a few round trips.
_GROWTH = 8


async def read_table(client: Client, name: str, cursor: str | None, limit: int) -> TablePage | None:
    """A page of a table; None when there is no such table, or it isn't known whole."""
    table = TABLES.get(name)
    if table is None:
        return None
    page = _windows if table.shape == "distinct" else _buckets
    return await page(client, table, cursor, limit)


def _known(upto: Sequence[str]) -> bool:
    """Whether something was published, and nothing is being published for the first time."""
    return bool(upto) and "0" not in upto


async def _start(client: Client, table: Table, after: str) -> str:
    """Where a page begins: after this name, and after the last window that the table has let go of."""
    if table.window_ms:
        (floor,) = await run(client, [("GET", keys.floor(table.name))])
        if floor is not None:
            after = max(after, str(int(floor) - table.window_ms))
    return f"({after}" if after else "-"


async def _windows(client: Client, table: Table, cursor: str | None, limit: int) -> TablePage | None:
    low = await _start(client, table, "" if cursor is None else cursors.decode(cursor, cursors.WINDOW))
    listed: Command = ("ZRANGEBYLEX", keys.windows(table.name), low, "+", "LIMIT", 0, limit + 1)
    upto, windows = await run(client, [("HVALS", keys.upto(table.name)), listed])
    if not _known(upto):
        return None
    shown = windows[:limit]
    counts = await run(client, [("SCARD", keys.window(table.name, window)) for window in shown]) if shown else []
    # The members of all partitions are in one set: what domain.analytics.merge would count is its size.
    view = {window: (int(count),) for window, count in zip(shown, counts, strict=True)}
    return Page(tuple(present(table, view)), cursors.encode(shown[-1]) if len(windows) > limit else None)


async def _buckets(client: Client, table: Table, cursor: str | None, limit: int) -> TablePage | None:
    bucket, after = _place(table, cursor)
    # The windowed ones are in one bucket.
    low = await _start(client, table, after)
    rows: list[dict[str, str | int]] = []
    places: list[str] = []
    many = 1
    while bucket < table.buckets and len(rows) <= limit:
        asked = range(bucket, min(bucket + many, table.buckets))
        start = {bucket: low}
        reading = [
            lua.READ_ROWS(keys.bucket(table.name, number), start.get(number, "-"), limit + 1) for number in asked
        ]
        upto, *found = await run(client, [("HVALS", keys.upto(table.name)), *reading])
        if not _known(upto):
            return None
        for number, flat in zip(asked, found, strict=True):
            part = present(table, merge(table, _parts(flat)))
            rows += part
            places += [f"{number}:{row[table.key]}" for row in part]
        bucket, low, many = asked.stop, "-", many * _GROWTH
    return Page(tuple(rows[:limit]), cursors.encode(places[limit - 1]) if len(rows) > limit else None)


def _place(table: Table, cursor: str | None) -> tuple[int, str]:
    """The bucket to go on in, and the key there to start after."""
    if cursor is None:
        return 0, ""
    number, _, after = cursors.decode(cursor, cursors.BUCKET).partition(":")
    if int(number) >= table.buckets:
        raise ValueError("not a cursor of this table")
    return int(number), after


def _parts(flat: Sequence[Any]) -> list[tuple[str, Values]]:
    """Rows as domain.analytics.merge takes them, from name, part, value, … as the script gives them."""
    triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return [(f"{part.partition('|')[2]}|{name}", _values(value)) for name, part, value in triples]


def _values(text: str) -> Values:
    return tuple(map(int, text.split(",")[1:]))
