"""Who is let in over a socket, is shown as here, and is sent away."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace as replaced

from devconnect.domain.model import Logins, User
from tests.unit.realtime_house import Salon, Seat, code, pair, room
from tests.unit.web_fakes import NOON
from tests.unit.web_house import Person
from tests.waiting import until
from web.realtime import guests
from web.realtime.guests import EACH, LOOK_MS

__all__ = ["pair", "room"]


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
    await until(lambda: mine.closed)
    assert was_sent_away(mine)
    await until(lambda: other.data.look_at > room.house.clock.now)
    assert not other.closed


async def test_stores_that_are_down_send_nobody_away(room: Salon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "ROUND", 0.001)
    mine = await room.sit(await room.house.person("ada"))
    room.guests.start()
    room.house.cache.state = room.house.database.state = "down"
    room.house.clock.now += LOOK_MS
    await until(lambda: mine.data.look_at > room.house.clock.now)
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
    await until(lambda: mine.closed)
    assert was_sent_away(mine)


# -- who is here


async def test_the_first_socket_is_a_coming_and_the_last_a_going(room: Salon) -> None:
    ada = await room.house.person("ada")
    mine, tab = await room.sit(ada), await room.sit(ada)
    await until(lambda: room.roster.said)
    assert room.roster.said == [("join", ada.id)]
    grace(room, 0.0)
    tab.leave()
    assert room.guests._leaving == {}
    mine.leave()
    await until(lambda: len(room.roster.said) == 2)
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
