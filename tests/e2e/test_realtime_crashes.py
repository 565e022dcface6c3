"""Whatever is killed, cut, wiped or deaf while people talk: each device ends with everything, in order, nothing twice.

Each test holds every device against what was acknowledged, and against the log of inboxes, record by record.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest

from tests.e2e.fleets import Crowd, Fleet
from tests.e2e.gateways import up

pytestmark = pytest.mark.timeout(300)

#: Messages before, and after, whatever happens.
SOME = 12


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("realtime"), PRESENCE_GRACE_SECONDS="1").running() as found:
        yield found


@pytest.fixture(autouse=True)
def mended(fleet: Fleet) -> Iterator[None]:
    """Whatever a test has left dead is there again for the next."""
    yield
    fleet.mend()


@pytest.fixture
async def crowd(fleet: Fleet) -> AsyncIterator[Crowd]:
    found = await asyncio.to_thread(Crowd, fleet)
    async with found.here():
        yield found


async def back(*ways: Callable[[], object]) -> None:
    """Have what was killed again, all of it at the same time."""
    await asyncio.gather(*map(asyncio.to_thread, ways))


async def test_a_gateway_beside_others_is_killed(fleet: Fleet, crowd: Crowd) -> None:
    async with crowd.talking() as more:
        await more(SOME)
        before = [app for app in crowd.apps if app.url == fleet.second.url]
        assert before
        fleet.second.kill()
        await more(SOME)
        assert all(app.visited[-1] != fleet.second.url for app in before)
        await asyncio.to_thread(fleet.second.start)
        await more(SOME)
    await crowd.whole()


async def test_gateways_are_killed_one_after_the_other(fleet: Fleet, crowd: Crowd) -> None:
    async with crowd.talking() as more:
        await more(SOME)
        pid = fleet.system.kill("gateway")
        await more(1)
        fleet.third.kill()
        await back(partial(fleet.system.restarted, "gateway", pid), fleet.third.start)
        await more(SOME)
    await crowd.whole()


@pytest.mark.parametrize("role", ["inbox", "commands", "notifications"])
async def test_a_worker_is_killed_in_the_middle(fleet: Fleet, crowd: Crowd, role: str) -> None:
    async with crowd.talking() as more:
        await more(SOME)
        pid = fleet.system.kill(role)
        await asyncio.to_thread(fleet.system.restarted, role, pid)
        await more(SOME)
    await crowd.whole()


@pytest.mark.parametrize("how", ["with what it had", "empty"])
async def test_redis_is_killed_and_comes_back(fleet: Fleet, crowd: Crowd, how: str) -> None:
    async with crowd.talking() as more:
        await more(SOME)
        fleet.system.kill("redis")
        await more(3)
        if how == "empty":
            shutil.rmtree(fleet.system.data_dir / "redis")
        await asyncio.to_thread(up, fleet.system)
        await more(SOME)
    await crowd.whole()


async def test_redis_is_wiped_again_and_again(fleet: Fleet, crowd: Crowd) -> None:
    async with crowd.talking() as more:
        for _ in range(4):
            await more(SOME // 2)
            await asyncio.to_thread(fleet.redis().flushall)
        await more(SOME)
    await crowd.whole()


@pytest.mark.parametrize("part", ["mongo", "kafka"])
async def test_a_server_behind_it_is_killed_and_comes_back(fleet: Fleet, crowd: Crowd, part: str) -> None:
    async with crowd.talking() as more:
        await more(SOME)
        fleet.system.kill(part)
        await asyncio.to_thread(up, fleet.system)
        await more(SOME)
    await crowd.whole()


async def test_redis_is_wiped_while_a_worker_and_a_gateway_are_killed(fleet: Fleet, crowd: Crowd) -> None:
    async with crowd.talking() as more:
        await more(SOME)
        pid = fleet.system.kill("inbox")
        fleet.second.kill()
        await asyncio.to_thread(fleet.redis().flushall)
        await back(fleet.second.start, partial(fleet.system.restarted, "inbox", pid))
        await more(SOME)
    await crowd.whole()


async def test_what_listens_is_cut_off_again_and_again(fleet: Fleet, crowd: Crowd) -> None:
    killed = 0
    async with crowd.talking() as more:
        for _ in range(15):
            await more(2)
            killed += await asyncio.to_thread(fleet.redis().execute_command, "CLIENT", "KILL", "TYPE", "pubsub")
        await more(SOME)
    assert killed >= 15
    await crowd.whole()


async def test_each_second_thing_that_is_said_gets_lost(fleet: Fleet, crowd: Crowd) -> None:
    lost = fleet.ears.lost
    fleet.ears.lose_each = 2
    try:
        async with crowd.talking() as more:
            await more(4 * SOME)
        await crowd.whole()
    finally:
        fleet.ears.lose_each = 0
    assert fleet.ears.lost - lost > SOME


async def test_the_last_thing_that_is_said_gets_lost(fleet: Fleet, crowd: Crowd) -> None:
    """Nothing follows that would show the gap."""
    fleet.ears.lose_each = 1
    lost = fleet.ears.lost
    try:
        async with crowd.talking() as more:
            await more(SOME)
        await crowd.whole()
    finally:
        fleet.ears.lose_each = 0
    assert fleet.ears.lost > lost


async def test_a_gateway_that_hears_nothing_says_so_and_then_has_everything(fleet: Fleet, crowd: Crowd) -> None:
    refused = fleet.ears.refused
    deaf = [app for app in crowd.apps if app.url == fleet.third.url]
    assert deaf
    async with crowd.talking() as more:
        await more(SOME)
        fleet.ears.blocked = fleet.ears.held = True
        try:
            for app in deaf:
                await app.hears(lambda app=app: {"live": False} in app.of("live"))
            await more(SOME)
        finally:
            fleet.ears.blocked = fleet.ears.held = False
        for app in deaf:
            await app.hears(lambda app=app: app.of("live")[-1] == {"live": True})
        await more(SOME)
    await crowd.whole()
    assert fleet.ears.refused > refused
