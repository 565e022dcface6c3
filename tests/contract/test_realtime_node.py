"""npm's socket.io-client in Node against the real server."""

import pytest

from tests.clients.node import installed, node_client
from tests.contract.socket_house import refuse, sockets_on
from tests.waiting import until
from web.realtime.frames import encode_event


@pytest.fixture(autouse=True, scope="module")
def clients() -> None:
    """npm's client is there."""
    installed()


async def test_npms_client_has_events_acknowledgements_and_comes_back_after_a_drain() -> None:
    async with sockets_on() as house:
        options = {"transports": ["websocket"], "auth": {"token": "t"}, "reconnectionDelay": 50}
        async with node_client(house.address, **options) as client:
            assert (await client.saw("connect"))["transport"] == "websocket"
            assert house.desk.auths == [{"token": "t"}]
            await client.saw("event", name="hello", args=[{"n": 1}])
            for number in range(100):
                client.tell("emit", name="say", args=[number, {"text": "ä"}], ack=number + 1)
            await client.saw("ack", ack=100, error=None, answer=["say", 99, {"text": "ä"}])
            assert [args[0] for _, args in house.desk.events] == list(range(100))
            house.sockets.send(house.sockets, encode_event("message", b'{"id":"' + b"\xc3\xa4" * 40_000 + b'"}'))
            await client.saw("event", name="message", args=[{"id": "ä" * 40_000}])
            house.desk.connected[0].close("restart")
            await client.saw("disconnect", reason="transport close")
            await until(lambda: len(house.desk.connected) == 2)
            await house.sockets.drain(0.5)
            await client.saw("event", name="reconnect")
            await until(lambda: not len(house.sockets))


async def test_npms_client_is_told_why_it_is_refused_and_stays_away_after_a_farewell() -> None:
    async with sockets_on() as house:
        house.desk.connecting = refuse
        async with node_client(house.address, transports=["websocket"]) as client:
            data = {"code": "not_logged_in", "detail": "Log in first."}
            await client.saw("connect_error", message="Log in first.", data=data)
        house.desk.connecting = None
        async with node_client(house.address, transports=["websocket"]) as client:
            await client.saw("connect")
            house.desk.connected[0].close("session_ended", final=True)
            await client.saw("disconnect", reason="io server disconnect")
            client.tell("active")
            await client.saw("active", active=False)
            assert house.count("sockets_closed", "session_ended") == 1


async def test_npms_client_may_poll_and_change_to_a_websocket_where_that_is_turned_on() -> None:
    async with sockets_on(transports=("websocket", "polling"), ping=0.3) as house:
        async with node_client(house.address, transports=["polling"]) as client:
            assert (await client.saw("connect"))["transport"] == "polling"
            client.tell("emit", name="say", args=[1], ack=1)
            await client.saw("ack", ack=1, answer=["say", 1])
            client.tell("disconnect")
            await until(lambda: len(house.desk.gone) == 1)
        async with node_client(house.address, transports=["polling", "websocket"]) as client:
            await client.saw("connect")
            await client.saw("upgrade", transport="websocket")
            for number in range(20):
                house.sockets.send(house.sockets, encode_event("message", b"%d" % number))
            client.tell("emit", name="say", args=[1], ack=1)
            await client.saw("ack", ack=1, answer=["say", 1])
            await client.saw("event", name="message", args=[19])
            messages = [one["args"][0] for one in client.seen if one.get("name") == "message"]
            assert messages == list(range(20))


async def test_npms_client_answers_pings() -> None:
    async with sockets_on(ping=0.2, ping_timeout=2.0) as house, node_client(house.address, transports=["websocket"]):
        await until(lambda: len(house.sockets) == 1)
        end = next(iter(house.sockets._server.eio.sockets.values()))
        began = end._due
        # What is due next is that much later only if pings were answered: the first one that isn't ends it.
        await until(lambda: end._due > began + 3 or end.closed)
        assert not end.closed
        assert not house.desk.gone
