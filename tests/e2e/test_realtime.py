"""Sockets from outside: told at once, of everything, in order, once; by nobody but who is logged in."""

import asyncio
from typing import Any

import pytest
import socketio

from tests.contract.receivers import Browser, text
from tests.e2e.devices import Device, device
from tests.e2e.people import Person, join
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(240)


async def test_a_message_and_its_receipts_are_told_to_all_devices_of_both(pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    async with device(ada) as laptop, device(ada) as phone, device(bob) as other:
        sent = await laptop.does("send_message", {"to": bob.user, "text": "Hello, Bob!"})
        for each in (laptop, phone, other):
            told = await each.hears(lambda each=each: each.of("message"))
            assert [one["data"] for one in told] == [sent]
        moved = await other.does("mark_delivered", {"peer": ada.user, "up_to": sent["seq"]})
        assert moved["unread"] == 1
        await other.does("mark_read", {"peer": ada.user, "up_to": sent["seq"]})
        for each in (laptop, phone, other):
            await each.hears(lambda each=each: len(each.of("status")) == 2)
            assert [(one["data"]["user"], one["data"]["state"]) for one in each.of("status")] == [
                (bob.user, "delivered"),
                (bob.user, "read"),
            ]
        await other.hears(
            lambda: [one for one in other.of("notification") if one["data"]["kind"] == "message_received"]
        )


async def test_a_device_that_was_away_is_told_what_it_has_missed_and_that_this_is_all(
    pair: tuple[Person, Person],
) -> None:
    ada, bob = pair
    away = await Device(bob).open()
    ada.say(bob, "one")
    await away.hears(lambda: away.texts == ["one"])
    await away.close()
    for number in range(30):
        ada.say(bob, f"missed {number}")
    await away.open()
    assert away.of("inbox")[-1]["recovered"] is True
    ada.say(bob, "live")
    await away.hears(lambda: "live" in away.texts)
    assert away.texts == ["one", *(f"missed {number}" for number in range(30)), "live"]
    away.in_order()
    await away.close()


@pytest.mark.parametrize("auth", [None, {}, {"token": "no token"}, {"token": 7}, "text", {"cursor": "x"}])
async def test_nobody_is_let_in_without_a_session(system: System, auth: Any) -> None:
    client = socketio.AsyncClient(reconnection=False)
    refusals: list[Any] = []
    client.on("connect_error", refusals.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(system.url, auth=auth, transports=["websocket"])
    await client.disconnect()
    assert refusals[0]["data"]["code"] in ("not_logged_in", "invalid_body"), refusals


async def test_a_session_that_is_ended_loses_its_sockets_and_no_others(pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    async with device(bob) as other:
        mine = await Device(ada).open()
        ada.do("DELETE", "/v1/sessions/current")
        await asyncio.wait_for(mine.closed.wait(), 1.0)
        assert mine.of("session_ended") == [{}]
        assert not other.closed.is_set()


async def test_what_is_refused_is_a_problem_in_the_acknowledgement(pair: tuple[Person, Person], system: System) -> None:
    ada, _ = pair
    [stranger] = join(system, "Eve")
    async with device(ada) as mine:
        ack = await mine.ask("send_message", {"to": stranger.user, "text": "Hi"})
        assert (ack["status"], ack["problem"]["code"]) == (403, "not_connected")
        for payload in (
            {},
            {"to": stranger.user},
            {"to": stranger.user, "text": " "},
            {"to": "x", "text": "Hi"},
            [],
            None,
            7,
        ):
            ack = await mine.ask("send_message", payload)
            assert ack["status"] in (400, 404), ack
        ack = await mine.ask("no_such_event", {})
        assert (ack["status"], ack["problem"]["code"]) == (404, "event_unknown")


async def test_a_command_with_a_key_happens_once_by_whatever_way_it_comes(pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    async with device(ada) as mine, device(bob) as other:
        wanted = {"to": bob.user, "text": "once", "key": "k-1"}
        first = await mine.does("send_message", wanted)
        assert await mine.does("send_message", wanted) == first
        again = ada.client.send(
            "POST", f"/v1/conversations/{bob.user}/messages", {"text": "once"}, token=ada.token, key="k-1"
        )
        assert again.body == first
        ack = await mine.ask("send_message", {**wanted, "text": "another"})
        assert ack["problem"]["code"] == "idempotency_key_reused"
        await mine.does("send_message", {"to": bob.user, "text": "last"})
        await other.hears(lambda: "last" in other.texts)
        assert other.texts == ["once", "last"]


async def test_messages_of_one_socket_stay_in_order_however_many_are_under_way(pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    async with device(ada) as mine, device(bob) as other:
        said = [f"message {number}" for number in range(60)]
        acks = await asyncio.gather(*(mine.ask("send_message", {"to": bob.user, "text": text}) for text in said))
        assert {ack["status"] for ack in acks} == {201}
        await other.hears(lambda: len(other.texts) == len(said))
        assert other.texts == said


async def test_typing_is_told_to_the_peer_and_to_nobody_who_isnt_connected(
    pair: tuple[Person, Person], system: System
) -> None:
    ada, bob = pair
    [stranger] = join(system, "Eve")
    async with device(ada) as mine, device(bob) as other, device(stranger) as eve:
        await mine.does("typing", {"to": bob.user})
        await other.hears(lambda: other.of("typing"))
        assert (other.of("typing")[0]["user"], other.of("typing")[0]["typing"]) == (ada.user, True)
        ack = await mine.ask("typing", {"to": stranger.user})
        assert ack["problem"]["code"] == "not_connected"
        assert eve.of("typing") == []


async def test_who_watches_is_told_who_comes_and_goes(pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    async with device(ada) as mine:
        found = await mine.does("watch_presence", {"users": [bob.user]})
        assert [one["online"] for one in found["presence"]] == [False]
        tab = await Device(bob).open()
        await mine.hears(lambda: [one["online"] for told in mine.of("presence") for one in told["presence"]] == [True])
        second = await Device(bob).open()
        await second.close()
        await tab.close()
        await mine.hears(
            lambda: [one["online"] for told in mine.of("presence") for one in told["presence"]] == [True, False]
        )


async def test_what_is_on_the_screen_isnt_pushed_and_who_asks_is_told_so(pair: tuple[Person, Person]) -> None:
    ada, bob = pair

    def pushes(notification: str) -> list[str]:
        found = bob.read(f"/v1/me/notifications/{notification}/deliveries")["items"]
        return [each["rule"] for each in found if each["channel"] == "push"]

    keys = {"p256dh": text(Browser().point), "auth": text(Browser().auth)}
    bob.do("POST", "/v1/me/push-subscriptions", {"endpoint": "https://push.example.org/bob", "keys": keys})
    async with device(bob) as mine:
        await mine.does("focus", {"peer": ada.user})
        ada.say(bob, "seen at once")
        raised = await mine.hears(
            lambda: [one["data"]["id"] for one in mine.of("notification") if one["data"]["kind"] == "message_received"]
        )
        await mine.hears(lambda: pushes(raised[0]) == ["on_screen"])
