"""Reads go on without the cache, and say so; a dead cache costs its timeout once a second, not once a request."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from devconnect.adapters.local.allowances import LocalAllowances
from devconnect.domain.allowances import Allowance
from devconnect.ports.allowances import Taking
from tests.fakes import ManualClock
from tests.unit.web_house import House, Person, gateway, is_problem
from web.reads import OPEN_MS, Breaker

READS = [
    "/v1/me",
    "/v1/users/{bob}",
    "/v1/feed",
    "/v1/connections",
    "/v1/connections/requests",
    "/v1/conversations/{bob}/messages",
    "/v1/presence?users={bob}",
    "/v1/me/notifications",
]


async def lively(house: House) -> tuple[Person, Person]:
    ada, bob = await house.friends()
    await house.person("eve")
    await ada.ask("POST", f"/v1/conversations/{bob.id}/messages", {"text": "hello"})
    await bob.ask("PUT", "/v1/me/presence", {"online": True})
    return ada, bob


@pytest.mark.parametrize("state", ["down", "wiped"])
async def test_without_the_cache_every_read_comes_from_the_database_and_says_so(state: str) -> None:
    async with gateway() as house:
        ada, bob = await lively(house)
        for template in READS:
            path = template.replace("{bob}", bob.id)
            house.cache.state = "up"
            house.clock.now += OPEN_MS
            before = await ada.ask("GET", path)
            assert (before.status, before.headers["X-Source"]) == (200, "cache"), path
            house.cache.state = state
            house.metrics.counts.clear()
            after = await ada.ask("GET", path)
            assert after.status == 200
            if path.startswith("/v1/presence") and state == "wiped":
                continue  # presence is kept in the cache alone: it may say that nobody is here
            assert after.json == before.json
            assert after.headers["X-Source"] == "database", path
            assert house.metrics.counts["reads_fallen_back",] >= 1


async def test_both_down_is_503() -> None:
    async with gateway() as house:
        ada, bob = await lively(house)
        house.cache.state = house.database.state = "down"
        for template in READS:
            answer = await ada.ask("GET", template.replace("{bob}", bob.id))
            assert is_problem(answer, 503, "store_unavailable")


async def test_what_the_cache_holds_is_read_with_the_database_down() -> None:
    async with gateway() as house:
        ada, bob = await lively(house)
        house.database.state = "down"
        for template in READS:
            answer = await ada.ask("GET", template.replace("{bob}", bob.id))
            assert (answer.status, answer.headers["X-Source"]) == (200, "cache")


async def test_a_dead_cache_is_asked_once_a_second() -> None:
    async with gateway() as house:
        ada, _ = await lively(house)
        house.cache.state = "down"
        house.cache.asked = 0
        for _ in range(10):
            assert (await ada.ask("GET", "/v1/feed")).status == 200
        assert house.cache.asked == 1
        house.clock.now += OPEN_MS
        for _ in range(10):
            await ada.ask("GET", "/v1/feed")
        assert house.cache.asked == 2
        house.cache.state = "up"
        house.clock.now += OPEN_MS
        assert (await ada.ask("GET", "/v1/feed")).headers["X-Source"] == "cache"


async def test_a_cursor_of_the_database_is_good_when_the_cache_is_back() -> None:
    async with gateway() as house:
        ada, _ = await lively(house)
        await house.person("fay")
        house.cache.refuses_cursors = True
        page = await ada.ask("GET", "/v1/feed?limit=1")
        rest = await ada.ask("GET", f"/v1/feed?limit=1&cursor={page.json['next']}")
        assert (rest.status, rest.headers["X-Source"]) == (200, "database")


async def test_of_tables_the_cache_alone_judges_cursors() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        house.give_role(ada.id, "analyst")
        ada = await ada.logged_in_anew()
        path = "/v1/analytics/tables/user_activity?limit=1"
        page = await ada.ask("GET", path)
        assert (await ada.ask("GET", f"{path}&cursor={page.json['next']}")).status == 200
        assert is_problem(await ada.ask("GET", f"{path}&cursor=nonsense"), 400, "invalid_query")
        house.cache.state = "wiped"
        assert is_problem(await ada.ask("GET", path), 503, "store_unavailable")


async def test_a_person_the_cache_does_not_know_yet_is_found() -> None:
    async with gateway() as house:
        ada, bob = await lively(house)
        known = house.cache.users

        async def all_but_bob(ids: list[str]) -> list[object]:
            return [None if user == bob.id else view for user, view in zip(ids, await known(ids), strict=True)]

        house.cache.users = all_but_bob
        answer = await ada.ask("GET", "/v1/connections")
        assert [one["user"]["id"] for one in answer.json["items"]] == [bob.id]
        assert answer.headers["X-Source"] == "database"


def test_the_breaker_lets_one_look_whether_the_cache_is_back() -> None:
    clock = ManualClock()
    breaker = Breaker(clock)
    assert breaker.allows()
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    clock.now += OPEN_MS
    assert [breaker.allows(), breaker.allows(), breaker.allows()] == [True, False, False]
    breaker.worked()
    assert breaker.allows()
    breaker.failed()
    clock.now -= 3_600_000  # the machine's clock was set back: that must not keep everybody off for an hour
    assert breaker.allows()


async def test_who_must_be_looked_up_each_time_takes_no_block_of_reads_each_time() -> None:
    asked: list[Taking] = []

    class Noted(LocalAllowances):
        async def take(self, takings: Sequence[Taking]) -> list[Allowance]:
            asked.extend(taking for taking in takings if taking.rules[0].kind == "reads")
            return await super().take(takings)

    noted = Noted()
    async with gateway(lambda parts: replace(parts, allowances=noted)) as house:
        ada, _ = await lively(house)
        asked.clear()
        left = [
            int((await ada.ask("GET", "/v1/me")).headers["RateLimit"].split("r=")[1].split(";")[0]) for _ in range(9)
        ]
    assert left == list(range(left[0], left[0] - 9, -1))
    assert len(asked) <= 1
