"""A Redis that dies, hangs or comes back, and calls that are cancelled: what is raised, how soon, and what stays."""

import asyncio
import signal
import time
from typing import Any

import pytest

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.paging import place_of
from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client, run
from devconnect.adapters.redis.connect import close, connect, ping
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.adapters.redis.table_views import RedisTableViews
from devconnect.ports.truth import UnavailableError
from tests.contract.redis_fixtures import NOW, Server, Wire, client, own_server, servers
from tests.contract.redis_samples import everything, message, notification, relation, signed_up
from tests.contract.test_redis_projections import a_bit_of_everything

__all__ = ["client", "own_server", "servers"]


def every_call(client: Client) -> dict[str, Any]:
    projections, reads, views = RedisProjections(client), RedisReads(client), RedisTableViews(client)
    return {
        "ping": ping(client),
        "apply": projections.apply([message(1)]),
        "declare_complete": projections.declare_complete(),
        "complete": projections.complete(),
        "sessions_known": projections.sessions_known(),
        "declare_sessions_known": projections.declare_sessions_known(),
        "session": reads.session("s", "ada"),
        "users": reads.users(["ada"]),
        "feed": reads.feed("ada", None, 10, ("python",)),
        "relations": reads.relations("ada", "accepted", None, 10),
        "history": reads.history("ada.bob", None, 10),
        "positions": reads.positions("ada.bob"),
        "presence": reads.presence(["ada"], NOW),
        "notifications": reads.notifications("ada", None, 10),
        "unread": reads.unread_notifications("ada"),
        "sum table": reads.table("user_activity", None, 10),
        "distinct table": reads.table("active_users", None, 10),
        "published": views.published("user_activity", 0),
        "publish": views.publish("user_activity", 0, [("u|ada", (1, 1, 1, 1), 256)], 1),
    }


async def timed(call: Any) -> tuple[Any, float]:
    started = time.monotonic()
    try:
        return await call, time.monotonic() - started
    except Exception as error:
        return error, time.monotonic() - started


async def all_unavailable(client: Client, bound: float) -> None:
    for name, call in every_call(client).items():
        outcome, seconds = await timed(call)
        assert isinstance(outcome, UnavailableError), (name, outcome)
        assert seconds < bound, name


async def test_a_redis_that_was_killed_is_unavailable_at_once_and_has_all_of_it_when_it_is_back(
    own_server: Server,
) -> None:
    client = connect(own_server.url)
    projections, reads = RedisProjections(client), RedisReads(client)
    await projections.apply(a_bit_of_everything())
    await projections.declare_complete()
    before = await everything(reads)
    own_server.kill()
    await all_unavailable(client, 0.3)
    own_server.start()
    await ping(client)
    # Log-outs may have been missed meanwhile: it is believed in nothing but ends, until they were repeated.
    assert await reads.session("ada-1", "ada") == (None, None)
    assert not await projections.sessions_known()
    await projections.declare_sessions_known()
    assert await projections.sessions_known()
    assert await everything(reads) == before
    await projections.apply([*a_bit_of_everything(), notification(3)])
    assert (await reads.unread_notifications("ada")) == (before["unread ada"] or 0)
    await close(client)


async def test_a_redis_that_is_started_anew_while_log_outs_are_repeated_gets_them_all_again(own_server: Server) -> None:
    client = connect(own_server.url)
    projections = RedisProjections(client)
    assert not await projections.sessions_known()
    own_server.kill()
    own_server.start()
    with pytest.raises(UnavailableError, match="repeat them again"):
        await projections.declare_sessions_known()
    assert not await projections.sessions_known()
    await projections.declare_sessions_known()
    assert await projections.sessions_known()
    await close(client)


async def test_a_redis_that_hangs_is_unavailable_within_the_timeouts_and_answers_nobody_wrongly_afterwards(
    own_server: Server,
) -> None:
    client = connect(own_server.url, socket_timeout=0.2)
    projections, reads = RedisProjections(client), RedisReads(client)
    await projections.apply([*signed_up("ada"), *signed_up("bob"), relation("ada", "bob", "accepted", 512)])
    await projections.declare_complete()
    own_server.signal(signal.SIGSTOP)
    await all_unavailable(client, 0.5)
    waiting = [asyncio.create_task(timed(reads.users(["ada"]))) for _ in range(100)]
    outcomes = await asyncio.gather(*waiting)
    assert all(isinstance(outcome, UnavailableError) and seconds < 1.0 for outcome, seconds in outcomes)
    own_server.signal(signal.SIGCONT)
    for user in ("bob", "ada") * 70:
        (view,) = await reads.users([user])
        assert view is not None
        assert view.id == view.email.removesuffix("@x") == user
    await close(client)


async def test_where_nothing_listens_a_client_is_unavailable() -> None:
    client = connect("redis://127.0.0.1:1")
    await all_unavailable(client, 0.3)
    await close(client)


async def test_a_full_or_read_only_redis_is_unavailable_and_a_fault_of_ours_is_not(own_server: Server) -> None:
    client: Any = connect(own_server.url)
    projections = RedisProjections(client)
    await projections.apply([message(1)])
    await client.config_set("maxmemory", 1)
    with pytest.raises(UnavailableError):
        await projections.apply([message(2)])
    await client.config_set("maxmemory", 0)
    await client.replicaof("127.0.0.1", "1")
    with pytest.raises(UnavailableError):
        await projections.apply([message(2)])
    await client.replicaof("NO", "ONE")
    await client.set(keys.ACTIVE, "no zset")
    with pytest.raises(Exception, match="WRONGTYPE") as raised:
        await RedisProjections(client).apply(signed_up("ada"))
    assert not isinstance(raised.value, UnavailableError)
    await close(client)


@pytest.mark.parametrize("calls", ["single", "pipeline", "reads"])
async def test_a_cancelled_call_never_makes_another_call_get_its_answer(own_server: Server, calls: str) -> None:
    """redis-py #2624, #2665: the connection of a cancelled call went back to the pool with the answer still to come."""
    async with Wire(own_server.url) as wire:
        client: Any = connect(wire.url, socket_timeout=5.0, max_connections=2)
        await RedisProjections(client).apply([*signed_up("ada"), *signed_up("bob")])
        await RedisProjections(client).declare_complete()
        await client.mset({"ada": "ada", "bob": "bob"})

        async def ask(name: str) -> Any:
            if calls == "single":
                return await client.get(name)
            if calls == "pipeline":
                return (await run(client, [("GET", name)]))[0]
            (view,) = await RedisReads(client).users([name])
            return view and view.email.removesuffix("@x")

        # Cancelled at each step that the call takes, and while its answer is on the way.
        for steps in range(60):
            wire.hold()
            cancelled = asyncio.create_task(ask("ada"))
            for _ in range(steps % 30):
                await asyncio.sleep(0)
            if steps >= 30:
                await asyncio.sleep(0.002)
            cancelled.cancel()
            await asyncio.sleep(0)
            wire.let_go()
            await asyncio.wait({cancelled})
            assert cancelled.cancelled() or calls == "single"
            assert await asyncio.gather(*(ask("bob") for _ in range(4))) == ["bob"] * 4
        await close(client)


async def test_a_cursor_goes_on_in_the_database(client: Client) -> None:
    projections, reads = RedisProjections(client), RedisReads(client)
    mine: list[Any] = [update for n in range(1, 5) for update in (message(n), notification(n))]
    known = [relation("ada", f"v{n}", "accepted", 512, at=NOW + n) for n in range(4)]
    await projections.apply([*mine, *known])
    await projections.declare_complete()
    relations = await reads.relations("ada", "accepted", None, 2)
    history, inbox = await reads.history("ada.bob", None, 2), await reads.notifications("ada", None, 2)
    assert relations is not None
    assert history is not None
    assert inbox is not None
    place = layout.relation_key("ada", "accepted", NOW + 2, "v2").removeprefix("ada:accepted:")
    assert place_of(layout.ALL_RELATIONS, relations.next or "") == place
    assert place_of(layout.HISTORY, history.next or "") == f"{3 * 256:016d}"
    assert place_of(layout.INBOX, inbox.next or "") == inbox.items[-1].id
