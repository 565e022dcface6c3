"""What is asked over sockets and costs no quota: typing, screens, who is watched; and how often."""

import asyncio
from typing import Any

from devconnect.domain.delivering import on_screen_of
from devconnect.events.base import pair_id
from tests.unit.realtime_house import STRANGER, Salon, Seat, code, pair, room, said
from tests.unit.web_fakes import NOON
from tests.unit.web_house import Person
from web.realtime.application import FOCUS_MS
from web.realtime.clients import TELLINGS, WATCHED_MAX
from web.realtime.guests import BURST, RATE, TELLING_BURST, TELLING_RATE

__all__ = ["pair", "room"]


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
