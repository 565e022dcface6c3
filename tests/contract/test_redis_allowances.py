"""Quotas in Redis, alone and as a cluster: exact with whoever takes at once, no longer kept than they last, never off.

Its clock is Redis' own, so windows that have to end are a second long, and what is waited for is that they did.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from devconnect.adapters.local.allowances import LocalAllowances
from devconnect.adapters.redis import keys
from devconnect.adapters.redis.allowances import RedisAllowances, read_allowance, taking_command
from devconnect.adapters.redis.calls import Client, run
from devconnect.adapters.redis.connect import close, connect
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.domain.allowances import FREE, STRANGERS, TIERS, Allowance, Policies, Quota, Rule, exact, leased
from devconnect.domain.projections import PutUser
from devconnect.ports.allowances import Taking
from devconnect.ports.clock import SystemClock
from devconnect.ports.metrics import NoMetrics
from devconnect.ports.truth import UnavailableError
from tests.contract.redis_fixtures import Server, client, own_server, servers
from tests.contract.redis_samples import signed_up
from web.device_tokens import DeviceTokens
from web.fallback import FallbackAllowances
from web.leases import Leases, UsedUpError
from web.limits import Limits
from web.problems import ProblemError
from web.reads import Breaker
from web.throttle import Throttle

__all__ = ["client", "own_server", "servers"]

KEY = "k" * 32


def taking(rule: Rule, id: str = "", subject: str = "ada") -> Taking:
    return Taking(subject=subject, rules=(rule,), id=id)


@pytest.fixture
async def three(
    client: Client, servers: dict[str, Server], request: pytest.FixtureRequest
) -> AsyncIterator[list[Client]]:
    """Three more clients of the server that `client` is of."""
    url = servers[request.node.callspec.params["client"]].url
    found = [connect(url, socket_timeout=5.0) for _ in range(3)]
    yield found
    for each in found:
        await close(each)


async def test_whoever_takes_at_once_the_quota_is_given_out_and_no_more(three: list[Client]) -> None:
    rule, stores = exact("messages", Quota(20, 60)), [RedisAllowances(each) for each in three]
    tries = [stores[n % 3].take([taking(rule, f"command {n}")]) for n in range(120)]
    found = [allowance for [allowance] in await asyncio.gather(*tries)]
    assert sum(each.granted for each in found) == 20
    assert sorted(each.remaining for each in found if each.granted) == list(range(20))
    assert all(0 < each.wait_ms <= 60_000 for each in found)


async def test_a_command_is_counted_once_however_often_it_comes(three: list[Client]) -> None:
    rule, stores = exact("requests", Quota(10, 86_400)), [RedisAllowances(each) for each in three]
    tries = [stores[n % 3].take([taking(rule, f"command {n % 10}")]) for n in range(60)]
    found = [allowance for [allowance] in await asyncio.gather(*tries)]
    assert [each.granted for each in found] == [1] * 60
    assert sum(not each.repeated for each in found) == 10
    [refused], [again] = await stores[0].take([taking(rule, "new")]), await stores[0].take([taking(rule, "command 3")])
    assert (refused.granted, refused.remaining) == (0, 0)
    assert (again.granted, again.repeated) == (1, True)


async def test_blocks_of_all_gateways_are_the_quota_to_the_last_one(three: list[Client]) -> None:
    rule, stores = leased("reads", Quota(605, 60)), [RedisAllowances(each) for each in three]
    found = [
        allowance for [allowance] in await asyncio.gather(*(stores[n % 3].take([taking(rule)]) for n in range(60)))
    ]
    assert sum(each.granted for each in found) == 605
    assert sorted(each.granted for each in found if each.granted) == [5] + [30] * 20
    assert {each.remaining for each in found if not each.granted} == {0}


async def test_reads_over_three_gateways_are_the_quota_and_what_one_has_leased_is_its_own(three: list[Client]) -> None:
    rule = leased("reads", Quota(100, 60))
    gateways = [Leases(RedisAllowances(each)) for each in three]

    async def read(leases: Leases) -> bool:
        try:
            await leases.refill(rule, "ada")
        except UsedUpError:
            return False
        return True

    found = await asyncio.gather(*(read(gateways[n % 3]) for n in range(400)))
    assert sum(found) == 100


@pytest.mark.parametrize("seed", range(3))
async def test_redis_and_the_process_come_to_the_same(client: Client, seed: int) -> None:
    """The stand-in is held against the real thing: whatever is taken, given back and cleared, in any order."""
    choice = random.Random(seed)
    stores = RedisAllowances(client), LocalAllowances()
    rules = [exact("m", Quota(4, 3600)), exact("m", Quota(7, 3600)), Rule(kind="r", quota=Quota(9, 3600), block=2)]
    for _ in range(150):
        takings = [
            taking(choice.choice(rules), choice.choice("abcdefghij"), choice.choice(("ada", "bob")))
            for _ in range(choice.randint(1, 4))
        ]
        what = choice.random()
        if what < 0.8:
            found, expected = [await store.take(takings) for store in stores]
            assert [_told(each) for each in found] == [_told(each) for each in expected]
            assert all(abs(a.wait_ms - b.wait_ms) < 600_000 for a, b in zip(found, expected, strict=True))
        else:
            back, clear = (takings, []) if what < 0.95 else ([], takings)
            for store in stores:
                await store.give_back(back, clear=clear)


def _told(allowance: Allowance) -> tuple[Rule, int, int, bool]:
    return allowance.rule, allowance.granted, allowance.remaining, allowance.repeated


async def test_a_sliding_window_lets_go_one_by_one(client: Client) -> None:
    """As seen from outside, from before the one until after the third one behind it, a window has passed."""
    store, rule = RedisAllowances(client), exact("messages", Quota(3, 1))
    asked: list[float] = []
    deadline = time.monotonic() + 20
    while len(asked) < 10:
        assert time.monotonic() < deadline
        before = time.monotonic()
        [found] = await store.take([taking(rule, f"at {before}")])
        assert 0 < found.wait_ms <= 1000
        if not found.granted:
            await asyncio.sleep(found.wait_ms / 4000)
            continue
        # Redis counts whole milliseconds.
        assert len(asked) < 3 or time.monotonic() - asked[-3] >= 0.998
        asked.append(before)


async def test_a_window_of_blocks_ends_and_begins_with_its_next_use(client: Client) -> None:
    store, rule = RedisAllowances(client), Rule(kind="reads", quota=Quota(2, 1), block=2)
    [first], [second] = await store.take([taking(rule)]), await store.take([taking(rule)])
    assert (first.granted, second.granted) == (2, 0)
    deadline = time.monotonic() + 20
    while not (await store.take([taking(rule)]))[0].granted:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_no_key_stays_longer_than_its_window(client: Client) -> None:
    store: Any = RedisAllowances(client)
    throttle = Throttle(KEY, store, DeviceTokens(KEY, SystemClock()), NoMetrics())
    kinds = [(FREE.rule(kind), "ada") for kind in ("requests", "messages", "writes", "reads")]
    await store.take([taking(rule, "command", subject) for rule, subject in kinds])
    await store.take([taking(leased("strangers", STRANGERS), subject="2001:db8::/64")])
    for _ in range(12):
        try:
            await throttle.attempt("log_in", "ada@example.org", "192.0.2.1")
        except ProblemError:
            continue
    await store.give_back([taking(leased("strangers", STRANGERS), subject="nobody")])
    names: Any = await client.keys("*")
    assert len(names) == 8
    for name in names:
        [left] = await run(client, [("PTTL", name)])
        assert 0 < left <= 86_400_000, name
        assert ":limit:" in name
        assert "example" not in name
    [requests] = await run(client, [("PTTL", keys.limit("ada", "requests"))])
    assert requests > 86_390_000


async def test_a_taking_travels_with_the_session_check_and_goes_by_the_tier_that_redis_knows(client: Client) -> None:
    gold = [PutUser("midas", 512, {"tier": "gold"})]
    await RedisProjections(client).apply([*signed_up("ada"), *signed_up("midas"), *gold])
    policies = Policies()
    for kind, amounts in (("messages", (20, 300, 20)), ("requests", (10, 1200, 10)), ("reads", (600, 12_000, 600))):
        for user, amount in zip(("ada", "midas", "nobody"), amounts, strict=True):
            rules = tuple(policies.of(tier).rule(kind) for tier in TIERS)
            asked = Taking(subject=user, rules=rules, id="command")
            name, answer, session = await run(
                client, [("HGET", keys.user(user), "tier"), taking_command(asked), ("HGETALL", keys.session("s"))]
            )
            assert (name, session) == ({"ada": "free", "midas": "gold", "nobody": None}[user], {})
            found = read_allowance(asked, answer)
            assert found.rule is rules[TIERS.index(name or "free")]
            assert (found.rule.quota.amount, found.granted + found.remaining) == (amount, amount)


async def test_a_risen_tier_has_what_it_hasnt_used_and_a_fallen_one_nothing(client: Client) -> None:
    store = RedisAllowances(client)
    for low, high in (
        (exact("m", Quota(2, 60)), exact("m", Quota(5, 60))),
        (leased("r", Quota(2, 60)), leased("r", Quota(5, 60))),
    ):
        found = [
            (await store.take([taking(rule, str(n))]))[0] for n, rule in enumerate((low, low, low, *[high] * 4, low))
        ]
        assert [each.granted for each in found] == [1, 1, 0, 1, 1, 1, 0, 0]
        assert [each.remaining for each in found] == [1, 0, 0, 2, 1, 0, 0, 0]


async def test_what_is_given_back_is_there_again(client: Client) -> None:
    store, one, block = RedisAllowances(client), exact("m", Quota(1, 60)), leased("r", Quota(1, 60))
    await store.take([taking(one, "a"), taking(block)])
    await store.give_back([taking(one, "a"), taking(block)])
    await store.give_back([taking(one, "a"), taking(block)])
    found = await store.take([taking(one, "b"), taking(block), taking(one, "c"), taking(block)])
    assert [each.granted for each in found] == [1, 1, 0, 0]
    await store.give_back([], clear=[taking(one), taking(block)])
    assert [each.granted for each in await store.take([taking(one, "c"), taking(block)])] == [1, 1]


async def test_lost_scripts_are_loaded_again_and_grant_no_more_for_it(client: Client) -> None:
    store, one, block = RedisAllowances(client), exact("m", Quota(20, 60)), leased("r", Quota(20, 60))
    granted = 0
    for n in range(30):
        await client.script_flush()
        found = await store.take([taking(one, str(n)), taking(block)])
        granted += found[1].granted
        assert found[0].granted == (n < 20)
    assert granted <= 20


async def test_many_attempts_at_once_are_ten_and_the_throttle_is_one_for_all_gateways(three: list[Client]) -> None:
    devices = DeviceTokens(KEY, SystemClock())
    gateways = [Throttle(KEY, RedisAllowances(each), devices, NoMetrics()) for each in three]
    tries = [gateways[n % 3].attempt("log_in", "ada@example.org", "192.0.2.1") for n in range(60)]
    found = await asyncio.gather(*tries, return_exceptions=True)
    made = [each for each in found if not isinstance(each, BaseException)]
    assert 1 <= len(made) <= 10
    # Those that were refused hold nothing of the network's: it has room for all that are left of fifty.
    others = [gateways[0].attempt("log_in", f"{n}@example.org", "192.0.2.1") for n in range(60)]
    told = await asyncio.gather(*others, return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in told) <= 50 - len(made)
    for attempt in made:
        await gateways[1].succeeded(attempt)
    token = devices.make("ada@example.org")
    await gateways[2].attempt("log_in", "ada@example.org", "192.0.2.1", token)


async def test_a_redis_that_is_killed_leaves_the_same_limits_in_each_process_until_it_is_back(
    own_server: Server,
) -> None:
    client, metrics = connect(own_server.url), NoMetrics()
    shared = RedisAllowances(client)
    limits = Limits(Policies(), FallbackAllowances(shared, LocalAllowances(), Breaker(SystemClock()), metrics), metrics)
    assert (await limits.take("messages", "free", "ada", "before")).remaining == 19
    await limits.reads("free", "ada")
    own_server.kill()
    with pytest.raises(UnavailableError):
        await shared.take([taking(FREE.rule("messages"), "x")])
    # What was leased is still good, and the rest is counted here.
    assert limits.read("free", "ada") is not None
    for n in range(20):
        assert (await limits.take("messages", "free", "ada", str(n))).granted
    with pytest.raises(ProblemError, match="rate_limited"):
        await limits.take("messages", "free", "ada", "one too many")
    for _ in range(50):
        await limits.reads("free", "bob")
    own_server.start()
    found, deadline = None, time.monotonic() + 20
    while found is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
        with suppress(ProblemError):
            found = await limits.take("messages", "free", "ada", "after")
    # There it is counted on from what was counted before.
    assert found.remaining == 18
    await close(client)
