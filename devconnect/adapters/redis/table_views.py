"""ports.projections.TableViews on Redis: the tables' rows as the fleet counts them, for analysts to read."""

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

from devconnect.adapters.redis import keys, lua
from devconnect.adapters.redis.calls import Client, Command, run, run_all
from devconnect.domain.analytics import TABLES, Table, name_of
from devconnect.ports.projections import TableRow
from devconnect.ports.truth import UnavailableError

#: The field that says that a table is kept, beside those of its partitions.
OPEN = "open"
#: Rows that one script call puts in: Redis does nothing else meanwhile.
_ROWS_A_CALL = 250
#: Names of a table that are dropped at once.
_NAMES_A_CALL = 100


class RedisTableViews:
    """Keeps the views. A row goes forward only, by its seq; members of a window stay.

    Remembers how far each view was, to notice when Redis has lost it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seen: dict[tuple[str, int], int] = {}

    async def published(self, table: str, partition: int) -> int:
        """The changelog offset up to which the partition's rows are in the view, exclusive; 0 for none."""
        (stored,) = await run(self._client, [("HGET", keys.upto(table), str(partition))])
        self._seen[table, partition] = -1 if stored is None else int(stored)
        return int(stored or 0)

    async def publish(self, table: str, partition: int, rows: Sequence[TableRow], upto: int) -> None:
        """Put rows (row key, values, seq) into the view, forward only; then the view is good up to `upto`.

        UnavailableError also when Redis has lost the view since it was last seen: ask `published`, go on from there.
        """
        await self._move(table, partition, 0)
        await run_all(self._client, list(_commands(TABLES[table], partition, rows)))
        await self._move(table, partition, upto)

    async def expire(self, table: str, before: int) -> None:
        """Windows that have ended by `before` are shown no more, whole and for good: the table lets go of them.

        First nobody is shown them, then what is there of them goes: a partition that is behind may put some in again.
        """
        found = TABLES[table]
        await run(self._client, [lua.MOVE_FLOOR([keys.floor(table)], before)])
        last = str(before - found.window_ms)
        if found.shape == "distinct":
            await self._drop_windows(table, last)
            return
        for number in range(found.buckets):
            while True:
                drop = lua.DROP_ROWS(keys.bucket(table, number), last, _NAMES_A_CALL)
                (dropped,) = await run(self._client, [drop])
                if dropped < _NAMES_A_CALL:
                    break

    async def _drop_windows(self, table: str, last: str) -> None:
        while True:
            listed: Command = ("ZRANGEBYLEX", keys.windows(table), "-", f"[{last}", "LIMIT", 0, _NAMES_A_CALL)
            (windows,) = await run(self._client, [listed])
            if not windows:
                return
            # The list last: what is broken off here is found again.
            await run_all(self._client, [("UNLINK", keys.window(table, window)) for window in windows])
            await run(self._client, [("ZREM", keys.windows(table), *windows)])

    async def open(self, table: str) -> None:
        """The table is kept: an empty view is an empty table."""
        await run(self._client, [("HSET", keys.upto(table), OPEN, "1")])

    async def _move(self, table: str, partition: int, upto: int) -> None:
        seen = self._seen.get((table, partition), -1)
        (stored,) = await run(self._client, [lua.MOVE_UPTO([keys.upto(table)], partition, upto, seen)])
        if stored < 0:
            raise UnavailableError(
                f"Redis has lost the view of {table}, partition {partition}: publish all of it again"
            )
        self._seen[table, partition] = int(stored)


def bucket_of(table: Table, name: str) -> int:
    """The bucket that a key of a "sum" table is in."""
    return zlib.crc32(name.encode()) % table.buckets


def _commands(table: Table, partition: int, rows: Sequence[TableRow]) -> Iterator[Command]:
    return _window_commands(table, rows) if table.shape == "distinct" else _bucket_commands(table, partition, rows)


def _window_commands(table: Table, rows: Sequence[TableRow]) -> Iterator[Command]:
    members: dict[str, list[str]] = defaultdict(list)
    for row_key, _, _ in rows:
        window, _, member = name_of(row_key).partition("|")
        members[window].append(member)
    for window, found in members.items():
        for start in range(0, len(found), _ROWS_A_CALL):
            yield ("SADD", keys.window(table.name, window), *found[start : start + _ROWS_A_CALL])
        yield ("ZADD", keys.windows(table.name), 0, window)


def _bucket_commands(table: Table, partition: int, rows: Sequence[TableRow]) -> Iterator[Command]:
    buckets: dict[int, list[str | int]] = defaultdict(list)
    for row_key, values, seq in rows:
        name = name_of(row_key)
        prefix = row_key.partition("|")[0]
        value = ",".join(map(str, (seq, *values)))
        buckets[bucket_of(table, name)] += (name, f"{partition}|{prefix}", seq, value)
    for number, flat in buckets.items():
        for start in range(0, len(flat), 4 * _ROWS_A_CALL):
            yield lua.PUT_ROWS(keys.bucket(table.name, number), *flat[start : start + 4 * _ROWS_A_CALL])
