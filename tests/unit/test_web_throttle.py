"""Attempts are throttled whether or not there is an account, and nobody locks anybody else out."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from devconnect.adapters.local.allowances import LocalAllowances
from devconnect.domain.allowances import Allowance
from devconnect.ports.allowances import Taking
from tests.fakes import ManualClock
from tests.unit.web_fakes import KEY, TallyMetrics
from web.device_tokens import LIFETIME_MS, DeviceTokens
from web.problems import ProblemError
from web.throttle import QUOTAS, Action, Throttle

ADA, BOB = "ada@example.org", "bob@example.org"


class Store(LocalAllowances):
    """Counts here; time stands still unless it is moved; remembers what it was asked at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.rounds: list[list[Taking]] = []
        super().__init__(now=lambda: self.now)

    async def take(self, takings: Sequence[Taking]) -> list[Allowance]:
        self.rounds.append(list(takings))
        return await super().take(takings)


class House:
    """A throttle and what it stands on."""

    def __init__(self) -> None:
        self.store, self.clock, self.metrics = Store(), ManualClock(), TallyMetrics()
        self.devices = DeviceTokens(KEY, self.clock)
        self.throttle = Throttle(KEY, self.store, self.devices, self.metrics)

    async def fail(
        self, times: int, account: str, network: str, token: str | None = None, action: Action = "log_in"
    ) -> int:
        """So many attempts that fail; how many of them were refused."""
        tries = [self.throttle.attempt(action, account, network, token) for _ in range(times)]
        found = [(await asyncio.gather(each, return_exceptions=True))[0] for each in tries]
        problems = [each for each in found if isinstance(each, ProblemError)]
        assert all(each.code == "too_many_attempts" and int(each.headers["Retry-After"]) > 0 for each in problems)
        return len(problems)


@pytest.fixture
def house() -> House:
    return House()


async def test_an_account_is_guarded_from_one_network_and_another_account_there_is_not(house: House) -> None:
    assert await house.fail(30, ADA, "net") == 20
    # What was refused didn't use up the network.
    assert await house.fail(10, BOB, "net") == 0
    assert await house.fail(10, ADA, "another") == 0
    assert house.metrics.counts["attempts_refused", "log_in"] == 20
    house.store.now += 899
    assert await house.fail(1, ADA, "net") == 1
    house.store.now += 1
    assert await house.fail(1, ADA, "net") == 0


async def test_a_network_is_held_to_fifty_whomever_it_tries(house: House) -> None:
    assert await house.fail(10, ADA, "net") == 0
    assert sum([await house.fail(1, f"{n}@example.org", "net") for n in range(60)]) == 20


async def test_an_account_is_guarded_from_everywhere_and_where_its_owner_has_been_is_open_to_them(
    house: House,
) -> None:
    token = house.devices.make(ADA)
    assert sum([await house.fail(10, ADA, f"net {n}") for n in range(12)]) == 20
    assert await house.fail(1, ADA, "her own") == 1
    attempt = await house.throttle.attempt("log_in", ADA, "her own", token)
    await house.throttle.succeeded(attempt)


async def test_a_neighbour_in_the_same_network_locks_nobody_out_where_they_have_been(house: House) -> None:
    token = house.devices.make(ADA)
    for n in range(6):
        await house.fail(10, f"{n}@example.org", "net")
    assert await house.fail(1, ADA, "net") == 1
    assert await house.fail(1, ADA, "net", token) == 0


async def test_a_device_has_ten_of_its_own_and_all_of_an_account_a_hundred(house: House) -> None:
    token = house.devices.make(ADA)
    assert await house.fail(12, ADA, "net", token) == 2
    assert await house.fail(1, ADA, "net", house.devices.make(ADA)) == 0
    assert sum([await house.fail(1, ADA, "net", house.devices.make(ADA)) for _ in range(100)]) == 11


async def test_a_success_isnt_counted_and_clears_what_failed_before_it(house: House) -> None:
    for token in (None, house.devices.make(ADA)):
        for _ in range(5):
            assert await house.fail(9, ADA, "net", token) == 0
            await house.throttle.succeeded(await house.throttle.attempt("log_in", ADA, "net", token))
        house.store.now += 3600
    # A network of many who log in is held up by none of that, and an account's failures elsewhere stay counted.
    for n in range(100):
        await house.throttle.succeeded(await house.throttle.attempt("log_in", f"{n}@example.org", "net"))
    assert sum([await house.fail(10, ADA, f"net {n}") for n in range(9)]) == 0
    await house.throttle.succeeded(await house.throttle.attempt("log_in", ADA, "net"))
    assert await house.fail(11, ADA, "far") == 1


async def test_what_came_to_nothing_isnt_counted(house: House) -> None:
    for _ in range(30):
        await house.throttle.came_to_nothing(await house.throttle.attempt("log_in", ADA, "net"))
    assert await house.fail(10, ADA, "net") == 0


async def test_many_at_once_are_no_way_around_it(house: House) -> None:
    tries = [house.throttle.attempt("log_in", ADA, "net") for _ in range(100)]
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(each, ProblemError) for each in found) == 10


async def test_it_is_one_round_trip_and_no_address_is_in_it(house: House) -> None:
    await house.throttle.attempt("log_in", ADA, "net")
    await house.throttle.attempt("log_in", ADA, "net", house.devices.make(ADA))
    assert [len(takings) for takings in house.store.rounds] == [3, 2]
    assert not any(
        "example" in taking.subject or "@" in taking.subject for takings in house.store.rounds for taking in takings
    )


async def test_actions_are_counted_apart_and_resets_are_few(house: House) -> None:
    assert await house.fail(10, ADA, "net") == 0
    assert sum([await house.fail(2, ADA, f"net {n}", action="reset") for n in range(10)]) == 10
    for action in QUOTAS:
        with suppress(ProblemError):
            await house.throttle.attempt(action, BOB, "net")


def test_a_token_is_known_for_its_address_alone_and_not_for_ever() -> None:
    clock = ManualClock()
    devices = DeviceTokens(KEY, clock)
    token, other = devices.make(ADA), devices.make(ADA)
    assert devices.device(token, ADA) not in (None, devices.device(other, ADA))
    assert devices.device(token, BOB) is None
    assert DeviceTokens(KEY + "x", clock).device(token, ADA) is None
    assert ADA not in token
    clock.now += LIFETIME_MS - 1
    assert devices.device(token, ADA) is not None
    clock.now += 1
    assert devices.device(token, ADA) is None


def test_what_is_no_token_is_none() -> None:
    devices = DeviceTokens(KEY, ManualClock())
    token = devices.make(ADA)
    changed = [token[:n] + ("0" if token[n] != "0" else "1") + token[n + 1 :] for n in range(len(token))]
    for bad in (
        None,
        "",
        "d1..",
        "ü" * 50,
        token + "0",
        token[:-1],
        token.upper(),
        f" {token}",
        f"{token}\n",
        *changed,
    ):
        assert devices.device(bad, ADA) is None
