"""What is remembered of Redis is current, or isn't given: whatever changes, whatever is lost, whoever stands still."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis as SyncRedis

from devconnect.adapters.redis import keys, near
from devconnect.adapters.redis.calls import Client, run
from devconnect.adapters.redis.connect import close, connect, connect_fast
from devconnect.adapters.redis.near import BEAT, BELIEVED, NearCache
from devconnect.adapters.redis.near_reads import NearReads, reads_on
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.adapters.redis.wire import Wire
from devconnect.domain.projections import EndSession, PutUser, Update
from devconnect.ports.truth import UnavailableError
from devconnect.stack.ports import LOOPBACK
from tests.contract.redis_fixtures import Server, Wire as Proxy, own_server, servers
from tests.contract.redis_samples import FAR, session, signed_up
from tests.contract.test_redis_outage import timed
from tests.contract.test_redis_wire import until_back
from tests.fakes import MemoryMetrics
from tests.waiting import until

__all__ = ["own_server", "servers"]


class Near:
    """The near-cache of a gateway, and somebody else who writes."""

    def __init__(self, url: str, writer: str, **more: Any) -> None:
        self.metrics = MemoryMetrics()
        self.wire = Wire(url, **more)
        #: Up to when the read models hold what has happened to anybody.
        self.caught_up = float("inf")
        self.reads = NearReads(self.wire, metrics=self.metrics, caught_up=lambda user, since: self.caught_up >= since)
        self.writer: Client = connect(writer, socket_timeout=5.0)

    async def write(self, *updates: Update) -> None:
        await RedisProjections(self.writer).apply(updates)

    async def heard(self) -> None:
        """All that had changed by now has been told."""
        await run(self.wire, [("PING",)])

    def remembered(self) -> Any:
        return self.reads.remembered("ada-1", "ada")

    async def fill(self) -> None:
        """Ada's session is at hand."""
        await run(self.writer, [("FLUSHALL",)])
        await self.write(*signed_up("ada"), session("ada-1"))
        await RedisProjections(self.writer).declare_complete()
        await until_back(self.wire)
        await self.again()

    async def again(self) -> None:
        found = await self.reads.session("ada-1", "ada")
        assert self.remembered() == found

    async def close(self) -> None:
        await close(self.wire)
        await close(self.writer)


@pytest.fixture
async def given(servers: dict[str, Server]) -> AsyncIterator[Near]:
    """At a server of all tests, with time for its answers."""
    found = Near(servers["alone"].url, servers["alone"].url, deadline=5.0)
    await found.fill()
    yield found
    await found.close()


async def test_a_session_that_was_read_is_at_hand_with_its_user(given: Near) -> None:
    view, user = given.remembered()
    assert (view.id, view.user, view.expires_at, view.ended) == ("ada-1", "ada", FAR, False)
    assert (user.id, user.tier) == ("ada", "free")
    assert given.reads.remembered("ada-2", "ada") is None
    assert given.reads.remembered("ada-1", "bob") is None
    for _ in range(10):
        assert given.remembered() is not None
    await until(lambda: given.metrics.counts["near_cache_hits",] >= 12)
    await until(lambda: given.metrics.counts["near_cache_misses",] >= 2)


async def test_it_stays_at_hand_while_nothing_is_asked(given: Near) -> None:
    # Several times as long as a proof is believed.
    for _ in range(40):
        await asyncio.sleep(BELIEVED / 10)
        if given.remembered() is None:
            # Only a machine that was too busy to beat: the next proof brings it back.
            await until(lambda: given.remembered() is not None)
    assert given.wire.generation == 1


async def test_what_has_changed_is_forgotten_and_read_anew(given: Near) -> None:
    await given.write(PutUser("ada", 768, {"tier": "gold"}))
    await given.heard()
    assert given.remembered() is None
    await given.again()
    assert given.remembered()[1].tier == "gold"
    assert given.metrics.counts["near_cache_invalidations",] == 1


async def test_a_log_out_is_heard_and_an_ended_session_is_not_remembered(given: Near) -> None:
    await given.write(EndSession("ada-1", "ada", 768))
    await given.heard()
    assert given.remembered() is None
    found, _ = await given.reads.session("ada-1", "ada")
    assert found is not None
    assert found.ended
    assert given.remembered() is None


async def test_a_log_out_over_the_same_connection_is_heard_too(given: Near) -> None:
    await RedisProjections(given.wire).apply([EndSession("ada-1", "ada", 768)])
    await given.heard()
    assert given.remembered() is None


async def test_a_server_that_was_away_is_believed_in_nothing_but_ends_until_the_read_models_have_caught_up(
    own_server: Server,
) -> None:
    """Whoever stood still has missed what happened meanwhile, and says nothing of that."""
    given = Near(own_server.url, own_server.url)
    await given.fill()
    given.caught_up = time.time_ns() // 1_000_000
    own_server.signal(signal.SIGSTOP)
    await until(lambda: given.wire.generation >= 2)
    await asyncio.sleep(BELIEVED)
    own_server.signal(signal.SIGCONT)
    await until_back(given.wire)
    await given.write(session("ada-4"), EndSession("ada-4", "ada", 768))
    assert await given.reads.session("ada-1", "ada") == (None, None)
    assert given.remembered() is None
    ended, user = await given.reads.session("ada-4", "ada")
    assert ended is not None
    assert (ended.ended, user) == (True, None)
    given.caught_up = time.time_ns() // 1_000_000
    await given.again()
    await given.close()


async def test_a_server_that_is_there_at_once_is_believed_at_once(servers: dict[str, Server]) -> None:
    given = Near(servers["alone"].url, servers["alone"].url, deadline=5.0)
    given.caught_up = 0
    await given.fill()
    assert given.remembered() is not None
    await run(given.writer, [("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")])
    await until(lambda: given.wire.generation >= 2)
    await until_back(given.wire)
    if given.wire.away <= BELIEVED:  # a machine may be too busy for that
        await given.again()
    await given.close()


async def test_one_that_was_not_there_at_the_start_was_away(own_server: Server) -> None:
    own_server.signal(signal.SIGSTOP)
    given = Near(own_server.url, own_server.url)
    given.wire.start()
    await asyncio.sleep(2 * BELIEVED)
    own_server.signal(signal.SIGCONT)
    await until_back(given.wire)
    assert given.wire.away > BELIEVED
    await given.close()


async def test_only_what_is_sure_is_remembered(given: Near) -> None:
    now = time.time_ns() // 1_000_000
    await given.write(session("ada-2", now + 300, ends_at=now + 300), session("bob-1"))
    assert (await given.reads.session("bob-1", "bob"))[1] is None  # an account that isn't known
    assert given.reads.remembered("bob-1", "bob") is None
    await given.reads.session("ada-3", "ada")
    assert given.reads.remembered("ada-3", "ada") is None
    assert (await given.reads.session("ada-2", "ada"))[0] is not None
    await until(lambda: time.time_ns() // 1_000_000 > now + 300)
    await given.heard()
    await given.reads.session("ada-2", "ada")
    assert given.reads.remembered("ada-2", "ada") is None
    # A server whose clock is behind.
    await run(given.writer, [("HSET", keys.session("ada-5"), "user", "ada", "expires_at", now, "role", "member")])
    assert (await given.reads.session("ada-5", "ada"))[0] is not None
    assert given.reads.remembered("ada-5", "ada") is None
    for spoil in (("SCRIPT", "FLUSH"), ("DEL", keys.EPOCH)):
        await given.fill()
        await given.write(session("ada-4"))
        await run(given.writer, [spoil])
        await given.heard()
        assert await given.reads.session("ada-4", "ada") == (None, None)
        assert given.reads.remembered("ada-4", "ada") is None
    assert given.remembered() is None, "without the mark that the read models are complete nothing is believed"


async def test_a_wiped_redis_has_all_forgotten(given: Near) -> None:
    await run(given.writer, [("FLUSHALL",)])
    await given.heard()
    assert given.remembered() is None


async def test_an_answer_that_reaches_its_reader_after_the_change_was_told_is_not_remembered(servers: Any) -> None:
    url = servers["alone"].url
    async with Proxy(url) as proxy:
        given = Near(proxy.url, url, deadline=5.0)
        await given.fill()
        await given.write(PutUser("ada", 768, {"tier": "silver"}))
        await given.heard()
        proxy.hold_answers()
        with SyncRedis.from_url(url) as redis:
            assert tracked(redis) == 2, "of the three names that of the account isn't"
            asked = asyncio.create_task(given.reads.session("ada-1", "ada"))
            await until(lambda: tracked(redis) == 3)
        # The answer is on its way, and behind it the change: both come in one piece.
        await given.write(PutUser("ada", 1024, {"tier": "gold"}))
        proxy.let_go()
        _, user = await asked
        assert user is not None
        assert user.tier == "silver"
        assert given.remembered() is None
        await given.again()
        assert given.remembered()[1].tier == "gold"
        await given.close()


def tracked(redis: Any) -> int:
    """How many keys there are of whose changes somebody is to be told."""
    return int(redis.info("stats")["tracking_total_keys"])


async def test_nothing_older_than_the_last_change_that_was_told_is_ever_given(given: Near) -> None:
    """Readers and a writer at random; whatever was acknowledged before an answer came is in what is remembered."""
    chance, tiers, written = random.Random(7), ("free", "silver", "gold"), 512

    async def read() -> None:
        while True:
            await given.reads.session("ada-1", "ada")
            await asyncio.sleep(chance.choice((0, 0, 0.0005)))

    readers = [asyncio.create_task(read()) for _ in range(8)]
    held = 0
    for number in range(300):
        written += 256
        await given.write(PutUser("ada", written, {"tier": tiers[number % 3]}))
        await given.heard()
        for _ in range(chance.randrange(12)):
            found = given.remembered()
            if found is not None:
                held += 1
                assert found[1].seq == written
            await asyncio.sleep(0)
        await asyncio.sleep(chance.choice((0, 0.001)))
    for reader in readers:
        reader.cancel()
    assert held > 100


async def test_where_the_connection_is_cut_nothing_is_given_from_then_on(servers: Any) -> None:
    url = servers["alone"].url
    async with Proxy(url) as proxy:
        given = Near(proxy.url, url, deadline=5.0)
        await given.fill()
        seen = list[Any]()
        lost = given.wire._lost

        def note(*found: Any) -> None:
            lost(*found)
            seen.append(given.remembered())

        given.wire._line._lost = note
        proxy.cut()
        await until(lambda: seen)
        assert seen == [None]
        await given.write(EndSession("ada-1", "ada", 768))  # what nobody was told of
        await until_back(given.wire)
        assert given.remembered() is None
        found, _ = await given.reads.session("ada-1", "ada")
        assert found is not None
        assert found.ended
        assert given.metrics.counts["near_cache_losses",] == 1
        await given.close()


async def test_where_the_server_ends_the_connection_all_is_forgotten(given: Near) -> None:
    generation = given.wire.generation
    await run(given.writer, [("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")])
    await until(lambda: given.wire.generation > generation)
    assert given.remembered() is None
    await until_back(given.wire)
    assert given.remembered() is None
    await given.again()


async def test_a_server_that_was_started_anew_knows_of_no_session(own_server: Server) -> None:
    given = Near(own_server.url, own_server.url)
    await given.fill()
    own_server.kill()
    own_server.start()
    await until_back(given.wire)
    assert await given.reads.session("ada-1", "ada") == (None, None)
    assert given.remembered() is None
    await RedisProjections(given.writer).declare_sessions_known()
    await given.again()
    await given.close()


async def test_a_server_that_hangs_is_failed_over_and_believed_no_longer_than_its_last_proof(
    own_server: Server,
) -> None:
    given = Near(own_server.url, own_server.url)
    await given.fill()
    own_server.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    outcome, seconds = await timed(given.reads.session("ada-1", "ada"))
    assert isinstance(outcome, UnavailableError)
    assert seconds < 5
    assert given.remembered() is None, "the connection is lost with the call that wasn't answered"
    own_server.signal(signal.SIGCONT)
    await until_back(given.wire)
    await given.again()
    own_server.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    # Nobody asks: it is the beat that finds out.
    while time.monotonic() < stopped + 3 * BELIEVED:
        now, found = time.monotonic(), given.remembered()
        assert found is None or now - stopped <= BELIEVED + 0.05
        await asyncio.sleep(0.01)
    assert given.remembered() is None
    own_server.signal(signal.SIGCONT)
    await given.close()


async def test_a_network_that_swallows_what_is_told_is_believed_no_longer_either(servers: Any) -> None:
    url = servers["alone"].url
    async with Proxy(url) as proxy:
        # No call is ever lost here: only the age of the last proof counts.
        given = Near(proxy.url, url, deadline=60.0)
        await given.fill()
        proxy.hold_answers()
        held = time.monotonic()
        await given.write(EndSession("ada-1", "ada", 768))
        while (now := time.monotonic()) and (found := given.remembered()) is not None:
            assert now - held <= BELIEVED, found
            await asyncio.sleep(0.01)
        assert given.wire.generation == 1
        proxy.let_go()
        await given.heard()
        assert given.remembered() is None
        await given.close()


async def test_who_stood_still_believes_nothing_until_it_has_heard_again(servers: Any, given: Near) -> None:
    await given.heard()
    assert given.remembered() is not None
    with SyncRedis(host=LOOPBACK, port=servers["alone"].port) as redis:
        redis.hset(keys.session("ada-1"), "ended", 1)
    time.sleep(BELIEVED + 0.1)  # noqa: ASYNC251  # the whole process stands still
    assert given.remembered() is None


async def test_beats_go_on_beside_other_calls_and_end_with_the_wire(given: Near, monkeypatch: Any) -> None:
    monkeypatch.setattr(near, "BEAT", BEAT / 10)
    before = given.wire.proven
    await until(lambda: given.wire.proven > before)
    await given.wire.aclose()
    assert given.remembered() is None
    assert given.reads._near._beat is None


async def test_no_more_is_remembered_than_there_is_room_for_and_what_is_used_stays(servers: Any) -> None:
    wire = Wire(servers["alone"].url)
    cache = NearCache(wire, capacity=10)
    await run(wire, [("PING",)])
    for number in range(100):
        with cache.expect([f"k{number}"]) as expected:
            assert expected.keep([number])
        if number:
            assert cache.at_hand(["k0", f"k{number}"]) == [0, number]
        assert len(cache) <= 10
    assert cache.at_hand(["k50"]) is None
    cache.invalidated(["k0"])
    assert cache.at_hand(["k0"]) is None
    await wire.aclose()


async def test_an_expectation_of_another_connection_keeps_nothing(servers: Any) -> None:
    wire = Wire(servers["alone"].url)
    cache = NearCache(wire)
    with cache.expect(["k"]) as expected:
        await run(wire, [("PING",)])
        assert not expected.keep([1])
    with cache.expect(["k", "l"]) as expected, cache.expect(["l"]) as other:
        cache.invalidated(["k"])
        assert not expected.keep([1, 2])
        assert other.keep([2])
    assert cache.at_hand(["l"]) == [2]
    with pytest.raises(RuntimeError):
        NearCache(wire)
    await wire.aclose()


async def test_other_clients_remember_nothing(servers: Any) -> None:
    for name, server in servers.items():
        client = connect_fast(server.url)
        reads = reads_on(client)
        assert isinstance(reads, NearReads) is (name == "alone")
        await close(client)
    client = connect(servers["alone"].url)
    reads = RedisReads(client)
    await reads.session("ada-1", "ada")
    assert reads.remembered("ada-1", "ada") is None
    await close(client)
