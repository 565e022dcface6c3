"""Deadlines by one timer do what asyncio.timeout does."""

import asyncio

import pytest

from devconnect.deadlines import Within


async def test_what_is_done_in_time_goes_on() -> None:
    within = Within(5.0)
    with within():
        await asyncio.sleep(0)
    with within():
        pass
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_what_takes_too_long_is_a_timeout_and_its_task_goes_on() -> None:
    within = Within(0.02)
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError), within():
        await asyncio.sleep(30)
    assert 0.015 <= asyncio.get_running_loop().time() - began < 5
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await asyncio.sleep(0)


async def test_each_of_many_has_its_own_time() -> None:
    within = Within(0.5)
    came: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        try:
            with within():
                await asyncio.sleep(seconds)
            came.append(f"{name} done")
        except TimeoutError:
            came.append(f"{name} late")

    async with asyncio.timeout(10):
        first = asyncio.create_task(wait("first", 30))
        await asyncio.sleep(0.1)
        await asyncio.gather(first, wait("quick", 0), wait("last", 30))
    assert came == ["quick done", "first late", "last late"]


async def test_whoever_is_cancelled_by_others_ends_as_cancelled() -> None:
    within = Within(5.0)
    entered = asyncio.Event()

    async def wait() -> None:
        with within():
            entered.set()
            await asyncio.sleep(30)

    task = asyncio.create_task(wait())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_inside_stays_what_it_is() -> None:
    within = Within(5.0)
    with pytest.raises(KeyError), within():
        raise KeyError("own")


async def test_a_wait_within_a_wait_ends_by_the_nearer_deadline() -> None:
    outer, inner = Within(5.0), Within(0.02)
    with outer():
        with pytest.raises(TimeoutError), inner():
            await asyncio.sleep(30)
        await asyncio.sleep(0)
