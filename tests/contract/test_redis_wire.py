"""The gateway's own connection to Redis: it answers as redis-py does, fails soon, and comes back by itself."""

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis import Redis as SyncRedis

from devconnect.adapters.redis import calls, keys, lua
from devconnect.adapters.redis.calls import run, run_all
from devconnect.adapters.redis.connect import close, connect, connect_fast, ping
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.adapters.redis.table_views import RedisTableViews
from devconnect.adapters.redis.wire import Wire
from devconnect.ports.truth import UnavailableError
from devconnect.stack.ports import LOOPBACK
from tests.contract.redis_fixtures import Server, Wire as Proxy, own_server, servers
from tests.contract.redis_samples import everything, message, pages, signed_up
from tests.contract.test_redis_outage import all_unavailable, every_call, timed
from tests.contract.test_redis_projections import a_bit_of_everything
from tests.waiting import until, until_done

__all__ = ["own_server", "servers"]

PEM = Path(__file__).with_name("localhost.pem")


@pytest.fixture
async def wire(servers: dict[str, Server]) -> AsyncIterator[Wire]:
    """A wire to an empty server."""
    wire = Wire(servers["alone"].url, deadline=5.0)
    await run(wire, [("FLUSHALL",)])
    yield wire
    await wire.aclose()


async def test_whatever_is_written_and_read_over_it_is_as_over_redis_py(servers: dict[str, Server], wire: Wire) -> None:
    others = connect(servers["alone"].url)
    for writer in (others, wire):
        await run(wire, [("FLUSHALL",), ("SCRIPT", "FLUSH")])
        views = RedisTableViews(writer)
        await RedisProjections(writer).apply([*a_bit_of_everything(), *map(message, range(3, 90))])
        await RedisProjections(writer).declare_complete()
        assert await RedisProjections(writer).complete()
        assert await RedisProjections(writer).sessions_known()
        await views.publish("user_activity", 0, [(f"u|u{n}", (1, n, 2, 3), 256 + n) for n in range(9)], 1)
        await views.publish("active_users", 0, [(f"u|300|u{n}", (1,), 256) for n in range(9)], 1)
        found = []
        for client in (others, wire):
            reads = RedisReads(client)
            tables = [
                await pages(lambda cursor, limit, reads=reads, name=name: reads.table(name, cursor, limit))
                for name in ("user_activity", "active_users")
            ]
            known = [await RedisProjections(client).sessions_known(), await views.published("user_activity", 0)]
            found.append((await everything(reads), tables, known, await reads.history_json("ada.bob", None, 50)))
        assert found[0] == found[1]
        assert found[0][0]["history ada.bob"]
        assert found[0][3]
    await close(others)


async def test_a_cluster_and_only_a_cluster_gets_redis_py(servers: dict[str, Server]) -> None:
    for name, server in servers.items():
        client = connect_fast(server.url)
        assert isinstance(client, Wire) is (name == "alone")
        await ping(client)
        await close(client)


async def test_texts_and_bytes_are_told_apart_call_by_call(wire: Wire) -> None:
    await run(wire, [("SET", "k", "Grüße"), ("HSET", "h", "a", "b")])
    raw: list[Any] = ["Grüße".encode(), {b"a": b"b"}, None]
    asked: Any = [("GET", "k"), ("HGETALL", "h"), ("GET", "none")]
    found = await asyncio.gather(*(run(wire, asked, raw=n % 2 == 1) for n in range(20)))
    assert found == [["Grüße", {"a": "b"}, None], raw] * 10


async def test_redis_py_gives_bytes_too_where_they_are_asked_for(servers: dict[str, Server]) -> None:
    for server in servers.values():
        client = connect(server.url)
        await run(client, [("SET", "k", "Grüße"), ("DEL", "h"), ("HSET", "h", "a", "b")])
        assert await run(client, [("GET", "k"), ("HGETALL", "h")], raw=True) == ["Grüße".encode(), {b"a": b"b"}]
        await close(client)


async def test_scripts_that_are_lost_are_loaded_again_and_witnesses_are_not(wire: Wire) -> None:
    projections = RedisProjections(wire)
    await projections.apply([*signed_up("ada"), message(1)])
    await projections.declare_complete()
    await run(wire, [("SCRIPT", "FLUSH")])
    assert not await projections.sessions_known()
    await asyncio.gather(*(projections.apply([message(n)]) for n in range(2, 20)))
    assert await run(wire, [lua.SESSIONS_KNOWN([keys.EPOCH]), ("GET", "none")]) == [None, None]
    await projections.declare_sessions_known()
    assert (await run(wire, [lua.SESSIONS_KNOWN([keys.EPOCH])]))[0] is not None


async def test_scripts_that_are_lost_over_and_over_are_given_up_on(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def not_at_all(_: object) -> None:
        return None

    monkeypatch.setattr(calls, "load", not_at_all)
    await run(wire, [("SCRIPT", "FLUSH")])
    with pytest.raises(UnavailableError, match="scripts"):
        await RedisProjections(wire).apply([message(1)])


async def test_a_fault_of_ours_stays_one_and_costs_nobody_else_anything(wire: Wire) -> None:
    await run(wire, [("SET", "k", "v")])
    bad = run(wire, [("LPUSH", "k", "v")])
    found: list[Any] = await asyncio.gather(bad, run(wire, [("GET", "k")]), return_exceptions=True)
    assert "WRONGTYPE" in str(found[0])
    assert not isinstance(found[0], UnavailableError)
    assert found[1] == ["v"]


async def test_a_full_or_read_only_redis_is_unavailable(own_server: Server) -> None:
    wire = Wire(own_server.url)
    for spoil, mend in (
        (("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0)),
        (("REPLICAOF", LOOPBACK, "1"), ("REPLICAOF", "NO", "ONE")),
    ):
        await run(wire, [spoil])
        with pytest.raises(UnavailableError):
            await run(wire, [("SET", "k", "v")])
        await run(wire, [mend])
        await run(wire, [("SET", "k", "v")])
    await wire.aclose()


async def test_a_cancelled_call_never_makes_another_call_get_its_answer(own_server: Server) -> None:
    """The promise that redis-py once broke (#2624, #2665): the answer still to come was the next caller's."""
    async with Proxy(own_server.url) as proxy:
        wire = Wire(proxy.url, deadline=5.0)
        await run(wire, [("MSET", "ada", "ada", "bob", "bob")])

        async def ask(name: str) -> Any:
            return (await run(wire, [("GET", name)]))[0]

        generation = wire.generation
        # Cancelled at each step that the call takes, and while its answer is on the way.
        for steps in range(40):
            proxy.hold()
            cancelled = asyncio.create_task(ask("ada"))
            for _ in range(steps % 20):
                await asyncio.sleep(0)
            if steps >= 20:
                await asyncio.sleep(0.002)
            others = [asyncio.create_task(ask(name)) for name in ("bob", "ada", "bob")]
            await asyncio.sleep(0)
            cancelled.cancel()
            proxy.let_go()
            await asyncio.wait({cancelled})
            assert cancelled.cancelled()
            assert await asyncio.gather(*others) == ["bob", "ada", "bob"]
            assert await ask("bob") == "bob"
        assert wire.generation == generation
        await wire.aclose()


async def test_a_redis_that_hangs_fails_every_call_soon_and_answers_nobody_wrongly_afterwards(
    own_server: Server,
) -> None:
    wire = Wire(own_server.url)
    projections, reads = RedisProjections(wire), RedisReads(wire)
    await projections.apply([*signed_up("ada"), *signed_up("bob")])
    await projections.declare_complete()
    own_server.signal(signal.SIGSTOP)
    await all_unavailable(wire, 0.3)
    outcomes = await asyncio.gather(*(timed(reads.users(["ada"])) for _ in range(100)))
    assert all(isinstance(outcome, UnavailableError) and seconds < 0.3 for outcome, seconds in outcomes)
    own_server.signal(signal.SIGCONT)
    await until_back(wire)
    for user in ("bob", "ada") * 70:
        (view,) = await reads.users([user])
        assert view is not None
        assert view.id == view.email.removesuffix("@x") == user
    await wire.aclose()


async def until_back(wire: Wire) -> None:
    await until_done(lambda: ping(wire), UnavailableError)


async def test_a_redis_that_was_killed_is_unavailable_at_once_and_comes_back_by_itself(own_server: Server) -> None:
    wire = Wire(own_server.url)
    await run(wire, [("SET", "k", "v")])
    own_server.kill()
    await all_unavailable(wire, 0.3)
    own_server.start()
    await until_back(wire)
    assert await run(wire, [("GET", "k")]) == ["v"]
    await wire.aclose()


async def test_where_nothing_listens_calls_fail_at_once() -> None:
    wire = Wire("redis://127.0.0.1:1")
    await all_unavailable(wire, 0.3)
    await wire.aclose()
    with pytest.raises(UnavailableError, match="closed"):
        await ping(wire)


async def test_a_connection_that_was_cut_is_made_again_and_what_was_called_fails(own_server: Server) -> None:
    async with Proxy(own_server.url) as proxy:
        wire = Wire(proxy.url, deadline=30.0)
        for number in range(5):
            await until_back(wire)
            generation = wire.generation
            proxy.hold()
            waiting = [asyncio.create_task(timed(run(wire, [("GET", "k")]))) for _ in range(10)]
            await asyncio.sleep(0.01)
            proxy.cut()
            proxy.let_go()
            for outcome, seconds in await asyncio.gather(*waiting):
                assert isinstance(outcome, UnavailableError), number
                assert seconds < 5.0, "nobody waits for the deadline"
            assert wire.generation > generation
        await wire.aclose()


async def test_closing_fails_what_is_called_and_ends_the_connection(own_server: Server) -> None:
    wire = Wire(own_server.url, deadline=5.0)
    await ping(wire)
    own_server.signal(signal.SIGSTOP)
    waiting = asyncio.create_task(timed(ping(wire)))
    await asyncio.sleep(0.01)
    await wire.aclose()
    outcome, _ = await waiting
    assert isinstance(outcome, UnavailableError)
    await wire.aclose()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_was_busy_for_longer_than_a_call_may_take_reads_what_came_first(
    servers: dict[str, Server], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    class Busy(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            time.sleep(0.15)  # the loop is to be busy

    async def main() -> None:
        wire = Wire(servers["alone"].url, deadline=0.1)
        await run(wire, [("SET", "k", "v")])
        here, there = socket.socketpair()
        await asyncio.get_running_loop().create_connection(Busy, sock=here)
        generation = wire.generation
        for steps in range(6):
            asked = asyncio.create_task(run(wire, [("GET", "k")]))
            for _ in range(steps // 2):
                await asyncio.sleep(0)
            there.send(b"!")
            assert await asked == ["v"]
        assert wire.generation == generation
        there.close()
        await wire.aclose()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def test_much_that_is_sent_to_a_server_that_does_not_take_it_waits_and_gets_there(own_server: Server) -> None:
    async with Proxy(own_server.url) as proxy:
        wire = Wire(proxy.url, deadline=10.0)
        await ping(wire)
        proxy.hold()
        value = "x" * 500_000
        sent = [asyncio.create_task(run(wire, [("SET", f"k{n}", value), ("GET", f"k{n}")])) for n in range(40)]
        await asyncio.sleep(0.05)
        refused = [task for task in sent if task.done()]
        assert 0 < len(refused) < 20, "there is a bound on what waits"
        proxy.let_go()
        for task in sent:
            if task in refused:
                assert isinstance(task.exception(), UnavailableError)
            else:
                assert await task == ["OK", value]
        await wire.aclose()


async def test_any_number_of_commands_is_answered_in_order(wire: Wire) -> None:
    count = 5 * calls.CHUNK + 1
    await run_all(wire, [("SET", f"k{n}", n) for n in range(count)])
    assert await run_all(wire, [("GET", f"k{n}") for n in range(count)]) == [str(n) for n in range(count)]


async def test_user_password_and_database_are_those_of_the_address(own_server: Server) -> None:
    with SyncRedis(host=LOOPBACK, port=own_server.port) as admin:
        admin.execute_command("ACL", "SETUSER", "gate", "on", ">pä ss", "~*", "+@all")
        admin.set("k", "zero")
        admin.execute_command("SELECT", 3)
        admin.execute_command("CONFIG", "SET", "requirepass", "s3cret")
    place = f"{LOOPBACK}:{own_server.port}"
    named, default = Wire(f"redis://gate:p%C3%A4%20ss@{place}/3"), Wire(f"redis://:s3cret@{place}")
    await run(named, [("SET", "k", "three")])
    assert await run(default, [("GET", "k"), ("ACL", "WHOAMI")]) == ["zero", "default"]
    assert await run(named, [("GET", "k"), ("ACL", "WHOAMI")]) == ["three", "gate"]
    for wrong in (f"redis://gate:no@{place}", f"redis://{place}"):
        wire = Wire(wrong)
        outcome, _ = await timed(ping(wire))
        assert isinstance(outcome, UnavailableError)
        assert "no@" not in str(outcome)
        await wire.aclose()
    for wire in (named, default):
        await wire.aclose()


async def test_a_socket_of_unix_is_an_address_too(own_server: Server, tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _pass(reader, writer, own_server.port)

    server = await asyncio.start_unix_server(passed, path)
    wire = Wire(f"unix://{path}?db=2")
    await run(wire, [("SET", "k", "two")])
    with SyncRedis(host=LOOPBACK, port=own_server.port, db=2) as redis:
        assert redis.get("k") == b"two"
    await wire.aclose()
    server.close()


async def test_tls_is_spoken_and_the_certificate_is_checked(own_server: Server) -> None:
    async with _tls(own_server.port) as port:
        trusting = Wire(f"rediss://localhost:{port}/1?ssl_ca_certs={PEM}", connect_timeout=5.0, deadline=5.0)
        careless = Wire(f"rediss://{LOOPBACK}:{port}?ssl_cert_reqs=none", connect_timeout=5.0, deadline=5.0)
        checking = Wire(f"rediss://localhost:{port}", connect_timeout=5.0, deadline=5.0)
        await run(trusting, [("SET", "k", "one")])
        assert await run(careless, [("SELECT", 1), ("GET", "k")]) == ["OK", "one"]
        with pytest.raises(UnavailableError, match=r"(?i)certificate"):
            await ping(checking)
        for wire in (trusting, careless, checking):
            await wire.aclose()


@asynccontextmanager
async def _tls(port: int) -> AsyncIterator[int]:
    """A proxy that speaks TLS; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _pass(reader, writer, port)

    server = await asyncio.start_server(passed, LOOPBACK, 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    there, back = await asyncio.open_connection(LOOPBACK, port)

    async def one_way(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
        target.close()

    await asyncio.gather(one_way(reader, back), one_way(there, writer), return_exceptions=True)


async def test_every_read_works_on_it(wire: Wire) -> None:
    await RedisProjections(wire).declare_complete()
    for name, call in every_call(wire).items():
        outcome, _ = await timed(call)
        assert not isinstance(outcome, Exception), (name, outcome)


async def test_a_first_call_waits_for_the_connection_and_later_ones_do_not(own_server: Server) -> None:
    own_server.signal(signal.SIGSTOP)
    wire = Wire(own_server.url, connect_timeout=5.0)
    outcome, _ = await timed(ping(wire))
    assert isinstance(outcome, UnavailableError)
    own_server.signal(signal.SIGCONT)
    await until_back(wire)
    await until(lambda: wire.proven > 0)
    await wire.aclose()
