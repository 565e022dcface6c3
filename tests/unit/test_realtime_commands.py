"""What is asked over sockets: with the same outcome as over HTTP, and answered whatever it is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from msgspec.structs import replace as replaced

from devconnect.domain.allowances import Policies, Quota
from tests.unit.realtime_house import STRANGER, Salon, code, pair, room, said, salon
from tests.unit.web_fakes import PLENTY
from tests.unit.web_house import Person
from web.gateway import Parts
from web.realtime.clients import COMMANDS, EVENTS

__all__ = ["pair", "room"]


def small(parts: Parts) -> Parts:
    """Two messages and two other commands a minute; more for the bigger tier."""
    little = replaced(PLENTY, messages=Quota(2, 60), writes=Quota(2, 60))
    more = replaced(PLENTY, messages=Quota(4, 60))
    return replace(parts, policies=Policies(free=little, silver=more, strangers=Quota(1000, 60)))


# -- commands


async def test_each_command_is_that_of_http(room: Salon, pair: tuple[Person, Person]) -> None:
    """One that was given over HTTP with a key is repeated over a socket, and nothing happens twice."""
    ada, bob = pair
    mine, other = await room.sit(ada), await room.sit(bob)
    first = await said(room, mine, bob)
    seq, talk = first["seq"], f"/v1/conversations/{bob.id}"
    back = f"/v1/conversations/{ada.id}"
    note = (await bob.ask("GET", "/v1/me/notifications")).json["items"][0]["id"]
    asked = {
        "send_message": (ada, mine, "POST", f"{talk}/messages", {"text": "Hi"}, {"to": bob.id, "text": "Hi"}),
        "edit_message": (
            *(ada, mine, "PATCH", f"{talk}/messages/{seq}", {"text": "Ha"}),
            {"peer": bob.id, "message": seq, "text": "Ha"},
        ),
        "mark_delivered": (bob, other, "POST", f"{back}/delivered", {"up_to": seq}, {"peer": ada.id, "up_to": seq}),
        "mark_read": (bob, other, "POST", f"{back}/read", {"up_to": seq}, {"peer": ada.id, "up_to": seq}),
        "delete_message": (ada, mine, "DELETE", f"{talk}/messages/{seq}", None, {"peer": bob.id, "message": seq}),
        "mark_notifications_read": (
            *(bob, other, "POST", "/v1/me/notifications/read", {"notifications": [note]}),
            {"notifications": [note]},
        ),
    }
    assert set(asked) == {event.name for event in COMMANDS}
    for name, (person, seat, method, path, body, payload) in asked.items():
        over_http = await person.ask(method, path, body, key="k1")
        ack = await room.ask(seat, name, {**payload, "key": "k1"})
        assert ack["command"] == over_http.headers["Command-Id"], name
        assert (ack["status"], ack["result"]) == (over_http.status, over_http.json), name
        assert "read_after" in ack
        over_socket = await room.ask(seat, name, {**payload, "key": "k2"})
        assert over_socket["command"] != ack["command"]
        again = await person.ask(method, path, body, key="k2")
        assert again.headers["Command-Id"] == over_socket["command"], name


async def test_a_key_that_was_used_for_another_thing_is_refused(room: Salon, pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    mine = await room.sit(ada)
    await said(room, mine, bob, key="k1")
    assert code(await room.ask(mine, "send_message", {"to": bob.id, "text": "another", "key": "k1"})) == (
        "idempotency_key_reused"
    )
    # Without a key each is another one.
    assert (await said(room, mine, bob))["id"] != (await said(room, mine, bob))["id"]


async def test_rules_are_those_of_http(room: Salon, pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    mine = await room.sit(ada)
    eve = await room.house.person("eve")
    for payload, wanted in (
        ({"to": eve.id, "text": "Hi"}, "not_connected"),
        ({"to": "bob", "text": "Hi"}, "user_unknown"),
        ({"to": bob.id, "text": " "}, "invalid_body"),
        ({"to": bob.id, "text": "Hi", "key": "k1\n"}, "invalid_body"),
    ):
        assert code(await room.ask(mine, "send_message", payload)) == wanted, payload
    assert code(await room.ask(mine, "edit_message", {"peer": bob.id, "message": 7, "text": "x"})) == "message_unknown"
    assert (await bob.ask("PUT", f"/v1/blocks/{ada.id}")).status < 300
    assert code(await room.ask(mine, "send_message", {"to": bob.id, "text": "Hi"})) == "not_connected"


async def test_a_failure_of_ours_is_acknowledged_and_says_nothing_of_our_insides(
    room: Salon, pair: tuple[Person, Person], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for ever for an answer: neither of what fails at once nor of what fails later."""
    ada, bob = pair
    mine = await room.sit(ada)

    async def fail(*_: Any) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(room.live, "tell", fail)
    monkeypatch.setattr(room.gateway.commander, "outcome", fail)
    for name, payload in (("typing", {"to": bob.id}), ("send_message", {"to": bob.id, "text": "Hi"})):
        ack = await room.ask(mine, name, payload)
        assert (ack["status"], code(ack)) == (500, "internal_error")
        assert "secret" not in str(ack)
        assert ack["problem"]["detail"].rstrip(".").rpartition(" ")[2] in caplog.text


async def test_quotas_are_one_for_all_ways(pair_of_small: tuple[Salon, Person, Person]) -> None:
    room, ada, bob = pair_of_small
    mine = await room.sit(ada)
    await said(room, mine, bob)
    path = f"/v1/conversations/{bob.id}/messages"
    assert (await ada.ask("POST", path, {"text": "Hi"})).status == 201
    ack = await room.ask(mine, "send_message", {"to": bob.id, "text": "one too many"})
    assert (ack["status"], code(ack)) == (429, "rate_limited")
    assert 1 <= ack["retry_after"] <= 60
    assert (await ada.ask("POST", path, {"text": "Hi"})).status == 429


async def test_a_repeat_is_counted_once(pair_of_small: tuple[Salon, Person, Person]) -> None:
    room, ada, bob = pair_of_small
    mine = await room.sit(ada)
    first = await said(room, mine, bob, key="k1")
    for _ in range(5):
        assert await said(room, mine, bob, key="k1") == first
    await said(room, mine, bob, key="k2")


async def test_another_tier_holds_from_the_next_event_on(pair_of_small: tuple[Salon, Person, Person]) -> None:
    room, ada, bob = pair_of_small
    mine = await room.sit(ada)
    for _ in range(2):
        await said(room, mine, bob)
    assert code(await room.ask(mine, "send_message", {"to": bob.id, "text": "Hi"})) == "rate_limited"
    room.house.world.put(replaced(room.house.world.user(ada.id), tier="silver"))
    await said(room, mine, bob)


@pytest.fixture
async def pair_of_small() -> AsyncIterator[tuple[Salon, Person, Person]]:
    async with salon(small) as room:
        ada, bob = await room.house.friends()
        yield room, ada, bob


async def test_what_isnt_decided_yet_is_told_as_accepted(room: Salon, pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    mine = await room.sit(ada)
    room.house.world.undecided = True
    ack = await room.ask(mine, "send_message", {"to": bob.id, "text": "Hi"})
    assert ack["status"] == 202
    assert (await ada.ask("GET", f"/v1/commands/{ack['command']}")).json["status"] == "pending"


async def test_what_kafka_doesnt_take_is_told_and_not_counted(pair_of_small: tuple[Salon, Person, Person]) -> None:
    room, ada, bob = pair_of_small
    mine = await room.sit(ada)
    room.house.world.kafka_down = True
    for _ in range(5):
        ack = await room.ask(mine, "send_message", {"to": bob.id, "text": "Hi"})
        assert (ack["status"], code(ack), ack["retry_after"]) == (503, "kafka_unavailable", 1)
    room.house.world.kafka_down = False
    for _ in range(2):
        await said(room, mine, bob)


async def test_without_stores_it_is_said_so(room: Salon, pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    mine = await room.sit(ada)
    room.house.cache.state = room.house.database.state = "down"
    for name, payload in (("send_message", {"to": bob.id, "text": "Hi"}), ("typing", {"to": bob.id})):
        ack = await room.ask(mine, name, payload)
        assert (ack["status"], code(ack), ack["retry_after"]) == (503, "store_unavailable", 1)


# -- what is no event


@pytest.mark.parametrize("name", EVENTS)
async def test_an_event_has_one_argument_which_is_as_it_must_be(room: Salon, name: str) -> None:
    mine = await room.sit(await room.house.person("ada"))
    for args in ([], [None], [7], ["text"], [[]], [{}, {}], [{"what": 1}], [{}]):
        ack = await room.ask(mine, name, *args)
        assert (ack["status"], code(ack)) == (400, "invalid_body"), args
    assert room.house.world.sent[2:] == []


async def test_what_nobody_knows_is_said_to_be_unknown(room: Salon) -> None:
    mine = await room.sit(await room.house.person("ada"))
    for name in ("", "connect", "disconnect", "message", "__init__"):
        ack = await room.ask(mine, name, {})
        assert (ack["status"], code(ack)) == (404, "event_unknown")


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ids = st.sampled_from(("a" * 32, STRANGER, "A" * 32, "x", ""))
fields = st.dictionaries(
    st.sampled_from(("key", "to", "text", "peer", "message", "up_to", "notifications", "users", "typing")),
    json | ids | st.integers(-1, 2**53) | st.lists(ids, max_size=3) | st.text(max_size=5000),
    max_size=5,
)
names = st.sampled_from([*EVENTS]) | st.text(max_size=8)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(names, st.lists(fields | json, max_size=2)), min_size=30, max_size=60))
def test_whatever_comes_is_answered(asked: list[tuple[str, list[Any]]]) -> None:
    async def ask() -> None:
        async with salon() as room:
            mine = await room.sit(await room.house.person("ada"))
            for name, args in asked:
                room.later += 10.0
                ack = await room.ask(mine, name, *args)
                assert 200 <= ack["status"] < 600
                assert ack["status"] != 500

    asyncio.run(ask())
