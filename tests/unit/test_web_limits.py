"""What callers are allowed and told; leases over several gateways; and that limits hold while Redis is away."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from devconnect.adapters.local.allowances import CountingWindow, LocalAllowances
from devconnect.domain.allowances import Allowance, Policies, Policy, Quota, leased
from devconnect.ports.allowances import Allowances, Taking
from devconnect.ports.truth import UnavailableError
from tests.fakes import ManualClock
from tests.unit.web_fakes import TallyMetrics
from web.fallback import FallbackAllowances
from web.leases import Leases, UsedUpError
from web.limits import Limits, headers
from web.problems import ProblemError
from web.reads import OPEN_MS, Breaker


class Time:
    """Monotonic seconds, by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store(Allowances):
    """A store that is asked, and may be down or hang, or answer when it is let."""

    def __init__(self, time: Time) -> None:
        self.counts = LocalAllowances(now=time)
        self.asked: list[Taking] = []
        self.down = self.hangs = False
        self.slow = 0.0
        self.time = time

    async def take(self, takings: Sequence[Taking]) -> list[Allowance]:
        self.asked += takings
        await asyncio.sleep(60 if self.hangs else 0)
        if self.down:
            raise UnavailableError("Redis")
        found = await self.counts.take(takings)
        self.time.now += self.slow
        return found

    async def give_back(self, takings: Sequence[Taking], *, clear: Sequence[Taking] = ()) -> None:
        await self.counts.give_back(takings, clear=clear)


def policy(**changes: Quota | None) -> Policy:
    found = {"requests": Quota(2, 86_400), "messages": Quota(3, 60), "writes": Quota(4, 60), "reads": Quota(40, 60)}
    return Policy(feed=10, **{**found, **changes})


POLICIES = Policies(
    free=policy(), silver=policy(reads=Quota(100, 60)), gold=policy(requests=None), strangers=Quota(2, 60)
)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(time: Time) -> Store:
    return Store(time)


@pytest.fixture
def metrics() -> TallyMetrics:
    return TallyMetrics()


@pytest.fixture
def limits(store: Store, time: Time, metrics: TallyMetrics) -> Limits:
    return Limits(POLICIES, store, metrics, now=time)


async def test_a_command_is_counted_by_its_id_and_the_answer_tells_what_is_left(limits: Limits, time: Time) -> None:
    first = await limits.take("messages", "free", "ada", "a")
    assert headers(first) == {"RateLimit-Policy": '"messages";q=3;w=60', "RateLimit": '"messages";r=2;t=60'}
    time.now += 10.5
    again = await limits.take("messages", "free", "ada", "a")
    assert (again.repeated, again.remaining) == (True, 2)
    assert headers(again)["RateLimit"] == '"messages";r=2;t=50'


async def test_one_too_many_is_refused_and_told_when_to_come_again(
    limits: Limits, time: Time, metrics: TallyMetrics
) -> None:
    for id in "abc":
        await limits.take("messages", "free", "ada", id)
        time.now += 1
    with pytest.raises(ProblemError) as raised:
        await limits.take("messages", "free", "ada", "d")
    assert raised.value.code == "rate_limited"
    assert raised.value.detail == "At most 3 messages a minute: try again in 57 s."
    assert raised.value.headers == {
        "RateLimit-Policy": '"messages";q=3;w=60',
        "RateLimit": '"messages";r=0;t=57',
        "Retry-After": "57",
    }
    assert metrics.counts["rate_limited", "messages"] == 1
    await limits.take("messages", "free", "bob", "d")
    await limits.take("writes", "free", "ada", "d")
    time.now += 57
    await limits.take("messages", "free", "ada", "d")


async def test_requests_without_a_quota_count_as_writes(limits: Limits) -> None:
    for id in "abcd":
        found = await limits.take("requests", "gold", "ada", id)
        assert found.rule.kind == "writes"
    with pytest.raises(ProblemError, match="rate_limited"):
        await limits.take("writes", "gold", "ada", "e")


async def test_what_came_to_nothing_is_given_back(limits: Limits) -> None:
    for id in "ab":
        await limits.take("requests", "free", "ada", id)
    await limits.give_back("requests", "free", "ada", "b")
    assert (await limits.take("requests", "free", "ada", "c")).granted


async def test_neither_repeats_nor_refusals_are_had_without_end(limits: Limits, store: Store) -> None:
    """Each costs a read, and without reads the store isn't even asked."""
    await limits.take("messages", "free", "ada", "a")
    for _ in range(40):
        await limits.take("messages", "free", "ada", "a")
    for _ in range(2):
        with pytest.raises(ProblemError) as raised:
            await limits.take("messages", "free", "ada", "a")
        asked = len(store.asked)
    assert raised.value.headers["RateLimit"].startswith('"reads";r=0')
    assert len(store.asked) == asked


async def test_reads_ask_the_store_once_a_block(limits: Limits, store: Store) -> None:
    assert limits.read("free", "ada") is None
    told = [await limits.reads("free", "ada")]
    assert told[0] == {"RateLimit-Policy": '"reads";q=40;w=60', "RateLimit": '"reads";r=39;t=60'}
    while (found := limits.read("free", "ada")) is not None:
        told.append(found)
    assert len(told) == 2
    told += [await limits.reads("free", "ada") for _ in range(38)]
    assert [each["RateLimit"] for each in told] == [f'"reads";r={39 - n};t=60' for n in range(40)]
    assert len(store.asked) == 20


async def test_reads_that_are_used_up_are_refused_without_asking(limits: Limits, store: Store, time: Time) -> None:
    for _ in range(40):
        await limits.reads("free", "ada")
    asked = len(store.asked)
    time.now += 20
    for _ in range(3):
        with pytest.raises(ProblemError) as raised:
            limits.read("free", "ada")
    assert raised.value.headers["Retry-After"] == "40"
    assert len(store.asked) == asked
    # Who has risen isn't held to what was told to them before.
    assert limits.read("silver", "ada") is None
    await limits.reads("silver", "ada")
    time.now += 40
    assert limits.read("silver", "ada") is None
    await limits.reads("silver", "ada")


async def test_strangers_are_counted_by_their_network(limits: Limits) -> None:
    assert limits.stranger("192.0.2.1") is None
    assert (await limits.strangers("192.0.2.1"))["RateLimit"] == '"strangers";r=1;t=60'
    await limits.strangers("192.0.2.1")
    with pytest.raises(ProblemError, match="rate_limited"):
        limits.stranger("192.0.2.1")
    await limits.strangers("192.0.2.2")


async def test_a_taking_may_travel_with_something_else(limits: Limits, store: Store, time: Time) -> None:
    taking, asked = limits.taking("messages", "ada", "a"), time.now
    [allowance] = await store.take([taking])
    found = await limits.taken("messages", "free", taking, allowance, asked)
    assert found["RateLimit"] == '"messages";r=2;t=60'
    # Of another tier than the store went by, or with nothing from the store: asked again, by the same id.
    assert (await limits.taken("messages", "silver", taking, allowance, asked))["RateLimit"] == '"messages";r=2;t=60'
    assert (await limits.taken("messages", "free", taking, None, asked))["RateLimit"] == '"messages";r=2;t=60'
    reads = limits.taking("reads", "bob", tier="silver")
    [allowance] = await store.take([reads])
    asked_so_far = len(store.asked)
    told = [await limits.taken("reads", "silver", reads, allowance, asked)]
    told += [limits.read("silver", "bob") or {} for _ in range(4)]
    assert [each["RateLimit"] for each in told] == [f'"reads";r={99 - n};t=60' for n in range(5)]
    assert limits.read("silver", "bob") is None
    assert len(store.asked) == asked_so_far


async def test_a_lease_ends_with_its_window_as_seen_from_before_it_was_asked_for(store: Store, time: Time) -> None:
    leases, rule = Leases(store, now=time), leased("reads", Quota(40, 60))
    store.slow = 10
    assert await leases.refill(rule, "ada") == '"reads";r=39;t=50'
    store.slow = 0
    time.now += 49.9
    assert leases.take(rule, "ada") == '"reads";r=38;t=1'
    time.now += 0.2
    assert leases.take(rule, "ada") is None


async def test_those_who_wait_for_one_refill_ask_once_and_who_leaves_takes_it_from_nobody(
    store: Store, time: Time
) -> None:
    leases, rule = Leases(store, now=time), leased("reads", Quota(200, 60))
    waiting = [asyncio.create_task(leases.refill(rule, "ada")) for _ in range(10)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert all(isinstance(each, str) for each in done[1:])
    assert len(store.asked) == 1


async def test_who_comes_as_a_refill_ends_and_finds_nothing_left_of_it_asks_anew(store: Store, time: Time) -> None:
    looked = 0

    def now() -> float:
        nonlocal looked
        looked += 1
        assert looked < 1000, "nobody else gets a turn"
        return time()

    leases, rule = Leases(store, now=now), leased("reads", Quota(3, 60))
    assert rule.block == 1
    came = asyncio.Event()
    granted = leases.grant

    def grant(subject: str, allowance: Allowance, asked: float) -> None:
        granted(subject, allowance, asked)
        came.set()

    async def late() -> str:
        await came.wait()
        return await leases.refill(rule, "ada")

    leases.grant = grant
    waiting = [asyncio.create_task(late()) for _ in range(2)]
    await asyncio.sleep(0)
    told = await asyncio.gather(leases.refill(rule, "ada"), *waiting)
    assert sorted(told) == [f'"reads";r={left};t=60' for left in range(3)]
    assert len(store.asked) == 3


async def test_leases_are_bounded(store: Store, time: Time) -> None:
    leases, rule = Leases(store, now=time, room=3), leased("reads", Quota(200, 60))
    for n in range(10):
        await leases.refill(rule, str(n))
    assert len(leases) == 3


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 0.4), st.integers(1, 8)), max_size=60), st.integers(1, 50))
def test_all_gateways_together_never_exceed_the_quota(steps: list[tuple[int, float, int]], amount: int) -> None:
    """Of three gateways, one does so many reads at each step; the store's windows are the measure."""

    async def run() -> None:
        time = Time()
        store, rule = Store(time), leased("reads", Quota(amount, 1))
        gateways = [Leases(store, now=time) for _ in range(3)]
        used: Counter[int] = Counter()
        for gateway, passed, reads in steps:
            time.now += passed
            for _ in range(reads):
                refused = False
                try:
                    await gateways[gateway].refill(rule, "ada")
                except UsedUpError:
                    refused = True
                window = store.counts._windows["ada", "reads"]
                assert isinstance(window, CountingWindow)
                if refused:
                    assert window._used == amount
                    break
                used[window._ends] += 1
        assert all(count <= amount for count in used.values())

    asyncio.run(run())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_without_redis_the_same_quotas_hold_here_and_nobody_waits_for_it_each_time(
    store: Store, time: Time, metrics: TallyMetrics, clock: ManualClock
) -> None:
    fallback = FallbackAllowances(store, LocalAllowances(now=time), Breaker(clock), metrics)
    limits = Limits(POLICIES, fallback, metrics, now=time)
    store.down = True
    for id in "abc":
        await limits.take("messages", "free", "ada", id)
    assert (await limits.take("messages", "free", "ada", "a")).repeated
    with pytest.raises(ProblemError, match="rate_limited"):
        await limits.take("messages", "free", "ada", "d")
    assert len(store.asked) == 1
    assert metrics.counts["limits_fallen_back",] >= 5
    clock.now += OPEN_MS
    with pytest.raises(ProblemError, match="rate_limited"):
        await limits.take("messages", "free", "ada", "d")
    assert len(store.asked) == 2
    store.down = False
    clock.now += OPEN_MS
    assert (await limits.take("messages", "free", "ada", "e")).remaining == 2
    assert (await limits.take("messages", "free", "ada", "f")).remaining == 1


async def test_a_redis_that_hangs_is_waited_for_a_moment_once(
    store: Store, time: Time, metrics: TallyMetrics, clock: ManualClock
) -> None:
    fallback = FallbackAllowances(store, LocalAllowances(now=time), Breaker(clock), metrics, within=0.01)
    limits = Limits(POLICIES, fallback, metrics, now=time)
    store.hangs = True
    for id in "abc":
        await limits.take("messages", "free", "ada", id)
    assert len(store.asked) == 1


async def test_whose_tier_changes_often_loses_no_block_each_time(store: Store, time: Time) -> None:
    leases = Leases(store, now=time)
    small, large = leased("reads", Quota(400, 60)), leased("reads", Quota(1000, 60))
    await leases.refill(small, "ada")
    asked = len(store.asked)
    left = [leases.take(rule, "ada") for rule in (large, small, large)]
    assert [str(value).partition(";t")[0] for value in left] == ['"reads";r=998', '"reads";r=397', '"reads";r=996']
    assert len(store.asked) == asked


async def test_a_tier_that_fell_leaves_no_more_than_it_has(store: Store, time: Time) -> None:
    leases = Leases(store, now=time)
    small, large = leased("reads", Quota(3, 60)), leased("reads", Quota(100, 60))
    for _ in range(4):
        assert leases.take(large, "ada") or await leases.refill(large, "ada")
    with pytest.raises(UsedUpError):
        leases.take(small, "ada")
