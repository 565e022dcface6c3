"""The index of people to meet is what the updates say: replayed, out of order, by two at once, after any death."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from hypothesis import HealthCheck, given, settings, strategies as st

from devconnect.adapters.redis import feed, keys
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.domain.feed import DAY_MS, FeedUpdate, HideUser, ListUser, TouchUser, UnlistUser, activity
from devconnect.ports.truth import UnavailableError
from tests.contract.feed_samples import Mortal, Turns, differences, index_of, skills_of, unsettled
from tests.contract.redis_fixtures import NOW, client, servers

__all__ = ["client", "servers"]

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
PEOPLE = ("ada", "bob", "cyd")
user = st.sampled_from(PEOPLE)
skills = st.lists(st.sampled_from(["python", "Zürich", "c:{x}", "go", "\n"]), unique=True, max_size=4).map(tuple)
at = st.integers(0, 40).map(lambda hours: NOW + hours * DAY_MS // 24 * 3)


@st.composite
def logs(draw: st.DrawFn, size: int = 14) -> list[FeedUpdate]:
    """Updates as events bring them about: `seq` grows."""
    kinds = (
        st.builds(ListUser, user, skills, at, st.just(0)),
        st.builds(TouchUser, user, at),
        st.builds(HideUser, user, st.booleans(), st.just(0)),
        st.builds(ListUser, user, skills, at, st.just(0)),
        st.builds(UnlistUser, user, st.just(0)),
    )
    found = draw(st.lists(st.one_of(*kinds), max_size=size))
    return [with_seq(update, 256 * n) for n, update in enumerate(found, 1)]


def with_seq(update: FeedUpdate, seq: int) -> FeedUpdate:
    match update:
        case ListUser():
            return ListUser(update.user, update.skills, update.at, seq)
        case HideUser():
            return HideUser(update.user, update.hidden, seq)
        case UnlistUser():
            return UnlistUser(update.user, seq)
    return update


async def check(client: Client, updates: Sequence[FeedUpdate]) -> None:
    assert differences(await index_of(client), await skills_of(client), updates) == ""


async def test_a_change_of_skills_takes_out_of_the_old_lists_and_puts_in_the_new(client: Client) -> None:
    projections = RedisProjections(client)
    first = ListUser("ada", ("python", "go"), NOW, 256)
    await projections.apply([first, ListUser("bob", ("go",), NOW + 5, 256)])
    await projections.apply([ListUser("ada", ("go", "rust"), NOW + DAY_MS, 512), first])
    then, now = activity(NOW + 5, "bob"), activity(NOW + DAY_MS, "ada")
    assert await index_of(client) == {
        keys.ACTIVE: {"ada": now, "bob": then},
        keys.skill("go"): {"ada": now, "bob": then},
        keys.skill("rust"): {"ada": now},
    }


async def test_being_here_moves_a_person_once_a_day_in_all_lists(client: Client) -> None:
    projections = RedisProjections(client)
    start = NOW // DAY_MS * DAY_MS
    updates: list[FeedUpdate] = [ListUser("ada", ("python",), start, 256)]
    updates += [TouchUser("ada", start + hour * 3_600_000) for hour in range(1, 50)]
    for update in updates:
        await projections.apply([update])
    second_day = activity(start + 2 * DAY_MS, "ada")
    assert await index_of(client) == {keys.ACTIVE: {"ada": second_day}, keys.skill("python"): {"ada": second_day}}


async def test_who_is_hidden_or_gone_is_in_no_list_and_nothing_personal_is_kept_of_who_is_gone(client: Client) -> None:
    projections = RedisProjections(client)
    updates = [update for name in PEOPLE for update in (ListUser(name, ("python",), NOW, 256), TouchUser(name, NOW))]
    await projections.apply([*updates, HideUser("ada", True, 512), UnlistUser("bob", 512)])
    assert await index_of(client) == {key: {"cyd": activity(NOW, "cyd")} for key in (keys.ACTIVE, keys.skill("python"))}
    await projections.apply([ListUser("ada", ("go",), NOW, 768), *updates, HideUser("ada", False, 256)])
    assert set(await index_of(client)) == {keys.ACTIVE, keys.skill("python")}
    await projections.apply([HideUser("ada", False, 1024)])
    assert (await index_of(client))[keys.skill("go")] == {"ada": activity(NOW, "ada")}
    assert await client.hgetall(keys.listing("bob")) == {"gone": "1"}
    assert 29 * DAY_MS < await client.pttl(keys.listing("bob")) <= 30 * DAY_MS


@SLOW
@given(updates=logs(), data=st.data())
async def test_whatever_comes_in_whatever_order_nobody_moves_back(
    client: Client, updates: list[FeedUpdate], data: st.DataObject
) -> None:
    """A feed that is read downwards would meet them again."""
    await client.flushall()
    highest: dict[str, float] = {}
    for update in data.draw(st.permutations(updates + updates[::2])):
        await RedisProjections(client).apply([update])
        for name, at in (await index_of(client)).get(keys.ACTIVE, {}).items():
            assert at >= highest.get(name, 0.0)
            highest[name] = at


@SLOW
@given(updates=logs(), data=st.data())
async def test_the_index_is_that_of_the_model_in_any_order_and_after_replays(
    client: Client, updates: list[FeedUpdate], data: st.DataObject
) -> None:
    await client.flushall()
    projections = RedisProjections(client)
    for start in range(0, len(updates), 3):
        await projections.apply(updates[start : start + 3])
    await check(client, updates)
    assert await unsettled(client) == []
    await projections.apply(data.draw(st.permutations(updates)))
    await check(client, updates)
    await client.flushall()
    await projections.apply(data.draw(st.permutations(updates + updates[::2])))
    await check(client, updates)


async def write(client: Mortal, turns: Turns, writer: int, batches: Sequence[Sequence[FeedUpdate]]) -> None:
    """A writer that applies its batches until it dies."""
    with suppress(UnavailableError):
        for batch in batches:
            await RedisProjections(client).apply(batch)
    await turns.leave(writer)


def batches(data: st.DataObject, updates: Sequence[FeedUpdate]) -> list[Sequence[FeedUpdate]]:
    size = data.draw(st.integers(1, 5))
    return [updates[start : start + size] for start in range(0, len(updates), size)]


@SLOW
@given(updates=logs(), data=st.data())
async def test_two_writers_in_any_interleaving_make_one_index(
    client: Client, updates: list[FeedUpdate], data: st.DataObject
) -> None:
    """A rebuild from the first event on beside the agent that follows the newest."""
    await client.flushall()
    newest = data.draw(st.integers(0, len(updates)))
    turns = Turns(data.draw(st.lists(st.integers(0, 1), max_size=40)), 2)
    work = (batches(data, updates), batches(data, updates[newest:]))
    await asyncio.gather(*(write(Mortal(client, turns, n), turns, n, work[n]) for n in (0, 1)))
    await check(client, updates)
    assert await unsettled(client) == []


@SLOW
@given(updates=logs(), data=st.data())
async def test_who_dies_at_any_step_beside_another_writer_leaves_nothing_that_the_repetition_does_not_put_right(
    client: Client, updates: list[FeedUpdate], data: st.DataObject
) -> None:
    await client.flushall()
    turns = Turns(data.draw(st.lists(st.integers(0, 1), max_size=40)), 2)
    mortals = [Mortal(client, turns, n, data.draw(st.integers(0, 20))) for n in (0, 1)]
    work = [batches(data, updates) for _ in mortals]
    await asyncio.gather(*(write(mortals[n], turns, n, work[n]) for n in (0, 1)))
    await RedisProjections(client).apply(updates)
    await check(client, updates)


async def test_what_a_dead_writer_left_open_is_closed_by_the_next_change_a_minute_later(client: Client) -> None:
    first, second = ListUser("ada", ("python",), NOW, 256), ListUser("ada", ("go",), NOW, 512)
    (work,) = await feed.run_all(client, [feed.place(first)])
    assert work[3:] == [["python"], []]
    projections = RedisProjections(client)
    await projections.apply([second])
    assert await unsettled(client) == [keys.listing("ada")]
    await client.hincrby(keys.listing("ada"), "since", -61_000)
    await projections.apply([first])
    assert await unsettled(client) == []
    await check(client, [first, second])


async def test_a_writer_that_was_held_up_for_longer_than_anybody_waits_puts_right_what_it_did(client: Client) -> None:
    first, second = ListUser("ada", ("python",), NOW, 256), ListUser("ada", ("go",), NOW, 512)
    answers = await feed.run_all(client, [feed.place(first)])
    await client.hincrby(keys.listing("ada"), "since", -61_000)
    await RedisProjections(client).apply([second])
    assert await unsettled(client) == []
    await feed.carry_out(client, [first], answers)
    await check(client, [first, second])
    assert await unsettled(client) == []


async def test_a_writer_from_before_redis_was_wiped_leaves_nothing_in_the_new_one(client: Client) -> None:
    first, second = ListUser("ada", ("python",), NOW, 256), ListUser("ada", ("go",), NOW, 512)
    answers = await feed.run_all(client, [feed.place(first)])
    await client.flushall()
    await RedisProjections(client).apply([second])
    await feed.carry_out(client, [first], answers)
    await check(client, [second])
    assert await unsettled(client) == []
    await client.flushall()
    await feed.carry_out(client, [first], answers)
    assert [key async for key in client.scan_iter()] == []


async def test_a_writer_from_before_redis_was_wiped_is_not_taken_for_one_that_is_at_work_now(client: Client) -> None:
    first, second = ListUser("ada", ("python",), NOW, 256), ListUser("ada", ("go",), NOW, 512)
    before = await feed.run_all(client, [feed.place(first)])
    await client.flushall()
    now = await feed.run_all(client, [feed.place(second)])
    await feed.carry_out(client, [first], before)
    await feed.carry_out(client, [second], now)
    await check(client, [second])


async def test_the_lists_take_any_number_of_people_at_once(client: Client) -> None:
    updates: list[FeedUpdate] = [ListUser(f"u{n:04}", ("python", f"s{n % 7}"), NOW + n, 256) for n in range(2_500)]
    await RedisProjections(client).apply(updates)
    await check(client, updates)
