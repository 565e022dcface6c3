"""Who has sockets is online, whatever dies, hangs, is wiped or comes back; and nobody who stays is told of as gone."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from redis import Redis as SyncRedis
from redis.asyncio.cluster import RedisCluster

from devconnect.adapters.redis import keys, lua_presence as lua, roster as module
from devconnect.adapters.redis.calls import Client, run, run_all
from devconnect.adapters.redis.connect import close, connect, connect_channels, connect_fast
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.adapters.redis.roster import Roster
from devconnect.domain import presence as domain
from devconnect.domain.presence import SOCKETS_MS, Standing
from devconnect.domain.projections import DelUser, SetAudience, SetPresence
from devconnect.ports.roster import Gone
from devconnect.ports.truth import UnavailableError
from tests.contract.redis_fixtures import Server, Wire as Proxy, client, own_server, servers
from tests.contract.roster_process import Child
from tests.contract.test_redis_projections import matches
from tests.fakes import MemoryMetrics
from tests.waiting import until

__all__ = ["client", "own_server", "servers"]

#: Seconds: short, so that tests needn't wait; everything else follows from it.
LEASE = 1.0
#: The shortest that may be set.
SHORTEST = 3.0
#: Longer where connecting again, or saying thousands, has to be done within it.
STORM = 5.0
USERS = [f"{n:032x}" for n in range(5_000)]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def online(client: Client, users: Sequence[str]) -> list[str]:
    """Those of them who are here."""
    found = await RedisReads(client).presence(users, now_ms())
    return [each.user for each in found if each.online]


async def eventually(client: Client, users: Sequence[str], expected: Sequence[str]) -> None:
    """Wait until exactly these are here."""

    async def are_here() -> bool:
        return await online(client, users) == list(expected)

    await until(are_here, f"{len(expected)} of {len(users)} here")


class Rosters(AsyncExitStack):
    """Gateways of a test, each on its own client; and what they were told of who went."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[Gone] = []
        self.metrics = MemoryMetrics()

    async def open(self, url: str, *, lease: float = LEASE) -> Roster:
        own = connect_fast(url)
        self.push_async_callback(close, own)
        roster = Roster(own, lease=lease, went=self.gone.extend, metrics=self.metrics)
        self.push_async_callback(roster.stop)
        await roster.start()
        return roster


@pytest.fixture
async def rosters() -> AsyncIterator[Rosters]:
    async with Rosters() as found:
        yield found


@asynccontextmanager
async def listening(url: str, users: Sequence[str]) -> AsyncIterator[list[tuple[str, str]]]:
    """What is published of these people, as (user, hint)."""
    heard: list[tuple[str, str]] = []
    names = {keys.watched(user): user for user in users}
    channels = connect_channels(url)
    await channels.start()
    assert await channels.subscribe(list(names), lambda name, data: heard.append((names[name], data.decode())))
    try:
        yield heard
    finally:
        await channels.stop()


@pytest.fixture(params=["alone", "cluster"])
def server(request: pytest.FixtureRequest, servers: dict[str, Server]) -> Server:
    with SyncRedis(port=servers[request.param].port) as redis:
        redis.flushall()
    return servers[request.param]


@pytest.fixture
async def asking(server: Server) -> AsyncIterator[Client]:
    found = connect(server.url, socket_timeout=5.0)
    yield found
    await close(found)


async def test_a_person_is_here_while_any_gateway_has_a_socket_of_theirs(
    server: Server, asking: Client, rosters: Rosters
) -> None:
    one, other = await rosters.open(server.url), await rosters.open(server.url)
    async with listening(server.url, ["ada"]) as heard:
        assert await one.join("ada")
        assert await other.join("ada")
        assert await one.leave("ada")
        assert await online(asking, ["ada", "bob"]) == ["ada"]
        before = now_ms()
        assert await other.leave("ada")
        [ada] = await RedisReads(asking).presence(["ada"], now_ms() + 1000)
        assert not ada.online
        assert before - 50 <= ada.last_seen <= now_ms() + 50
        await until(lambda: len(heard) >= 2)
        assert heard[0][1].startswith("1:")
        assert heard[1:] == [("ada", f"0:{ada.last_seen}")]
        # Once, and not when it was only one of two.
        assert rosters.gone == [Gone("ada", ada.last_seen)]


async def test_devices_that_say_so_over_http_and_sockets_count_together(
    server: Server, asking: Client, rosters: Rosters
) -> None:
    roster, projections = await rosters.open(server.url), RedisProjections(asking)
    now = now_ms()
    async with listening(server.url, ["ada"]) as heard:
        await projections.apply([SetPresence("ada", "phone", now + 60_000, now, 512)])
        await roster.join("ada")
        await projections.apply([SetPresence("ada", "phone", 0, now + 1, 768)])
        assert await online(asking, ["ada"]) == ["ada"]
        await projections.apply([SetPresence("ada", "phone", now + 60_000, now + 2, 1024)])
        await roster.leave("ada")
        assert await online(asking, ["ada"]) == ["ada"]
        await projections.apply([SetPresence("ada", "phone", 0, now + 3, 1280)])
        assert await online(asking, ["ada"]) == []
        await until(lambda: len(heard) >= 2)
        assert [hint[0] for _, hint in heard] == ["1", "0"]
        assert rosters.gone == []


async def test_a_device_whose_lease_ran_out_unsaid_is_back_as_one_who_comes(
    server: Server, asking: Client, rosters: Rosters
) -> None:
    roster, now = await rosters.open(server.url), now_ms()
    await RedisProjections(asking).apply([SetPresence("ada", "phone", now - 5, now - 60_005, 512)])
    async with listening(server.url, ["ada"]) as heard:
        await roster.join("ada")
        await roster.leave("ada")
        await until(lambda: len(heard) == 2)
        assert [hint[0] for _, hint in heard] == ["1", "0"]


async def test_comings_and_goings_of_a_turn_are_one_round_trip_and_what_cancels_out_is_none(
    server: Server, asking: Client, rosters: Rosters
) -> None:
    roster = await rosters.open(server.url)
    async with listening(server.url, USERS[:200]) as heard:
        calls = [roster.join(user) for user in USERS[:200]]
        calls += [roster.leave(user) for user in USERS[:100]]
        assert all(await asyncio.gather(*calls))
        assert await online(asking, USERS[:200]) == USERS[100:200]
        await until(lambda: len(heard) >= 100)
        assert {hint[0] for _, hint in heard} == {"1"}
        assert {user for user, _ in heard} == set(USERS[100:200])
    assert len(roster) == 100


async def test_whoever_closes_their_account_is_gone_and_stays_so(
    server: Server, asking: Client, rosters: Rosters
) -> None:
    roster = await rosters.open(server.url)
    await roster.join("ada")
    async with listening(server.url, ["ada"]) as heard:
        await RedisProjections(asking).apply([DelUser("ada", 512, {"deleted": "1"})])
        assert await online(asking, ["ada"]) == []
        await roster.join("ada")
        assert await online(asking, ["ada"]) == []
        await roster.leave("ada")
        found = await run(asking, [("EXISTS", keys.online("ada")), ("EXISTS", keys.gateways("ada"))])
        assert found == [0, 0]
        # Who watches is to look, and finds nobody.
        await until(lambda: heard == [("ada", "?")])


async def test_the_audience_is_kept_through_comings_and_goings_and_a_change_of_it_is_told(
    server: Server, asking: Client, rosters: Rosters
) -> None:
    roster, projections = await rosters.open(server.url), RedisProjections(asking)
    await projections.apply([SetAudience("ada", "nobody", 256)])
    assert await run(asking, [("EXISTS", keys.online("ada"))]) == [0]
    await roster.join("ada")
    assert not (await RedisReads(asking).presence(["ada"], now_ms(), "bob"))[0].online
    async with listening(server.url, ["ada"]) as heard:
        await projections.apply([SetAudience("ada", "everybody", 512), SetAudience("ada", "nobody", 512)])
        assert (await RedisReads(asking).presence(["ada"], now_ms(), "bob"))[0].online
        await projections.apply([SetAudience("ada", "everybody", 768)])
        await until(lambda: len(heard) >= 1)
        assert heard == [("ada", "?")]


SAMPLES = st.lists(
    st.tuples(st.sampled_from(["join", "leave"]), st.sampled_from("xyz"), st.integers(-5_000, 5_000)), max_size=12
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=SAMPLES)
async def test_the_scripts_do_what_the_domain_says(client: Client, steps: list[tuple[str, str, int]]) -> None:
    await client.flushall()
    person = Standing()
    for what, gateway, ahead in steps:
        own, channel, now = keys.here("ada"), keys.watched("ada"), now_ms()
        if what == "join":
            person = domain.joined(person, gateway, now)
            await run(client, [lua.JOIN(own, gateway, SOCKETS_MS, channel)])
        else:
            after = domain.left(person, gateway, now + ahead, now)
            [seen] = await run(client, [lua.LEAVE(own, gateway, now + ahead, channel)])
            assert (seen is not None) == (domain.change(person, after, now) is False)
            assert seen is None or abs(int(seen) - after.seen) < 500
            person = after
    [read] = await RedisReads(client).presence(["ada"], now_ms())
    assert read.online == domain.is_online(person.leases, now_ms())
    assert abs(read.last_seen - domain.last_seen(person.leases, person.seen, now_ms())) < 500


async def test_every_key_is_on_the_page(server: Server, asking: Client, rosters: Rosters) -> None:
    roster = await rosters.open(server.url)
    await roster.join("ada")
    found: list[str] = await run(asking, [("KEYS", "*")]) if not isinstance(asking, RedisCluster) else [[]]
    names = found[0] or [keys.GATEWAYS, keys.sockets(roster.gateway), *keys.here("ada")[:3]]
    assert set(names) == {keys.GATEWAYS, keys.sockets(roster.gateway), *keys.here("ada")[:3]}
    for name in names:
        [row] = [row for row in keys.LAYOUT if row.type != "channel" and matches(row.name, name)]
        [[kind], [ttl]] = [await run(asking, [(verb, name)]) for verb in ("TYPE", "PTTL")]
        assert kind == row.type, name
        assert (ttl > 0) == (row.ttl != "-"), name


# -- gateways that die


async def test_those_of_a_killed_gateway_go_when_its_lease_is_over_and_not_before(
    own_server: Server, rosters: Rosters
) -> None:
    asking = connect(own_server.url)
    for _ in range(2):
        await rosters.open(own_server.url, lease=SHORTEST)
    async with listening(own_server.url, USERS[:600]) as heard:
        async with Child(own_server.url, SHORTEST, USERS[:600]) as child:
            await eventually(asking, USERS[:600], USERS[:600])
            [score] = await run(asking, [("ZSCORE", keys.GATEWAYS, child.gateway)])
            child.kill()
            killed, killed_at = time.monotonic(), now_ms()
            while now_ms() < float(score) - 50:
                assert len(await online(asking, USERS[:600])) == 600
                await asyncio.sleep(0.02)
            await eventually(asking, USERS[:600], [])
            # In proportion: 15 s of a lease of 10 s.
            assert time.monotonic() - killed < SHORTEST * 1.5
        found = await RedisReads(asking).presence(USERS[:600], now_ms())
        # About when it died, and not when that was found out.
        assert all(killed_at - SHORTEST * 200 < each.last_seen <= killed_at + 50 for each in found)
        await until(lambda: len(heard) >= 1200)
        assert [hint[0] for _, hint in heard].count("0") == 600
        assert sorted(gone.user for gone in rosters.gone) == USERS[:600]
        left = [("EXISTS", keys.sockets(child.gateway)), ("ZSCORE", keys.GATEWAYS, child.gateway)]

        async def nothing_is_left() -> bool:
            return await run(asking, left) == [0, None]

        await until(nothing_is_left)
    await close(asking)


async def test_five_thousand_who_move_from_a_killed_gateway_to_another_are_told_of_to_nobody(
    own_server: Server, rosters: Rosters
) -> None:
    asking = connect(own_server.url)
    other = await rosters.open(own_server.url, lease=STORM)
    async with Child(own_server.url, STORM, USERS) as child:
        await eventually(asking, USERS[:100], USERS[:100])
        async with listening(own_server.url, USERS) as heard:
            child.kill()
            assert all(await asyncio.gather(*map(other.join, USERS)))
            await until(lambda: rosters.metrics.counts["gateways_swept",] >= 1)
            assert len(await online(asking, USERS)) == 5_000
            assert rosters.metrics.counts["gateway_users_swept",] == 5_000
            assert heard == []
            assert rosters.gone == []
    await close(asking)


async def test_a_gateway_that_hung_has_its_people_back_when_it_comes_to(own_server: Server, rosters: Rosters) -> None:
    asking = connect(own_server.url)
    await rosters.open(own_server.url)
    async with Child(own_server.url, LEASE, USERS[:300]) as child:
        await eventually(asking, USERS[:300], USERS[:300])
        child.stop()
        await eventually(asking, USERS[:300], [])
        child.go_on()
        await eventually(asking, USERS[:300], USERS[:300])
        # And they stay, under an id that nobody takes for dead.
        assert await run(asking, [("EXISTS", keys.sockets(child.gateway))]) == [0]
        await asyncio.sleep(1.5 * LEASE)
        assert await online(asking, USERS[:300]) == USERS[:300]
    await close(asking)


async def test_nobody_is_taken_away_while_a_gateway_that_comes_to_says_its_people_again(
    own_server: Server, rosters: Rosters, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = connect(own_server.url)
    roster = await rosters.open(own_server.url)
    await asyncio.gather(*map(roster.join, USERS[:300]))

    async def not_yet(_: Sequence[str]) -> None:
        raise UnavailableError("it takes its time")

    with monkeypatch.context() as patch:
        patch.setattr(roster, "_say_chunk", not_yet)
        old = roster.gateway
        await run(asking, [("ZADD", keys.GATEWAYS, 1, old)])
        await until(lambda: roster.gateway != old)
        async with listening(own_server.url, USERS[:300]) as heard:
            await rosters.open(own_server.url)
            await asyncio.sleep(2 * LEASE)
            assert heard == []
            patch.undo()
            await until(lambda: rosters.metrics.counts["gateways_swept",] >= 1)
            assert heard == []
    assert await online(asking, USERS[:300]) == USERS[:300]
    await close(asking)


async def test_a_gateway_that_stops_leaves_its_lease_to_run_out(own_server: Server, rosters: Rosters) -> None:
    asking = connect(own_server.url)
    one, other = await rosters.open(own_server.url), await rosters.open(own_server.url)
    async with listening(own_server.url, ["ada", "bob"]) as heard:
        await asyncio.gather(one.join("ada"), one.join("bob"))
        await until(lambda: len(heard) == 2)
        await one.stop()
        # Its sockets close with it, which means nothing any more.
        assert not await one.leave("ada")
        assert await online(asking, ["ada", "bob"]) == ["ada", "bob"]
        await other.join("ada")
        await eventually(asking, ["ada", "bob"], ["ada"])
        assert [user for user, _ in heard[2:]] == ["bob"]
    await close(asking)


async def test_any_number_of_sweepers_tell_of_each_once(own_server: Server, rosters: Rosters) -> None:
    asking = connect(own_server.url)
    for _ in range(5):
        await rosters.open(own_server.url)
    async with Child(own_server.url, LEASE, USERS[:1000]) as child, listening(own_server.url, USERS[:1000]) as heard:
        child.kill()
        await until(lambda: len(rosters.gone) >= 1000)
        await asyncio.sleep(0.3)
        assert sorted(gone.user for gone in rosters.gone) == USERS[:1000]
        assert len(heard) == 1000
    await close(asking)


async def test_a_sweeper_that_fails_in_the_middle_leaves_the_rest_to_the_next(
    own_server: Server, rosters: Rosters
) -> None:
    asking = connect(own_server.url)
    async with Child(own_server.url, LEASE, USERS[:900]) as child:
        child.kill()
        # Half done, and the set not yet: as a sweeper leaves it that was killed between two round trips.
        leaves: list[Any] = [lua.LEAVE(keys.here(u), child.gateway, "", keys.watched(u)) for u in USERS[:450]]
        await run_all(asking, [*leaves, ("SREM", keys.sockets(child.gateway), *USERS[:200])])
        await rosters.open(own_server.url)
        await eventually(asking, USERS[:900], [])
        await until(lambda: sorted(gone.user for gone in rosters.gone) == USERS[450:900])
    await close(asking)


# -- a Redis that dies, forgets or goes back


async def test_a_wiped_redis_has_everybody_again_at_the_next_renewal(own_server: Server, rosters: Rosters) -> None:
    asking = connect(own_server.url)
    one, other = await rosters.open(own_server.url), await rosters.open(own_server.url)
    await asyncio.gather(*map(one.join, USERS[:500]), *map(other.join, USERS[400:900]))
    await run(asking, [("FLUSHALL",)])
    await eventually(asking, USERS[:900], USERS[:900])
    await asyncio.gather(*map(other.leave, USERS[400:900]))
    assert await online(asking, USERS[:900]) == USERS[:500]
    await close(asking)


async def test_a_redis_that_was_killed_and_is_back_with_its_data_tells_of_nobody(
    own_server: Server, rosters: Rosters
) -> None:
    asking = connect(own_server.url)
    for part in (USERS[:400], USERS[400:800]):
        await asyncio.gather(*map((await rosters.open(own_server.url, lease=STORM)).join, part))
    own_server.kill()
    # For longer than every lease: whoever is back first mustn't take the others for dead.
    await asyncio.sleep(1.2 * STORM)
    own_server.start()
    async with listening(own_server.url, USERS[:800]) as heard:
        await until(lambda: rosters.metrics.counts["gateways_swept",] >= 2)
        assert await online(asking, USERS[:800]) == USERS[:800]
        assert heard == []
        assert rosters.gone == []
    await close(asking)


async def test_a_redis_that_is_back_as_it_was_some_time_ago_is_put_right(own_server: Server, rosters: Rosters) -> None:
    """The lease is there, and the number of people is right; it is who they are that isn't."""
    asking = connect(own_server.url)
    roster = await rosters.open(own_server.url, lease=10)
    await asyncio.gather(roster.join("ada"), roster.join("bob"))
    kept = shutil.copytree(own_server.folder / "appendonlydir", own_server.folder / "kept")
    await roster.leave("bob")
    await roster.join("cyd")
    own_server.kill()
    shutil.rmtree(own_server.folder / "appendonlydir")
    kept.rename(own_server.folder / "appendonlydir")
    own_server.start()
    await until(lambda: rosters.metrics.counts["gateway_lease_lapses", "restarted"] >= 1)
    await eventually(asking, ["ada", "bob", "cyd"], ["ada", "cyd"])
    await close(asking)


async def test_people_who_are_lost_alone_are_missed_by_their_number(own_server: Server, rosters: Rosters) -> None:
    asking = connect(own_server.url)
    roster = await rosters.open(own_server.url)
    await asyncio.gather(*map(roster.join, USERS[:100]))
    await run(asking, [("SREM", keys.sockets(roster.gateway), USERS[7])])
    await until(lambda: rosters.metrics.counts["gateway_lease_lapses", "differs"] >= 1)
    await eventually(asking, USERS[:100], USERS[:100])
    await close(asking)


async def test_people_who_are_lost_unseen_are_said_again_in_time(
    own_server: Server, rosters: Rosters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONFIRM", 1.0)
    asking = connect(own_server.url)
    roster = await rosters.open(own_server.url)
    await asyncio.gather(*map(roster.join, USERS[:100]))
    await run_all(asking, [("DEL", keys.gateways(user), keys.online(user)) for user in USERS[:100]])
    async with listening(own_server.url, USERS[:100]) as heard:
        await eventually(asking, USERS[:100], USERS[:100])
        await asyncio.sleep(1.5)
        assert len(heard) <= 100
    assert not rosters.metrics.counts["gateway_lease_lapses", "differs"]
    await close(asking)


async def test_what_nobody_says_again_ends_by_itself(client: Client) -> None:
    """In a cluster a node may forget a gateway whose people another has."""
    await run(client, [lua.JOIN(keys.here("ada"), "forgotten", 1_500, keys.watched("ada"))])
    assert await online(client, ["ada"]) == ["ada"]
    await eventually(client, ["ada"], [])
    assert await run(client, [("EXISTS", keys.gateways("ada"))]) == [0]


async def test_what_is_said_while_redis_is_away_is_in_it_when_it_is_back(own_server: Server, rosters: Rosters) -> None:
    asking = connect(own_server.url)
    async with Proxy(own_server.url) as proxy:
        roster = await rosters.open(proxy.url)
        await roster.join("ada")
        for break_it in (proxy.hold, proxy.hold_answers):
            break_it()
            began = time.monotonic()
            assert not await roster.join("bob")
            assert not await roster.leave("ada")
            assert time.monotonic() - began < 10
            proxy.cut()
            proxy.let_go()
            await eventually(asking, ["ada", "bob"], ["bob"])
            assert await roster.join("ada")
            assert await roster.leave("bob")
            assert await online(asking, ["ada", "bob"]) == ["ada"]
    await close(asking)


async def test_a_roster_that_starts_without_redis_is_in_it_as_soon_as_there_is_one(
    own_server: Server, rosters: Rosters
) -> None:
    own_server.kill()
    roster = await rosters.open(own_server.url)
    assert not await roster.join("ada")
    own_server.start()
    asking = connect(own_server.url)
    await eventually(asking, ["ada"], ["ada"])
    await close(asking)
