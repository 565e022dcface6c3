"""The analytics views: the same however often rows come, merged as the domain does it, paged without repeats."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from devconnect.adapters.redis import keys, table_reads, table_views
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.reads import RedisReads
from devconnect.adapters.redis.table_views import RedisTableViews, bucket_of
from devconnect.domain.analytics import ACTIVE_USERS, TABLES, USER_ACTIVITY, WINDOWED, Row, merge, newer, present
from devconnect.ports.projections import TableRow
from devconnect.ports.truth import UnavailableError
from tests.contract.redis_fixtures import client, servers
from tests.contract.redis_samples import pages
from tests.contract.test_redis_projections import matches

__all__ = ["client", "servers"]


async def rows(client: Client, name: str, limit: int = 7) -> list[Any] | None:
    reads = RedisReads(client)
    return await pages(lambda cursor, limit: reads.table(name, cursor, limit), limit)


def counted(name: str, count: int, seq: int, prefix: str = "m") -> TableRow:
    return (f"{prefix}|{name}", (count,), seq)


async def test_a_view_adds_up_sources_and_partitions_and_takes_a_row_forward_only(client: Client) -> None:
    views = RedisTableViews(client)
    await views.publish("events_by_type", 0, [counted("message.sent", 5, 512), counted("a.b", 1, 256)], 10)
    await views.publish("events_by_type", 1, [counted("message.sent", 3, 256)], 4)
    await views.publish("events_by_type", 1, [counted("message.sent", 4, 256, "u")], 5)
    for stale in (4, 5):
        await views.publish("events_by_type", 0, [counted("message.sent", stale, 256 * (stale - 3))], 10)
    expected = [{"type": "a.b", "count": 1}, {"type": "message.sent", "count": 12}]
    assert await rows(client, "events_by_type") == expected


async def test_a_view_is_good_up_to_the_furthest_offset_and_each_partition_has_its_own(client: Client) -> None:
    views = RedisTableViews(client)
    assert await views.published("events_by_type", 0) == 0
    await views.publish("events_by_type", 0, [], 10)
    await views.publish("events_by_type", 0, [], 7)
    await views.publish("events_by_type", 1, [], 3)
    assert [await views.published("events_by_type", n) for n in range(3)] == [10, 3, 0]
    assert await RedisTableViews(client).published("events_by_type", 0) == 10


async def test_a_view_is_not_good_before_all_rows_are_in(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise UnavailableError("gone")

    views = RedisTableViews(client)
    monkeypatch.setattr(table_views, "run_all", fail)
    with pytest.raises(UnavailableError):
        await views.publish("events_by_type", 0, [counted("a", 1, 256)], 10)
    assert await views.published("events_by_type", 0) == 0
    assert await rows(client, "events_by_type") is None


async def test_a_table_that_is_put_in_for_the_first_time_is_not_known_until_it_is_whole(client: Client) -> None:
    views = RedisTableViews(client)
    await views.publish("events_by_type", 0, [counted("a", 1, 256)], 0)
    assert await rows(client, "events_by_type") is None
    await views.publish("events_by_type", 0, [counted("b", 1, 512)], 10)
    assert await rows(client, "events_by_type") == [{"type": "a", "count": 1}, {"type": "b", "count": 1}]


@pytest.mark.parametrize("name", sorted(TABLES))
async def test_a_wiped_view_is_not_known_and_is_published_anew(client: Client, name: str) -> None:
    views = RedisTableViews(client)
    table = TABLES[name]
    values = (1,) * len(table.columns)
    one, other = ("m|7|ada", "m|9|bob") if table.shape == "distinct" else ("m|7", "m|9")
    assert await rows(client, name) is None
    await views.publish(name, 0, [(one, values, 256)], 10)
    before = await rows(client, name)
    assert before
    await client.flushall()
    assert await rows(client, name) is None
    with pytest.raises(UnavailableError, match="lost"):
        await views.publish(name, 0, [(other, values, 512)], 11)
    with pytest.raises(UnavailableError, match="lost"):
        await views.publish(name, 0, [], 12)
    assert await views.published(name, 0) == 0
    await views.publish(name, 0, [(one, values, 256)], 10)
    assert await rows(client, name) == before


async def test_a_wipe_while_a_view_is_put_in_for_the_first_time_is_noticed(client: Client) -> None:
    views = RedisTableViews(client)
    await views.publish("events_by_type", 0, [counted("a", 1, 256)], 0)
    await client.flushall()
    with pytest.raises(UnavailableError, match="lost"):
        await views.publish("events_by_type", 0, [counted("b", 1, 512)], 10)


async def test_a_table_that_does_not_exist_is_not_known(client: Client) -> None:
    assert await rows(client, "nothing") is None


@pytest.mark.parametrize("limit", [1, 2, 7, 50, 200])
async def test_a_large_table_is_paged_without_repeats(client: Client, limit: int) -> None:
    view = {f"user{n:04}": (n, 1, 2, -3) for n in range(300)}
    # One bucket is larger than a page.
    crowded = [name for name in (f"x{n}" for n in range(100_000)) if bucket_of(USER_ACTIVITY, name) == 77][:220]
    view |= dict.fromkeys(crowded, (1, 0, 0, 0))
    found = [(f"c|{name}", values, 256) for name, values in view.items()]
    await RedisTableViews(client).publish("user_activity", 3, found, 9)
    got = await rows(client, "user_activity", limit)
    assert got is not None
    assert sorted(got, key=lambda row: row["user"]) == present(USER_ACTIVITY, view)


async def test_rows_that_come_while_a_table_is_paged_repeat_nothing(client: Client) -> None:
    views, reads = RedisTableViews(client), RedisReads(client)
    await views.publish("messages_per_minute", 0, [counted(str(n), 1, 256) for n in range(10, 20)], 9)
    first = await reads.table("messages_per_minute", None, 4)
    assert first is not None
    await views.publish("messages_per_minute", 1, [counted(f"{n:02}", 1, 256) for n in range(5, 25)], 9)
    second = await reads.table("messages_per_minute", first.next, 200)
    assert second is not None
    assert second.next is None
    assert [row["minute"] for row in (*first.items, *second.items)] == [str(n) for n in range(10, 25)]


async def test_a_cursor_of_a_bucket_that_is_not_there_is_bad(client: Client) -> None:
    await RedisTableViews(client).publish("user_activity", 0, [], 9)
    with pytest.raises(ValueError, match="cursor"):
        await RedisReads(client).table("user_activity", table_reads.cursors.encode("256:ada"), 5)


async def test_members_of_a_window_count_once(client: Client) -> None:
    views = RedisTableViews(client)
    for partition in (0, 1):
        for _ in range(2):
            found = [
                (f"{prefix}|{hour}|u{n}", (1,), 256) for prefix in "um" for hour in (100, 200) for n in range(hour)
            ]
            await views.publish("active_users", partition, found, 9)
    await views.publish("active_users", 1, [("u|300|u1", (1,), 256)], 10)
    expected = [{"hour": "100", "users": 100}, {"hour": "200", "users": 200}, {"hour": "300", "users": 1}]
    for limit in (1, 2, 3, 200):
        assert await rows(client, "active_users", limit) == expected


@pytest.mark.parametrize("name", sorted(WINDOWED))
async def test_windows_that_a_table_has_let_go_of_are_shown_no_more_and_leave_nothing(
    client: Client, name: str
) -> None:
    views, table = RedisTableViews(client), WINDOWED[name]
    starts = [1_700_000_000_000 + number * table.window_ms for number in range(250)]
    member = "|ada" if table.shape == "distinct" else ""
    found = [(f"{prefix}|{start}{member}", (1,) * len(table.columns), 256) for start in starts for prefix in "um"]
    await views.publish(name, 0, found, 9)
    await views.publish(name, 1, found, 9)
    before = {key async for key in client.scan_iter()}
    await views.expire(name, starts[220])
    for floor in (starts[220], starts[100]):
        await views.expire(name, floor)
        assert [row[table.key] for row in await rows(client, name) or []] == [str(start) for start in starts[220:]]
    for page in (1, 50, 200):
        assert await rows(client, name, page) == await rows(client, name, 7)
    # One that is behind puts its part of a window in again: nobody is shown a part for the whole.
    await views.publish(name, 1, [(key, values, 512) for key, values, _ in found], 10)
    assert [row[table.key] for row in await rows(client, name) or []] == [str(start) for start in starts[220:]]
    await views.expire(name, starts[220])
    await views.expire(name, starts[-1] + 2 * table.window_ms)
    assert await rows(client, name) == []
    left = {key async for key in client.scan_iter()} - {keys.floor(name), keys.upto(name)}
    assert left <= before
    assert not [key for key in left if not key.endswith(":parts")]


row = st.tuples(
    st.integers(0, 2),
    st.sampled_from("uc"),
    st.sampled_from(["ada", "bob", "ä", "u", "u.", "u|1", "-"]),
    st.tuples(*[st.integers(-5, 5)] * 4),
    st.integers(1, 6),
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(found=st.lists(row, max_size=30), limit=st.integers(1, 8))
async def test_a_view_is_what_the_domain_merges(client: Client, found: list[Any], limit: int) -> None:
    await client.flushall()
    views = RedisTableViews(client)
    newest: dict[tuple[int, str], Row] = {}
    for partition, prefix, name, values, seq in found:
        key = (partition, f"{prefix}|{name}")
        newest[key] = newer(newest.get(key), Row(values, seq))
        await views.publish("user_activity", partition, [(key[1], values, seq)], seq)
    await views.publish("user_activity", 9, [], 1)
    view = merge(USER_ACTIVITY, [(row_key, row.values) for (_, row_key), row in newest.items()])
    got = await rows(client, "user_activity", limit)
    assert got is not None
    assert sorted(got, key=lambda each: each["user"]) == present(USER_ACTIVITY, view)


async def test_the_largest_seqs_are_told_apart(client: Client) -> None:
    views = RedisTableViews(client)
    for count, seq in ((1, 2**53 - 2), (2, 2**53 - 1), (3, 2**53 - 2)):
        await views.publish("events_by_type", 0, [counted("a", count, seq)], 2**53 - 1)
    assert await rows(client, "events_by_type") == [{"type": "a", "count": 2}]
    assert await views.published("events_by_type", 0) == 2**53 - 1


async def test_every_key_of_a_table_is_on_the_page(client: Client) -> None:
    views = RedisTableViews(client)
    await views.publish("events_by_type", 0, [counted("a", 1, 256)], 1)
    await views.publish(ACTIVE_USERS.name, 0, [("u|100|ada", (1,), 256)], 1)
    await views.expire(ACTIVE_USERS.name, 1)
    found = [key async for key in client.scan_iter()]
    assert len(found) == 8
    for key in found:
        (line,) = [line for line in keys.LAYOUT if matches(line.name, key)]
        assert await client.type(key) == line.type, key
