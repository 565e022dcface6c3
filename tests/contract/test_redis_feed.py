"""People to meet: who is shown, in which order, and never twice, while people come, go and meet between the pages."""

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from agents.rebuild import RebuildProjections
from devconnect.adapters.redis import calls, cursors, feed_reads, keys
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.connect import close, connect, connect_fast
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.domain.feed import DAY_MS, FeedUpdate, HideUser, ListUser, TouchUser, UnlistUser
from devconnect.domain.projections import project
from devconnect.events.base import seq_of
from devconnect.events.facts import AnyEvent, Profile, ProfileChanged, UserSignedUp
from devconnect.events.topics import USER_EVENTS
from devconnect.ports.reads import CursorExpiredError, Page
from faust_batch.changelog import Chunk
from tests.contract.feed_samples import differences, index_of, skills_of
from tests.contract.redis_fixtures import NOW, Server, client, own_server, servers
from tests.contract.redis_samples import STATES, complete, pages, relation

__all__ = ["client", "own_server", "servers"]

SLOW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
READER = "reader"


def person(name: str, *skills: str, at: int = NOW, seq: int = 256) -> ListUser:
    return ListUser(name, skills, at, seq)


async def whole(reads: RedisReads, *skills: str, limit: int = 3) -> list[str]:
    found = await pages(lambda cursor, limit: reads.feed(READER, cursor, limit, skills), limit)
    assert found is not None
    return found


async def first(reads: RedisReads, limit: int, *skills: str) -> Page[str]:
    page = await reads.feed(READER, None, limit, skills)
    assert page is not None
    return page


async def following(reads: RedisReads, page: Page[str], limit: int = 200) -> Page[str]:
    assert page.next is not None
    found = await reads.feed(READER, page.next, limit)
    assert found is not None
    return found


async def test_who_shares_more_comes_first_then_who_was_here_last_then_everybody_else_by_activity(
    client: Client,
) -> None:
    reads = await complete(
        client,
        [
            person("one-late", "python", at=NOW + 9),
            person("one-early", "go", at=NOW + 1),
            person("all", "go", "python", "rust", "perl", at=NOW),
            person("two", "rust", "go", at=NOW + 5),
            person("none-late", "perl", at=NOW + 20),
            person("none", at=NOW + 2),
            person(READER, "python", "go", "rust", at=NOW + 30),
            TouchUser("none", NOW + DAY_MS),
        ],
    )
    expected = ["all", "two", "one-late", "one-early", "none", "none-late"]
    for limit in (1, 2, 3, 200):
        assert await whole(reads, "python", "go", "rust", "go", limit=limit) == expected
    by_activity = ["none", "none-late", "one-late", "two", "one-early", "all"]
    assert await whole(reads) == by_activity
    assert await whole(reads, "a skill of nobody's") == by_activity


async def test_over_the_gateways_own_connection_it_is_the_same(own_server: Server) -> None:
    """That one speaks the other protocol, which answers with numbers and in pairs."""
    pooled, fast = connect(own_server.url), connect_fast(own_server.url)
    try:
        people = [person(f"u{n}", *("python", "go")[: n % 3], at=NOW - n // 2) for n in range(9)]
        usual = await complete(pooled, people)
        for skills in ((), ("python",), ("go", "python")):
            for limit in (1, 2, 200):
                assert await whole(RedisReads(fast), *skills, limit=limit) == await whole(usual, *skills)
    finally:
        await close(pooled)
        await close(fast)


@pytest.mark.parametrize("skills", [(), ("python",)])
@pytest.mark.parametrize("limit", [1, 7, 200])
async def test_the_feed_leaves_out_oneself_and_whoever_anything_was_between(
    client: Client, skills: tuple[str, ...], limit: int
) -> None:
    people = [f"u{n:02}" for n in range(30)]
    known = [
        relation(READER, f"u{n:02}", STATES[n % len(STATES)], 256, by=READER if n % 2 else "") for n in range(5, 20)
    ]
    joined = [person(name, *("python",) * (n % 2), at=NOW + n) for n, name in enumerate([*people, READER])]
    reads = await complete(client, [*joined, *known])
    found = await whole(reads, *skills, limit=limit)
    assert len(found) == len(set(found))
    assert set(found) == set(people[:5] + people[20:])


@pytest.mark.parametrize("skills", [(), ("python",)])
async def test_relations_made_and_people_hidden_or_gone_between_two_pages_are_not_on_the_next(
    client: Client, skills: tuple[str, ...]
) -> None:
    reads = await complete(client, [person(f"u{n}", "python", at=NOW - n) for n in range(9)])
    page = await first(reads, 2, *skills)
    assert page.items == ("u0", "u1")
    await RedisProjections(client).apply(
        [relation(READER, "u2", "requested", 512), HideUser("u4", True, 512), UnlistUser("u5", 512)]
    )
    page = await following(reads, page, 2)
    assert page.items == ("u3", "u6")
    await RedisProjections(client).apply([HideUser("u4", False, 768), relation(READER, "u7", "ignored", 512)])
    assert (await following(reads, page)).items == ("u8",)


async def test_people_who_become_active_or_change_their_skills_between_pages_come_once(client: Client) -> None:
    sharing = [person(f"s{n}", "python", at=NOW - n) for n in range(4)]
    reads = await complete(client, [*sharing, *(person(f"u{n}", at=NOW - 10 - n) for n in range(6))])
    projections = RedisProjections(client)
    page = await first(reads, 2, "python")
    await projections.apply(
        [TouchUser("s0", NOW + DAY_MS), person("s3", "go", at=NOW, seq=512), person("new", "python")]
    )
    seen = list(page.items)
    while page.next:
        page = await following(reads, page, 2)
        seen += page.items
        await projections.apply([TouchUser(user, NOW + 2 * DAY_MS) for user in seen])
    # Who came after the ranking was made, above those who have been shown, is for the next feed.
    assert seen[:4] == ["s0", "s1", "s2", "s3"]
    assert sorted(seen[4:]) in ([f"u{n}" for n in range(6)], ["new", *(f"u{n}" for n in range(6))])


steps = st.lists(
    st.one_of(
        st.tuples(st.just("page"), st.integers(1, 4)),
        st.tuples(st.just("touch"), st.integers(0, 11), st.integers(0, 4)),
        st.tuples(st.just("skills"), st.integers(0, 11), st.sets(st.sampled_from("abcd"))),
        st.tuples(st.just("meet"), st.integers(0, 11), st.sampled_from(STATES)),
        st.tuples(st.just("hide"), st.integers(0, 11), st.booleans()),
        st.tuples(st.just("join"), st.integers(12, 15), st.sets(st.sampled_from("abcd"))),
    ),
    max_size=30,
)


def done(number: int, kind: str, rest: Sequence[Any]) -> Any:
    name = f"u{rest[0]:02}"
    match kind:
        case "touch":
            return TouchUser(name, NOW + rest[1] * DAY_MS)
        case "hide":
            return HideUser(name, rest[1], 512 + number)
        case "meet":
            return relation(READER, name, rest[1], 512 + number)
    return person(name, *sorted(rest[1]), at=NOW + number, seq=512 + number)


@SLOW
@given(steps=steps, held=st.lists(st.sets(st.sampled_from("abcd")), min_size=12, max_size=12))
async def test_whatever_happens_between_pages_nobody_comes_twice_or_unwanted_and_nobody_quiet_is_missed(
    client: Client, steps: list[tuple[Any, ...]], held: list[set[str]]
) -> None:
    await client.flushall()
    people = [person(f"u{n:02}", *sorted(skills), at=NOW - n // 3) for n, skills in enumerate(held)]
    reads = await complete(client, [*people, person(READER, "a", "b")])
    seen: list[str] = []
    barred: dict[str, set[str]] = {"meet": set(), "hide": set()}
    moved: set[str] = set()
    cursor: str | None = None
    over = False
    for number, (kind, *rest) in enumerate([*steps, *[("page", 200)] * 3]):
        if kind != "page":
            name = f"u{rest[0]:02}"
            await RedisProjections(client).apply([done(number, kind, rest)])
            moved.add(name)
            if kind in barred:
                (barred[kind].add if kind == "meet" or rest[1] else barred[kind].discard)(name)
            continue
        if over:
            continue
        page = await reads.feed(READER, cursor, rest[0], ("a", "b"))
        assert page is not None
        assert not set(page.items) & (barred["meet"] | barred["hide"] | {READER})
        seen += page.items
        cursor, over = page.next, page.next is None
    assert over
    assert len(seen) == len(set(seen))
    assert {f"u{n:02}" for n in range(12)} - moved <= set(seen)


async def test_the_ranking_is_of_the_most_active_of_each_skill_and_counts_all_that_they_share(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "RANKED", 6)
    busy = [person(f"busy{n}", "python", at=NOW + n) for n in range(9)]
    reads = await complete(
        client, [*busy, person("old", "python", "go", at=NOW - 5), person("older", "python", at=NOW - 9)]
    )
    ranking = ["old", "busy8", "busy7", "busy6"]
    assert (await whole(reads, "python", "go"))[:4] == ranking
    assert await whole(reads, "python", "go") == [*ranking, *(f"busy{n}" for n in range(5, -1, -1)), "older"]


async def test_of_many_skills_people_are_looked_for_by_the_rarest_and_ranked_by_all(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_reads, "SKILLS", 2)
    people = [person(f"u{n}", "common", at=NOW + n) for n in range(5)]
    people += [person("rare", "rare", at=NOW - 1), person("both", "rarer", "common", at=NOW - 2)]
    reads = await complete(client, people)
    for skills in (("common", "rare", "rarer"), ("rarer", "unknown", "rare", "common")):
        page = await first(reads, 2, *skills)
        assert page.items == ("both", "rare")
    assert set(await client.hvals(keys.rankings(READER))) == {"both\nrare"}


async def test_a_page_among_people_all_known_is_bounded_and_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_reads, "SCAN", 200)
    joined = [person(f"u{n:03}", at=NOW + n) for n in range(500)]
    known = [relation(READER, f"u{n:03}", "ignored", 256) for n in range(1, 500)]
    reads = await complete(client, [*joined, *known])
    page = await first(reads, 5)
    assert page.items == ()
    assert page.next is not None
    assert await whole(reads, limit=5) == ["u000"]


async def test_people_in_one_place_are_paged_through(client: Client) -> None:
    """As if they had all come in one part of a millisecond: more than a block of them."""
    reads = await complete(client, [person(f"u{n:03}") for n in range(450)])
    await client.zadd(keys.ACTIVE, {f"u{n:03}": NOW for n in range(450)})
    assert await whole(reads, limit=40) == [f"u{n:03}" for n in range(449, -1, -1)]


async def test_a_feed_left_alone_expires_and_one_in_use_does_not(client: Client) -> None:
    reads = await complete(client, [person(f"u{n}", "python", at=NOW - n) for n in range(9)])
    page = await first(reads, 2, "python")
    key = keys.rankings(READER)
    assert 890_000 < await client.pttl(key) <= 900_000
    await client.pexpire(key, 10_000)
    page = await following(reads, page, 2)
    assert await client.pttl(key) > 890_000
    await client.pexpire(key, 0)
    with pytest.raises(CursorExpiredError):
        await following(reads, page, 2)


async def test_a_reader_has_three_rankings_at_once_and_the_oldest_goes(client: Client) -> None:
    reads = await complete(client, [person(f"u{n}", "python", at=NOW - n) for n in range(9)])
    begun = [await first(reads, 2, "python") for _ in range(4)]
    assert await client.hlen(keys.rankings(READER)) == 3
    for page in begun[1:]:
        assert (await following(reads, page, 2)).items == ("u2", "u3")
    with pytest.raises(CursorExpiredError):
        await following(reads, begun[0])


async def test_a_feed_without_a_ranking_keeps_nothing_and_does_not_expire(client: Client) -> None:
    reads = await complete(client, [person(f"u{n}", at=NOW - n) for n in range(5)])
    page = await first(reads, 2)
    assert not await client.exists(keys.rankings(READER))
    assert (await following(reads, page)).items == ("u2", "u3", "u4")


async def test_a_cursor_is_its_readers_own(client: Client) -> None:
    reads = await complete(client, [person(f"u{n}", "python", at=NOW - n) for n in range(9)])
    page = await first(reads, 2, "python")
    with pytest.raises(CursorExpiredError):
        await reads.feed("somebody-else", page.next, 2)


async def test_a_cursor_of_the_database_is_the_databases(client: Client) -> None:
    reads = await complete(client, [person("ada")])
    assert await reads.feed(READER, cursors.encode(keys.dated(NOW, "ada")), 10) is None


@pytest.mark.parametrize(
    "place",
    ["", "x", "ranked:1", "ranked:1:x", "ranked::2", "active:1:-inf:u", "active:1:nan:u", "active:1", "ada:1:2"],
)
async def test_what_no_page_gave_is_no_cursor(client: Client, place: str) -> None:
    reads = await complete(client)
    with pytest.raises(ValueError, match="cursor") as raised:
        await reads.feed(READER, cursors.encode(place), 10)
    assert not isinstance(raised.value, CursorExpiredError)


async def test_a_place_behind_the_end_of_a_ranking_is_behind_it(client: Client) -> None:
    reads = await complete(client, [person(f"u{n}", "python", at=NOW - n) for n in range(5)])
    page = await first(reads, 2, "python")
    place = cursors.decode(page.next or "", cursors.RANKED).rpartition(":")[0]
    assert await reads.feed(READER, cursors.encode(f"{place}:9999"), 10) == Page(())


async def test_a_wiped_redis_knows_no_feed_until_it_is_built_and_then_no_cursor_of_before(client: Client) -> None:
    people = [person(f"u{n}", "python", at=NOW - n) for n in range(9)]
    reads = await complete(client, people)
    page, unranked = await first(reads, 2, "python"), await first(reads, 2)
    await client.flushall()
    for cursor in (None, page.next, unranked.next):
        assert await reads.feed(READER, cursor, 2, ("python",)) is None
    await complete(client, people)
    for begun in (page, unranked):
        with pytest.raises(CursorExpiredError):
            await following(reads, begun)
    assert (await first(reads, 2, "python")).items == page.items


@pytest.mark.parametrize("step", range(5))
async def test_a_redis_that_is_wiped_within_a_page_shows_none(
    client: Client, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    reads = await complete(
        client, [*(person(f"u{n}", "python", at=NOW - n) for n in range(9)), person(READER, "python")]
    )
    trips = 0

    async def wiped(client: Client, commands: Sequence[calls.Command]) -> list[Any]:
        nonlocal trips
        if trips == step:
            await client.flushall()
        trips += 1
        return await calls.run(client, commands)

    monkeypatch.setattr(feed_reads, "run", wiped)
    assert await reads.feed(READER, None, 2, ("python",)) is None
    assert trips == step + 1


async def test_a_redis_that_can_not_keep_a_ranking_leaves_the_feed_to_the_database(own_server: Server) -> None:
    client: Any = connect(own_server.url)
    reads = await complete(client, [person("ada", "python"), person("bob")])
    await client.config_set("maxmemory", 1)
    assert await reads.feed(READER, None, 2, ("python",)) is None
    assert (await first(reads, 1)).items != ()
    await close(client)


def signed_up(offset: int, name: str, *skills: str) -> UserSignedUp:
    profile = Profile(name=name, skills=skills)
    common = {"id": f"c{offset}.0", "seq": seq_of(offset), "at": NOW + offset}
    return UserSignedUp(**common, user=name, email=f"{name}@x", profile=profile, tier="free", role="member")


async def test_a_rebuild_beside_the_live_agent_makes_the_feed_of_the_newest(client: Client) -> None:
    """Each from its own place in the log, the live one always ahead; the store is wiped before."""
    events: list[AnyEvent] = [signed_up(n, f"u{n:02}", "python", "go") for n in range(12)]
    for n in range(12, 24):
        common = {"id": f"c{n}.0", "seq": seq_of(n), "at": NOW + n, "user": f"u{n - 12:02}"}
        events.append(ProfileChanged(**common, profile=Profile(name="x", skills=("go",) if n % 2 else ("rust",))))
    updates = [update for event in events for update in project(event)]
    live = RedisProjections(client)
    assert USER_EVENTS.codec is not None

    async def read(_: str) -> AsyncIterator[Chunk]:
        for start in range(0, 24, 3):
            if start in (6, 15):
                await live.apply(updates[-14:])
            records: Any = [SimpleNamespace(value=USER_EVENTS.codec.encode(each)) for each in events[start : start + 3]]
            yield Chunk(0, records, start + 3, 24)

    rebuild = RebuildProjections([USER_EVENTS], read, RedisProjections(client))
    assert not await live.complete()
    await rebuild.rebuild()
    assert rebuild.complete
    assert (
        differences(
            await index_of(client), await skills_of(client), [each for each in updates if isinstance(each, FeedUpdate)]
        )
        == ""
    )
    reads = RedisReads(client)
    assert (await whole(reads, "rust"))[:6] == [f"u{n:02}" for n in range(10, -1, -2)]


async def test_in_a_ranking_is_nobody_who_was_not_to_be_shown_when_it_was_made(client: Client) -> None:
    people = [person(f"u{n}", "python", at=NOW - n) for n in range(5)]
    barred = [HideUser("u1", True, 512), UnlistUser("u2", 512), relation(READER, "u3", "rejected", 512)]
    reads = await complete(client, [*people, *barred, person(READER, "python")])
    assert await whole(reads, "python") == ["u0", "u4"]
    assert await client.hvals(keys.rankings(READER)) == ["u0\nu4"]


async def test_the_newest_ranking_is_the_newest_whatever_the_clock_says(client: Client) -> None:
    reads = await complete(client, [person(f"u{n}", "python", at=NOW - n) for n in range(9)])
    ahead = {"9000000000000": "u7", "9000000000001": "u8", "9000000000002": "u8"}
    await client.hset(keys.rankings(READER), mapping=ahead)
    page = await first(reads, 2, "python")
    assert (await following(reads, page, 2)).items == ("u2", "u3")
    assert sorted(await client.hkeys(keys.rankings(READER))) == ["9000000000001", "9000000000002", "9000000000003"]
