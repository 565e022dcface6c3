"""What is asked over sockets: by whom, how often, and with the same outcome as over HTTP. And who is let in, shown as
here, and sent away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from msgspec.structs import replace as replaced

from devconnect.domain.allowances import Policies, Quota
from devconnect.domain.delivering import on_screen_of
from devconnect.domain.model import Logins, User
from devconnect.events.base import pair_id
from tests.unit.realtime_house import Salon, Seat, salon
from tests.unit.web_fakes import NOON, PLENTY
from tests.unit.web_house import Person
from web.gateway import Parts
from web.realtime import guests
from web.realtime.application import FOCUS_MS
from web.realtime.clients import COMMANDS, EVENTS, TELLINGS, WATCHED_MAX
from web.realtime.guests import BURST, EACH, LOOK_MS, RATE, TELLING_BURST, TELLING_RATE

STRANGER = "f" * 32


@pytest.fixture
async def room() -> AsyncIterator[Salon]:
    async with salon() as found:
        yield found


@pytest.fixture
async def pair(room: Salon) -> tuple[Person, Person]:
    return await room.house.friends()


def small(parts: Parts) -> Parts:
    """Two messages and two other commands a minute; more for the bigger tier."""
    little = replaced(PLENTY, messages=Quota(2, 60), writes=Quota(2, 60))
    more = replaced(PLENTY, messages=Quota(4, 60))
    return replace(parts, policies=Policies(free=little, silver=more, strangers=Quota(1000, 60)))


async def said(room: Salon, seat: Seat, to: Person, text: str = "Hello", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = await room.does(seat, "send_message", {"to": to.id, "text": text, **more})
    return found


def code(ack: Any) -> str:
    """What is wrong."""
    found: str = ack["problem"]["code"]
    assert ack["status"] == ack["problem"]["status"]
    assert "result" not in ack
    return found


async def wait_for(condition: Callable[[], Any]) -> None:
    """With a deadline."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.001)


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


# -- what costs no quota


async def test_who_writes_is_told_to_a_connected_person_and_to_nobody_else(
    room: Salon, pair: tuple[Person, Person]
) -> None:
    ada, bob = pair
    eve = await room.house.person("eve")
    mine = await room.sit(ada)
    assert await room.does(mine, "typing", {"to": bob.id}) == {}
    await room.does(mine, "typing", {"to": bob.id, "typing": False})
    talk = pair_id(ada.id, bob.id)
    assert room.live.said == [
        (bob.id, "typing", {"user": ada.id, "conversation": talk, "typing": is_typing}) for is_typing in (True, False)
    ]
    for user, wanted in ((eve.id, "not_connected"), (STRANGER, "not_connected"), (ada.id, "not_connected")):
        assert code(await room.ask(mine, "typing", {"to": user})) == wanted
    assert code(await room.ask(mine, "typing", {"to": "bob"})) == "user_unknown"
    assert (await bob.ask("PUT", f"/v1/blocks/{ada.id}")).status < 300
    assert code(await room.ask(mine, "typing", {"to": bob.id})) == "not_connected"
    other = await room.sit(bob)
    assert code(await room.ask(other, "typing", {"to": ada.id})) == "not_connected"
    assert len(room.live.said) == 2


async def test_tellings_are_so_many_a_second_and_commands_are_not_counted(
    room: Salon, pair: tuple[Person, Person]
) -> None:
    ada, bob = pair
    mine, tab = await room.sit(ada), await room.sit(ada)
    for _ in range(int(TELLING_BURST)):
        await room.does(mine, "focus", {"peer": None})
    payloads = ({"to": bob.id}, {"users": [bob.id]}, {"users": [bob.id]}, {"peer": None})
    for event, payload in zip(TELLINGS, payloads, strict=True):
        ack = await room.ask(mine, event.name, payload)
        assert (ack["status"], code(ack), ack["retry_after"]) == (429, "rate_limited", 1)
    await said(room, mine, bob)
    await room.does(tab, "focus", {"peer": None})
    room.later += 1.0
    for _ in range(int(TELLING_RATE)):
        await room.does(mine, "focus", {"peer": None})
    assert code(await room.ask(mine, "focus", {"peer": None})) == "rate_limited"


async def test_a_socket_may_send_so_much_and_no_more(room: Salon) -> None:
    mine: Any = await room.sit(await room.house.person("ada"))
    assert all(room.app.may_go_on(mine) for _ in range(int(BURST)))
    assert not room.app.may_go_on(mine)
    room.later += 1.0
    assert sum(room.app.may_go_on(mine) for _ in range(2 * int(RATE))) == int(RATE)


async def test_one_that_isnt_let_in_yet_may_go_on(room: Salon) -> None:
    seat: Any = Seat(room.guests)
    assert room.app.may_go_on(seat)


async def test_what_is_on_the_screen_is_that_of_one_tab_and_for_a_while(
    room: Salon, pair: tuple[Person, Person]
) -> None:
    ada, bob = pair
    mine, tab = await room.sit(ada), await room.sit(ada)
    seen = (on_screen_of({"conversation": pair_id(ada.id, bob.id)}), NOON + FOCUS_MS)
    await room.does(mine, "focus", {"peer": bob.id})
    await room.does(tab, "focus", {"peer": bob.id})
    assert room.focus.looks == {(ada.id, mine.id): seen, (ada.id, tab.id): seen}
    room.app.on_disconnect(tab, "client")
    await asyncio.sleep(0)
    assert room.focus.looks == {(ada.id, mine.id): seen}
    assert code(await room.ask(mine, "focus", {"peer": "bob"})) == "user_unknown"
    room.focus.down = True
    assert code(await room.ask(mine, "focus", {"peer": bob.id})) == "store_unavailable"
    room.focus.down = False
    await room.does(mine, "focus", {"peer": None})
    assert room.focus.looks == {}


async def test_who_is_watched_is_told_of_until_no_longer(room: Salon, pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    mine = await room.sit(ada)
    found = await room.does(mine, "watch_presence", {"users": [bob.id, STRANGER, bob.id]})
    assert [(one["user"], one["online"]) for one in found["presence"]] == [(bob.id, True), (STRANGER, True)]
    [watcher] = room.watching.open
    assert watcher.users == {bob.id, STRANGER}
    assert await room.does(mine, "unwatch_presence", {"users": [STRANGER]}) == {}
    assert watcher.users == {bob.id}
    assert code(await room.ask(mine, "watch_presence", {"users": ["bob"]})) == "user_unknown"
    mine.leave()
    assert room.watching.open == set()


async def test_one_socket_watches_so_many_people(room: Salon) -> None:
    mine = await room.sit(await room.house.person("ada"))
    users = [f"{number:032x}" for number in range(WATCHED_MAX + 1)]
    for start in range(0, WATCHED_MAX, 100):
        await room.does(mine, "watch_presence", {"users": users[start : start + 100]})
    # Those that are watched already count once.
    await room.does(mine, "watch_presence", {"users": users[:100]})
    assert code(await room.ask(mine, "watch_presence", {"users": users[-1:]})) == "invalid_body"
    await room.does(mine, "unwatch_presence", {"users": users[:1]})
    await room.does(mine, "watch_presence", {"users": users[-1:]})


async def test_who_couldnt_be_looked_at_isnt_watched(room: Salon) -> None:
    mine = await room.sit(await room.house.person("ada"))
    users = [f"{number:032x}" for number in range(200)]
    room.watching.down = True
    for _ in range(4):
        assert code(await room.ask(mine, "watch_presence", {"users": users})) == "store_unavailable"
    assert mine.data.watcher.watched == set()


async def test_a_socket_that_goes_while_it_asks_leaves_no_watcher(room: Salon) -> None:
    ada = await room.house.person("ada")
    mine = await room.sit(ada)
    asking = asyncio.ensure_future(room.ask(mine, "watch_presence", {"users": [STRANGER]}))
    session = room.house.cache.session
    looking = asyncio.Event()

    async def slow(*args: Any) -> Any:
        looking.set()
        await asyncio.sleep(0)
        mine.leave()
        return await session(*args)

    room.house.cache.session = slow
    await looking.wait()
    assert code(await asking) == "not_logged_in"
    assert room.watching.open == set()


# -- who is let in


@pytest.mark.parametrize(
    ("auth", "wanted"),
    [
        (None, "not_logged_in"),
        ({}, "not_logged_in"),
        ({"token": "none of ours"}, "not_logged_in"),
        ({"token": None}, "not_logged_in"),
        ({"token": 7}, "invalid_body"),
        ({"token": "x", "more": 1}, "invalid_body"),
        ([], "invalid_body"),
        ("text", "invalid_body"),
        (7, "invalid_body"),
    ],
)
async def test_who_says_nothing_of_use_isnt_let_in(room: Salon, auth: Any, wanted: str) -> None:
    assert await room.refusal(auth) == wanted


@pytest.mark.parametrize("cursor", ["", "x", "1", 7, [], {}, "1-x", "-1-1"])
async def test_what_is_no_cursor_of_ours_is_refused(room: Salon, cursor: Any) -> None:
    ada = await room.house.person("ada")
    assert await room.refusal({"token": ada.token, "cursor": cursor}) == "invalid_body"


async def test_a_cursor_is_told_to_be_good_and_none_that_all_is_new(room: Salon) -> None:
    ada = await room.house.person("ada")
    [standing] = (await room.sit(ada, cursor="1-0")).of("inbox")
    assert (standing["recovered"], standing["cursor"], standing["live"], standing["state"]) == (True, "1-0", True, [])
    [standing] = (await room.sit(ada, cursor=None)).of("inbox")
    assert (standing["recovered"], standing["cursor"]) == (False, "1-0")
    assert "/v1/conversations" in standing["state"]


async def test_a_cookie_counts_from_our_own_pages_alone(room: Salon) -> None:
    ada = await room.house.person("ada")
    cookie = {"Cookie": f"{room.gateway.cookies.access_name}={ada.token}"}
    ours = {"Origin": "http://gateway"}
    assert await room.refusal(None, cookie) == "not_logged_in"
    assert await room.refusal(None, {**cookie, "Origin": "https://evil.example"}) == "not_logged_in"
    assert await room.refusal(None, {**cookie, "Origin": "null"}) == "not_logged_in"
    assert await room.refusal(None, {**cookie, "Sec-Fetch-Site": "cross-site"}) == "not_logged_in"
    assert await room.refusal(None, {**cookie, "Referer": "http://gateway.evil.example/"}) == "not_logged_in"
    assert await room.refusal(None, ours) == "not_logged_in"
    assert await room.refusal(None, {**cookie, **ours}) == "let in"
    assert await room.refusal(None, {**cookie, "Sec-Fetch-Site": "same-origin"}) == "let in"
    # A forger's page can't have a token.
    assert await room.refusal({"token": ada.token}) == "let in"
    assert await room.refusal({"token": ada.token}, {"Origin": "https://evil.example"}) == "let in"
    assert await room.refusal(None, {"Authorization": f"Bearer {ada.token}"}) == "let in"
    assert await room.refusal({"token": "none of ours"}, {**cookie, **ours}) == "not_logged_in"


async def test_without_stores_nobody_is_let_in_and_told_so(room: Salon) -> None:
    ada = await room.house.person("ada")
    room.house.cache.state = room.house.database.state = "down"
    assert await room.refusal({"token": ada.token}) == "store_unavailable"


async def test_one_person_has_so_many_sockets(room: Salon) -> None:
    ada, bob = await room.house.person("ada"), await room.house.person("bob")
    seats = [await room.sit(ada) for _ in range(EACH)]
    assert await room.refusal({"token": ada.token}) == "rate_limited"
    await room.sit(bob)
    seats[0].leave()
    await room.sit(ada)


# -- sessions that end


def was_sent_away(seat: Seat) -> bool:
    assert seat.told[-1] == ("session_ended", {})
    assert (seat.reason, seat.final) == ("session_ended", True)
    return seat.closed


async def test_a_session_that_ends_while_it_connects_is_sent_away(room: Salon) -> None:
    ada = await room.house.person("ada")
    seat: Any = await room.knock({"token": ada.token})
    await ada.ask("DELETE", "/v1/sessions/current")
    await room.app.on_ready(seat)
    assert was_sent_away(seat)
    assert seat.of("inbox") == []
    assert len(room.hub) == 0
    assert await room.refusal({"token": ada.token}) == "not_logged_in"


async def test_the_sockets_of_a_session_that_ends_are_sent_away_and_no_others(room: Salon) -> None:
    ada = await room.house.person("ada")
    other = await ada.logged_in_anew()
    mine, tab, phone = await room.sit(ada), await room.sit(ada), await room.sit(other)
    await ada.ask("DELETE", "/v1/sessions/current")
    room.guests.ended(ada.session, ada.id)
    assert was_sent_away(mine)
    assert was_sent_away(tab)
    assert not phone.closed
    room.guests.ended("no session of ours", "nobody")
    assert len(room.hub) == 1


async def test_a_session_that_is_over_by_itself_is_found_out(room: Salon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "ROUND", 0.001)
    ada, bob = await room.house.person("ada"), await room.house.person("bob")
    mine, other = await room.sit(ada), await room.sit(bob)
    room.guests.start()
    [logins] = [one for one in room.house.world.all(Logins) if one.id == ada.id]
    sessions = {name: replaced(login, expires_at=NOON + 5) for name, login in logins.sessions.items()}
    room.house.world.put(replaced(logins, sessions=sessions))
    room.house.clock.now += LOOK_MS
    await wait_for(lambda: mine.closed)
    assert was_sent_away(mine)
    await wait_for(lambda: other.data.look_at > room.house.clock.now)
    assert not other.closed


async def test_stores_that_are_down_send_nobody_away(room: Salon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "ROUND", 0.001)
    mine = await room.sit(await room.house.person("ada"))
    room.guests.start()
    room.house.cache.state = room.house.database.state = "down"
    room.house.clock.now += LOOK_MS
    await wait_for(lambda: mine.data.look_at > room.house.clock.now)
    assert not mine.closed


async def test_what_is_asked_in_a_session_that_is_over_is_refused(room: Salon, pair: tuple[Person, Person]) -> None:
    ada, bob = pair
    mine = await room.sit(ada)
    room.house.world.ends.add(ada.session)
    for name, payload in (
        ("send_message", {"to": bob.id, "text": "Hi"}),
        ("typing", {"to": bob.id}),
        ("watch_presence", {"users": [bob.id]}),
    ):
        ack = await room.ask(mine, name, payload)
        assert (ack["status"], code(ack)) == (401, "not_logged_in")


async def test_a_deleted_account_asks_for_nothing_and_is_sent_away(
    room: Salon, pair: tuple[Person, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "ROUND", 0.001)
    ada, bob = pair
    mine = await room.sit(ada)
    gone: User = replaced(room.house.world.user(ada.id), deleted=True)
    room.house.world.put(gone)
    assert code(await room.ask(mine, "send_message", {"to": bob.id, "text": "Hi"})) == "not_logged_in"
    room.guests.start()
    room.house.clock.now += LOOK_MS
    await wait_for(lambda: mine.closed)
    assert was_sent_away(mine)


# -- who is here


async def test_the_first_socket_is_a_coming_and_the_last_a_going(room: Salon) -> None:
    ada = await room.house.person("ada")
    mine, tab = await room.sit(ada), await room.sit(ada)
    await wait_for(lambda: room.roster.said)
    assert room.roster.said == [("join", ada.id)]
    grace(room, 0.0)
    tab.leave()
    await asyncio.sleep(0.005)
    assert len(room.roster.said) == 1
    mine.leave()
    await wait_for(lambda: len(room.roster.said) == 2)
    assert room.roster.said[1] == ("leave", ada.id)


async def test_who_comes_back_in_time_was_never_gone_and_has_all_of_it_again(room: Salon) -> None:
    ada = await room.house.person("ada")
    loop, timers = asyncio.get_running_loop(), room.guests._leaving
    (await room.sit(ada)).leave()
    first = timers[ada.id]
    assert first.when() - loop.time() == pytest.approx(60.0, abs=1.0)
    mine = await room.sit(ada)
    assert first.cancelled()
    assert timers == {}
    mine.leave()
    assert timers[ada.id].when() > first.when()
    assert ("leave", ada.id) not in room.roster.said


async def test_on_its_way_out_a_gateway_says_of_nobody_that_they_have_left(room: Salon) -> None:
    mine = await room.sit(await room.house.person("ada"))
    grace(room, 0.0)
    room.life.draining = True
    mine.leave()
    assert room.guests._leaving == {}


async def test_one_that_never_got_in_is_nobodys_going(room: Salon) -> None:
    ada = await room.house.person("ada")
    mine = await room.sit(ada)
    (await room.knock({"token": ada.token})).leave()
    Seat(room.guests).leave()
    assert room.guests._leaving == {}
    assert not mine.closed


def grace(room: Salon, seconds: float) -> None:
    """As the setting says."""
    room.guests._grace = seconds
