"""Askers and results: told at once, found where they weren't, and nothing left behind; whatever becomes of Redis."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from devconnect.adapters.redis import desk as module, keys
from devconnect.adapters.redis.answers import RedisAnswers
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.connect import close, connect, connect_listener
from devconnect.adapters.redis.desk import RedisAnswerDesk
from devconnect.domain.deciding import Answer
from devconnect.domain.model import Decision, Problem
from devconnect.events.facts import MessageRead
from devconnect.ports.truth import UnavailableError
from tests.contract.redis_fixtures import Server, Wire, client, own_server, servers
from tests.waiting import PATIENCE, until

__all__ = ["client", "own_server", "servers"]


def decision(command: str, *, result: dict[str, Any] | None = None, problem: Problem | None = None) -> Decision:
    event = MessageRead(id=f"{command}.0", seq=256, at=1, conversation="ada.bob", user="ada", up_to=256)
    return Decision(
        id=command,
        command="message.mark_read",
        topic="message-commands",
        partition=3,
        seq=256,
        actor="ada",
        fingerprint="print",
        at=1,
        result=result if result is not None or problem else {"text": "Grüße"},
        problem=problem,
        events=(event,),
    )


def told(found: Decision | None) -> Any:
    return found and (found.id, found.actor, found.fingerprint, found.result, found.problem)


class Database:
    """What the fallback finds."""

    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}
        self.asked: list[float] = []
        self.down = False

    async def __call__(self, command: str) -> Decision | None:
        self.asked.append(time.monotonic())
        if self.down:
            raise UnavailableError("MongoDB")
        return self.decisions.get(command)


@asynccontextmanager
async def gateway(url: str, database: Database, listen: str = "") -> AsyncIterator[RedisAnswerDesk]:
    client, listener = connect(url), connect_listener(listen or url)
    desk = RedisAnswerDesk(client, listener, database)
    await desk.start()
    try:
        yield desk
        assert desk.pending == 0
    finally:
        await desk.stop()
        await close(client)
        await close(listener)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture(params=["alone", "cluster"])
async def world(
    request: pytest.FixtureRequest, servers: dict[str, Server], database: Database
) -> AsyncIterator[tuple[Any, RedisAnswers, RedisAnswerDesk]]:
    """A client, the agents' side and a gateway's, on an empty server."""
    url = servers[request.param].url
    client = connect(url)
    await client.flushall()
    async with gateway(url, database) as desk:
        yield client, RedisAnswers(client), desk
    await close(client)


def answer(command: str, desk: RedisAnswerDesk | None = None, **more: Any) -> Answer:
    return Answer(command, desk.address if desk else "", decision(command, **more))


World = tuple[Any, RedisAnswers, RedisAnswerDesk]


def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is told, or isn't."""
    monkeypatch.setattr(module, "QUIET_LOOK", 60.0)
    monkeypatch.setattr(module, "LOOK", 60.0)


async def test_who_waits_is_told_without_a_look_anywhere(
    world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_looks(monkeypatch)
    _, answers, desk = world
    for number in range(20):
        name = f"c{number}"
        desk.expect(name)
        waiting = asyncio.create_task(desk.wait(name, 60.0))
        await asyncio.sleep(0)
        await answers.tell([answer(name, desk)])
        async with asyncio.timeout(PATIENCE):
            found = await waiting
        assert told(found) == told(decision(name))
        assert found is not None
        assert found.events == ()
    assert database.asked == []


async def test_an_answer_that_comes_before_the_wait_is_kept_for_it(world: World) -> None:
    _, answers, desk = world
    desk.expect("c")
    await answers.tell([answer("c", desk)])
    await until(desk._expected["c"].result.done)
    assert told(await desk.wait("c", 0.1)) == told(decision("c"))


async def test_each_gateway_is_told_of_its_own_commands(world: World, servers: dict[str, Server]) -> None:
    client, answers, desk = world
    url = servers["cluster" if "Cluster" in type(client).__name__ else "alone"].url
    async with gateway(url, Database()) as other:
        for each in (desk, other):
            each.expect("c")
            each.expect(each.address)
        await answers.tell([answer(desk.address, desk), answer(other.address, other), answer("c", other)])
        await until(other._expected["c"].result.done)
        for each in (desk, other):
            found = await each.wait(each.address, 1.0)
            assert found is not None
            assert found.id == each.address
        assert not desk._expected["c"].result.done()
        for each in (desk, other):
            assert await each.wait("c", 1.0) is not None


async def test_a_result_is_found_for_a_day_by_any_gateway(world: World, database: Database) -> None:
    client, answers, desk = world
    problem = Problem("not_connected", "No.")
    await answers.tell([answer("c"), answer("d", problem=problem)])
    assert told(await desk.find("c")) == told(decision("c"))
    assert told(await desk.find("d")) == told(decision("d", problem=problem))
    assert database.asked == []
    assert 86_000_000 < await client.pttl(keys.answer("c")) <= 86_400_000
    database.decisions["old"] = decision("old")
    assert await desk.find("old") == decision("old")
    assert await desk.find("never") is None


async def test_the_refusal_of_a_repeat_is_told_but_does_not_take_the_place_of_the_decision(world: World) -> None:
    _, answers, desk = world
    desk.expect("c")
    refusal = answer("c", desk, problem=Problem("idempotency_key_reused", "No."))
    await answers.tell([answer("c"), refusal])
    found = await desk.wait("c", 1.0)
    assert found is not None
    assert found.problem is not None
    assert told(await desk.find("c")) == told(decision("c"))


async def test_without_an_answer_the_wait_ends_in_time(world: World, database: Database) -> None:
    _, _, desk = world
    desk.expect("c")
    started = time.monotonic()
    assert await desk.wait("c", 0.4) is None
    assert 0.4 <= time.monotonic() - started < 5
    assert len(database.asked) == 1, "one last look into the database"
    assert await desk.wait("c", 0) is None
    assert len(database.asked) == 1


async def test_a_last_look_finds_what_nobody_told(world: World, database: Database) -> None:
    _, _, desk = world
    desk.expect("c")
    database.decisions["c"] = decision("c")
    started = time.monotonic()
    assert await desk.wait("c", 0.4) == decision("c")
    assert time.monotonic() - started >= 0.4, "it is the last thing that is done"
    assert len(database.asked) == 1


async def test_all_who_wait_for_one_command_are_told_and_nothing_is_left(world: World) -> None:
    _, answers, desk = world
    for _ in range(3):
        desk.expect("c")
    waiting = [asyncio.create_task(desk.wait("c", 15.0)) for _ in range(2)]
    await asyncio.sleep(0)
    await answers.tell([answer("c", desk)])
    assert [told(each) for each in await asyncio.gather(*waiting)] == [told(decision("c"))] * 2
    assert desk.pending == 1
    assert told(await desk.wait("c", 15.0)) == told(decision("c"))


async def test_a_cancelled_wait_leaves_nothing_behind_and_takes_nothing_from_another(world: World) -> None:
    _, answers, desk = world
    for _ in range(2):
        desk.expect("c")
    desk.expect("alone")
    cancelled, staying = (asyncio.create_task(desk.wait("c", 15.0)) for _ in range(2))
    alone = asyncio.create_task(desk.wait("alone", 2.0))
    await asyncio.sleep(0.01)
    for task in (cancelled, alone):
        task.cancel()
    await asyncio.wait({cancelled, alone})
    assert cancelled.cancelled()
    assert alone.cancelled()
    assert list(desk._expected) == ["c"]
    await answers.tell([answer("c", desk)])
    assert told(await staying) == told(decision("c"))


async def test_what_nobody_waits_for_is_dropped_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, answers, desk = world
    monkeypatch.setattr(module, "FORGOTTEN", 0.2)
    monkeypatch.setattr(module, "BEAT", 0.1)
    desk.expect("left")
    desk.expect("c")
    waiting = asyncio.create_task(desk.wait("c", 3.0))
    await until(lambda: list(desk._expected) == ["c"])
    await answers.tell([answer("c", desk)])
    assert await waiting is not None


async def test_text_that_is_no_decision_does_not_stop_the_desk(world: World, caplog: pytest.LogCaptureFixture) -> None:
    client, answers, desk = world
    await answers.tell([answer("warm up", desk)])
    desk.expect("c")
    listening = connect_listener(await address(client))
    await listening.publish(keys.replies(desk.address), "{")
    await close(listening)
    await until(lambda: "could not be read" in caplog.text)
    await answers.tell([answer("c", desk)])
    assert told(await desk.wait("c", 15.0)) == told(decision("c"))


async def address(client: Any) -> str:
    """Where a client, of a cluster too, is connected to."""
    if hasattr(client, "get_default_node"):
        return f"redis://{client.get_default_node().name}"
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}"


async def test_a_desk_survives_a_redis_that_is_killed_and_restarted(
    own_server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_looks(monkeypatch)
    client = connect(own_server.url)
    answers = RedisAnswers(client)
    async with gateway(own_server.url, database) as desk:
        desk.expect("before")
        desk.expect("during")
        await answers.tell([answer("before", desk)])
        assert await desk.wait("before", 2.0) is not None
        own_server.kill()
        await until(lambda: not desk.healthy)
        during = asyncio.create_task(desk.wait("during", 60.0))
        await asyncio.sleep(0.1)
        own_server.start()
        await until(lambda: desk.healthy)
        await answers.tell([answer("during", desk)])
        desk.expect("after")
        await answers.tell([answer("after", desk)])
        async with asyncio.timeout(PATIENCE):
            assert await during is not None
            assert await desk.wait("after", 60.0) is not None
    await close(client)


async def test_without_redis_the_database_is_looked_into_until_the_deadline(
    own_server: Server, database: Database
) -> None:
    async with gateway(own_server.url, database) as desk:
        own_server.kill()
        await until(lambda: not desk.healthy)
        for name in ("c", "d"):
            desk.expect(name)
        waiting = asyncio.create_task(desk.wait("c", 60.0))
        await until(lambda: len(database.asked) >= 5)
        assert all(later - asked > module.DATABASE_LOOK / 2 for asked, later in pairwise(database.asked))
        database.decisions["c"] = decision("c")
        assert await asyncio.wait_for(waiting, PATIENCE) == decision("c")
        assert await desk.find("c") == decision("c")
        database.down = True
        started = time.monotonic()
        assert await desk.wait("d", 0.5) is None
        assert time.monotonic() - started < 5
        with pytest.raises(UnavailableError):
            await desk.find("d")


async def test_a_gateway_can_start_before_redis(own_server: Server, database: Database) -> None:
    own_server.kill()
    started = time.monotonic()
    async with gateway(own_server.url, database) as desk:
        assert time.monotonic() - started < 10
        assert not desk.healthy
        own_server.start()
        await until(lambda: desk.healthy)


async def test_what_was_told_while_the_channel_was_broken_is_found_as_soon_as_it_is_back(
    own_server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_looks(monkeypatch)
    client = connect(own_server.url)
    async with Wire(own_server.url) as wire, gateway(own_server.url, database, wire.url) as desk:
        wire.hold()
        wire.cut()
        await until(lambda: not desk.healthy)
        desk.expect("c")
        await RedisAnswers(client).tell([answer("c", desk)])
        waiting = asyncio.create_task(desk.wait("c", 60.0))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        wire.let_go()
        assert told(await asyncio.wait_for(waiting, PATIENCE)) == told(decision("c"))
    await close(client)


async def test_a_deaf_channel_is_noticed_and_made_anew_and_nobody_waits_for_it(
    own_server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.3)
    client = connect(own_server.url)
    answers = RedisAnswers(client)
    async with Wire(own_server.url) as wire, gateway(own_server.url, database, wire.url) as desk:
        with pytest.raises(AssertionError):
            await until(lambda: not desk.healthy, seconds=1.2)  # silence alone is no deafness
        wire.hold()
        desk.expect("c")
        await answers.tell([answer("c", desk)])
        assert told(await asyncio.wait_for(desk.wait("c", 60.0), PATIENCE)) == told(decision("c"))
        await until(lambda: not desk.healthy)
        wire.let_go()
        await until(lambda: desk.healthy)
    await close(client)


async def test_telling_never_fails_and_gives_up_in_time(own_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with Wire(own_server.url) as wire:
        client = connect(wire.url, socket_timeout=5.0)
        answers = RedisAnswers(client)
        await answers.tell([])
        await answers.tell([answer("c")])
        wire.hold()
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                started = time.monotonic()
                await answers.tell([answer("c")])
                assert time.monotonic() - started < 5
            wire.let_go()
            own_server.kill()
            for _ in range(2):
                await answers.tell([answer("c")])
        assert [each.name for each in caplog.records].count("devconnect.adapters.redis.answers") == 1, "it is said once"
        own_server.start()
        await answers.tell([answer("d")])
        assert await client.get(keys.answer("d"))
        await close(client)


async def test_a_stopped_desk_looks_once_more_for_who_waits(world: World) -> None:
    _, answers, desk = world
    desk.expect("c")
    waiting = asyncio.create_task(desk.wait("c", 0.5))
    await asyncio.sleep(0)
    await desk.stop()
    assert not desk.healthy
    await answers.tell([answer("c", desk)])
    assert told(await waiting) == told(decision("c"))


async def test_thousands_wait_at_once(client: Client, servers: dict[str, Server], database: Database) -> None:
    url = servers["cluster" if "Cluster" in type(client).__name__ else "alone"].url
    async with gateway(url, database) as desk:
        names = [f"c{number}" for number in range(2_000)]
        for name in names:
            desk.expect(name)
        waiting = [asyncio.create_task(desk.wait(name, 20.0)) for name in names]
        await asyncio.sleep(0)
        answers = RedisAnswers(client, within=20.0)
        for start in range(0, 2_000, 100):
            await answers.tell([answer(name, desk) for name in names[start : start + 100]])
        found = await asyncio.gather(*waiting)
        assert [each and each.id for each in found] == names


async def test_a_connection_that_never_answers_is_given_up_for_a_new_one(
    own_server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.2)
    monkeypatch.setattr(module, "CONNECT", 0.3)
    async with Wire(own_server.url) as wire, gateway(own_server.url, database, wire.url) as desk:
        wire.hold()
        await until(lambda: not desk.healthy)
        await asyncio.sleep(0.2)
        wire.strand()
        await until(lambda: desk.healthy)


async def test_many_who_wait_are_looked_up_together(
    own_server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = connect(own_server.url)
    async with Wire(own_server.url) as wire, gateway(own_server.url, database, wire.url) as desk:
        wire.hold()
        names = [f"c{number}" for number in range(500)]
        await RedisAnswers(client, within=20.0).tell([answer(name, desk) for name in names])
        await client.config_resetstat()
        waiting = [asyncio.create_task(desk.wait(name, 20.0)) for name in names]
        assert [each and each.id for each in await asyncio.gather(*waiting)] == names
        stats = await client.info("commandstats")
        assert stats["cmdstat_get"]["calls"] == 500
        assert database.asked == []
        wire.strand()
    await close(client)


async def test_a_fault_in_the_database_does_not_stop_the_looks(
    own_server: Server, database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: str) -> Decision | None:
        raise ValueError("a fault")

    async with gateway(own_server.url, database) as desk:
        own_server.kill()
        await until(lambda: not desk.healthy)
        waiting = asyncio.create_task(desk.wait("c", 60.0))
        monkeypatch.setattr(desk, "_fallback", broken)
        await until(lambda: "could not be looked up" in caplog.text)
        monkeypatch.setattr(desk, "_fallback", database)
        database.decisions["c"] = decision("c")
        assert await asyncio.wait_for(waiting, PATIENCE) == decision("c")


async def test_a_result_that_is_taken_back_is_found_by_nobody(client: Client) -> None:
    answers = RedisAnswers(client)
    await answers.tell([Answer(name, "", decision(name)) for name in ("one", "two")])
    await answers.forget(["one", "never"])
    assert await client.get(keys.answer("one")) is None
    assert await client.get(keys.answer("two")) is not None
    await answers.forget([])
