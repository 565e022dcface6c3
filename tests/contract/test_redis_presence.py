"""Presence as each may see it, however it is asked for: over a wire in one piece, by redis-py, on a cluster."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.adapters.redis.connect import close, connect
from devconnect.adapters.redis.reads import RedisReads
from devconnect.adapters.redis.wire import Wire
from tests.contract.redis_fixtures import Server, servers

__all__ = ["servers"]

NOW = 1_900_000_000_000
AUDIENCES, STATES = "ecn", (None, "requested", "accepted", "barred", "blocked")
#: Which presences are shown: by audience and by what is between the two.
SHOWN = {("e", None), ("e", "requested"), ("e", "accepted"), ("c", "accepted")}


@pytest.fixture(params=["alone", "cluster", "wire"])
async def asking(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Client]:
    """A client of an empty server."""
    is_wire = request.param == "wire"
    url = servers["alone" if is_wire else request.param].url
    writer = connect(url, socket_timeout=5.0)
    await writer.flushall()
    await close(writer)
    client: Client = Wire(url, deadline=5.0) if is_wire else connect(url, socket_timeout=5.0)
    yield client
    await close(client)


async def put(client: Client, reader: str, people: Sequence[tuple[str, str, str | None]]) -> None:
    """People who are here until a second from now, by audience and relation."""
    commands: list[Command] = [
        ("SET", keys.online(user), f"{NOW + 1000}:{NOW - 5}:{audience}") for user, audience, _ in people
    ]
    commands += [
        ("HSET", keys.relations(reader), user, f"1|{state}|s|{NOW}") for user, _, state in people if state is not None
    ]
    await run(client, commands)


@pytest.mark.parametrize("id_of", [lambda n: f"{n:032x}", lambda n: f"person {n}é"])
async def test_presence_is_shown_to_those_whom_it_may_be_shown_to(asking: Client, id_of: Any) -> None:
    cases = [(audience, state) for audience in AUDIENCES for state in STATES]
    people = [(id_of(n), *case) for n, case in enumerate(cases)]
    reader, stranger = id_of(100), id_of(101)
    await put(asking, reader, people)
    await run(asking, [("SET", keys.online(reader), f"{NOW + 1000}:0:n")])
    ids = [user for user, _, _ in people]
    reads = RedisReads(asking)

    found = await reads.presence([*ids, reader, stranger], NOW, reader)
    assert [each.user for each in found] == [*ids, reader, stranger]
    assert [each.online for each in found] == [*(case in SHOWN for case in cases), True, False]
    assert {each.last_seen for each in found if not each.online} == {0}
    assert {each.last_seen for each in found if each.online} == {NOW}

    unseen = await reads.presence(ids, NOW, stranger)
    assert [each.online for each in unseen] == [audience == "e" for audience, _ in cases]
    assert all(each.online for each in await reads.presence(ids, NOW))


async def test_what_is_understood_once_is_only_what_is_kept(asking: Client) -> None:
    """A presence that is remembered as it was understood is that of its text: time goes on, and texts change."""
    reader, user = f"{1:032x}", f"{2:032x}"
    await put(asking, reader, [(user, "e", None)])
    reads = RedisReads(asking)
    assert (await reads.presence([user], NOW, reader))[0].online
    [gone] = await reads.presence([user], NOW + 1000, reader)
    assert (gone.online, gone.last_seen) == (False, NOW + 1000)
    await put(asking, reader, [(user, "e", "barred")])
    assert (await reads.presence([user], NOW, reader))[0].last_seen == 0
    assert await reads.presence([], NOW, reader) == []
