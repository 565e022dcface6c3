"""Who reads with what an answer had in Read-After reads their own writes, or is told that they aren't there yet."""

from typing import Any

import pytest

from devconnect.events import commands as c
from tests.unit.web_fakes import NOON
from tests.unit.web_house import House, Person, gateway, is_problem
from web.endpoints import BEHIND, READ_AFTER
from web.marks import Mark


async def mark_of(person: Person, headline: str, **headers: str) -> str:
    answer = await person.ask("PATCH", "/v1/me", {"headline": headline}, headers=headers)
    assert answer.status in (200, 202), answer
    return answer.headers[READ_AFTER]


async def read(person: Person, mark: str) -> Any:
    answer = await person.ask("GET", "/v1/me", headers={READ_AFTER: mark})
    assert answer.status == 200
    return answer


async def test_the_reader_is_looked_up_after_the_wait_not_before() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        mark = await mark_of(ada, "before")

        async def wait(topic: str, partition: int, seq: int, seconds: float) -> bool:
            change = c.ChangeProfile(id="f" * 32, actor=ada.id, at=NOON, headline="applied meanwhile")
            house.world.sent.append(change)
            house.world.decide(change)
            return True

        house.world.wait = wait
        answer = await read(ada, mark)
        assert answer.json["headline"] == "applied meanwhile"
        assert BEHIND not in answer.headers


async def test_a_role_that_was_taken_during_the_wait_is_gone_after_it() -> None:
    async with gateway() as house:
        ann = await house.person("ann")
        house.give_role(ann.id, "analyst")
        ann = await ann.logged_in_anew()
        mark = await mark_of(ann, "before")

        async def wait(topic: str, partition: int, seq: int, seconds: float) -> bool:
            house.give_role(ann.id, "member")
            return True

        house.world.wait = wait
        answer = await ann.ask("GET", "/v1/analytics/tables/user_activity", headers={READ_AFTER: mark})
        assert is_problem(answer, 403, "not_allowed")


@pytest.mark.parametrize("cache", ["up", "gone"])
async def test_what_was_decided_is_right_from_the_database_and_said_to_be_missing_from_the_cache(cache: str) -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        mark = await mark_of(ada, "decided")
        house.world.behind = True
        if cache == "gone":
            _lose(house)
        answer = await read(ada, mark)
        assert (BEHIND in answer.headers) == (cache == "up")


async def test_what_may_not_be_decided_yet_is_never_said_to_be_there() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        mark = await mark_of(ada, "later", Prefer="respond-async")
        house.world.behind = True
        _lose(house)
        assert BEHIND in (await read(ada, mark)).headers


def _lose(house: House) -> None:
    house.cache.state = "down"

    async def nobody(topic: str, partition: int) -> None:
        return None

    house.world.applied = nobody


async def test_a_mark_is_read_as_it_was_given_and_nothing_else_is_one() -> None:
    mark = Mark("message-events", 3, 1792, True)
    assert Mark.read(mark.text()) == mark
    for text in ("", "x", "é", "A" * 101, Mark("message-events", 3, -1, False).text()):
        assert Mark.read(text) is None
