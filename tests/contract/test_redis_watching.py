"""Watching: those who may see it are told who comes and goes, as it is in the end, once each, whatever is lost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, get_args

import pytest

from devconnect.adapters.redis import keys, lua_presence as lua, watching as module
from devconnect.adapters.redis.calls import Client, Command, run, run_all
from devconnect.adapters.redis.channels import Channels
from devconnect.adapters.redis.connect import close, connect, connect_channels, connect_fast
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.watching import Watcher, Watching
from devconnect.domain.presence import SOCKETS_MS
from devconnect.domain.projections import SetAudience, SetPresence, Update
from devconnect.events.base import Audience
from devconnect.ports.reads import PresenceView
from devconnect.ports.truth import UnavailableError
from tests.contract.redis_fixtures import Server, Wire as Proxy, own_server, servers
from tests.contract.redis_samples import relation
from tests.fakes import MemoryMetrics
from tests.waiting import until

__all__ = ["own_server", "servers"]


class House:
    """A gateway's watching, and somebody who changes what is watched."""

    def __init__(self, url: str, server: str = "") -> None:
        self.channels: Channels = connect_channels(url)
        self.metrics = MemoryMetrics()
        self.asking, self.writing = connect_fast(url), connect(server or url, socket_timeout=5.0)
        self.watching = Watching(self.asking, self.channels, metrics=self.metrics)
        self.told: dict[str, list[tuple[str, bool]]] = {}
        self.views: list[PresenceView] = []
        self._seq = 0

    async def __aenter__(self) -> "House":
        await self.channels.start()
        await self.watching.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.watching.stop()
        await self.channels.stop()
        await close(self.asking)
        await close(self.writing)

    def watcher(self, reader: str) -> Watcher:
        mine = self.told.setdefault(reader, [])

        def told(views: Sequence[PresenceView]) -> None:
            mine.extend((view.user, view.online) for view in views)
            self.views.extend(views)

        return self.watching.watcher(reader, told)

    async def apply(self, *updates: Update) -> None:
        await RedisProjections(self.writing).apply(updates)

    async def connected(self, *pairs: tuple[str, str], state: str = "accepted") -> None:
        self._seq += 1
        await self.apply(*(relation(user, other, state, 256 * self._seq) for user, other in pairs))

    async def shown(self, user: str, audience: Audience) -> None:
        self._seq += 1
        await self.apply(SetAudience(user, audience, 256 * self._seq))

    async def come(self, *users: str) -> None:
        await self._say([lua.JOIN(keys.here(user), "g", SOCKETS_MS, keys.watched(user)) for user in users])

    async def go(self, *users: str) -> None:
        await self._say([lua.LEAVE(keys.here(user), "g", "", keys.watched(user)) for user in users])

    async def _say(self, commands: Sequence[Command]) -> None:
        await run_all(self.writing, commands)

    def looks(self) -> float:
        return self.metrics.counts["presence_looks",]

    async def settled(self) -> None:
        """All that was published before is looked at."""
        await asyncio.sleep(3 * module.PAUSE)


@pytest.fixture(params=["alone", "cluster"])
async def house(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[House]:
    async with House(servers[request.param].url) as found:
        await found.writing.flushall()
        yield found


@pytest.fixture
async def own(own_server: Server) -> AsyncIterator[House]:
    async with House(own_server.url) as found:
        yield found


async def test_those_who_are_connected_are_told_who_comes_and_goes(house: House) -> None:
    await house.connected(("ada", "bob"), ("ada", "cyd"))
    await house.connected(("ada", "eve"), state="requested")
    for reader in ("bob", "cyd", "eve", "ada"):
        [view] = await house.watcher(reader).add(["ada"])
        assert view == PresenceView(user="ada", online=False, last_seen=0)
    await house.come("ada")
    await until(lambda: house.told["ada"])
    assert house.told == {"bob": [("ada", True)], "cyd": [("ada", True)], "eve": [], "ada": [("ada", True)]}
    await house.go("ada")
    await until(lambda: len(house.told["bob"]) == 2)
    assert house.told["cyd"] == house.told["bob"] == [("ada", True), ("ada", False)]
    assert house.told["eve"] == []
    now = time.time_ns() // 1_000_000
    assert all(now - 5_000 < view.last_seen <= now for view in house.views)


async def test_the_first_answer_is_how_it_is_and_what_follows_only_what_changes(house: House) -> None:
    await house.connected(("ada", "bob"))
    await house.come("ada")
    bob = house.watcher("bob")
    ada, dan, again = await bob.add(["ada", "dan", "ada"])
    assert (ada.online, dan.online, again.online) == (True, False, True)
    # It is said again, which is no change.
    await house.come("ada")
    await run(house.writing, [("PUBLISH", keys.watched("ada"), "1:5")])
    await house.settled()
    assert house.told["bob"] == []
    assert house.looks() == 1


async def test_what_changes_while_the_first_answer_is_on_its_way_is_told(
    own: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await own.connected(("ada", "bob"))
    asked: list[object] = []

    async def slow(client: Client, commands: Sequence[Command]) -> list[Any]:
        answers = await run(client, commands)
        asked.append(commands)
        if len(asked) == 1:
            await own.come("ada")
            await until(lambda: own.looks() == 1)
        return answers

    monkeypatch.setattr(module, "run", slow)
    [ada] = await own.watcher("bob").add(["ada"])
    assert not ada.online
    await until(lambda: own.told["bob"] == [("ada", True)])


async def test_whoever_comes_and_goes_at_once_many_times_is_looked_at_once(house: House) -> None:
    await house.connected(("ada", "bob"), ("dan", "bob"))
    await house.watcher("bob").add(["ada", "dan"])
    for _ in range(20):
        await house.come("ada")
        await house.go("ada")
    await house.come("ada", "dan")
    await until(lambda: len(house.told["bob"]) >= 2)
    await house.settled()
    # All of it may take longer than one pause: never a look for each.
    assert house.looks() <= 8
    assert dict(house.told["bob"]) == {"ada": True, "dan": True}


async def test_whoever_comes_and_goes_all_the_time_is_looked_at_once_a_pause(house: House) -> None:
    await house.connected(("ada", "bob"))
    await house.watcher("bob").add(["ada"])
    began = time.monotonic()
    while time.monotonic() < began + 5 * module.PAUSE:
        await house.come("ada")
        await house.go("ada")
    await house.settled()
    assert house.looks() <= (time.monotonic() - began) / module.PAUSE


@pytest.mark.parametrize("audience", ["connections", "everybody"])
async def test_who_becomes_invisible_goes_for_all_and_is_back_when_they_show_themselves(
    house: House, audience: Audience
) -> None:
    await house.connected(("ada", "bob"))
    await house.shown("ada", audience)
    await house.come("ada")
    await house.watcher("bob").add(["ada"])
    await house.watcher("ada").add(["ada"])
    await house.shown("ada", "nobody")
    await until(lambda: house.told["bob"] == [("ada", False)])
    assert house.views[-1].last_seen == 0
    # What they do unseen is told to themselves alone.
    await house.go("ada")
    await until(lambda: house.told["ada"] == [("ada", False)])
    await house.come("ada")
    await until(lambda: house.told["ada"] == [("ada", False), ("ada", True)])
    assert house.told["bob"] == [("ada", False)]
    await house.shown("ada", audience)
    await until(lambda: house.told["bob"] == [("ada", False), ("ada", True)])


async def test_who_is_connected_no_more_is_told_so_once_and_nothing_after(house: House) -> None:
    await house.connected(("ada", "bob"), ("ada", "cyd"))
    await house.come("ada")
    for reader in ("bob", "cyd"):
        await house.watcher(reader).add(["ada"])
    await house.connected(("ada", "bob"), state="removed")
    await until(lambda: house.told["bob"] == [("ada", False)])
    await house.go("ada")
    await house.come("ada")
    await house.go("ada")
    await until(lambda: ("ada", False) in house.told["cyd"])
    await house.settled()
    assert house.told["bob"] == [("ada", False)]
    await house.come("ada")
    await house.connected(("ada", "bob"))
    await until(lambda: house.told["bob"] == [("ada", False), ("ada", True)])


@pytest.mark.parametrize("state", ["blocked", "barred"])
async def test_who_is_in_a_block_sees_nothing_though_everybody_may(house: House, state: str) -> None:
    """Whoever of the two blocks, and strangers too."""
    await house.shown("ada", "everybody")
    await house.come("ada")
    [view] = await house.watcher("bob").add(["ada"])
    assert view.online
    await house.connected(("ada", "bob"), state=state)
    await until(lambda: house.told["bob"] == [("ada", False)])
    await house.go("ada")
    await house.settled()
    assert house.told["bob"] == [("ada", False)]
    assert [view.last_seen for view in house.views] == [0]


async def test_a_device_whose_lease_runs_out_is_told_of_though_nobody_says_so(house: House) -> None:
    await house.connected(("ada", "bob"))
    now = time.time_ns() // 1_000_000
    await house.apply(SetPresence("ada", "phone", now + 2_500, now, 512))
    [view] = await house.watcher("bob").add(["ada"])
    assert view.online
    # It is said again before that, which nobody hears of either.
    await house.apply(SetPresence("ada", "phone", now + 3_500, now + 500, 768))
    await until(lambda: house.told["bob"] == [("ada", False)])
    assert house.views[-1].last_seen == now + 3_500


async def test_who_watches_and_lets_go_again_and_again_costs_no_more_each_time(own: House) -> None:
    """And still is told when a device's lease runs out."""
    people = [f"p{n}" for n in range(100)]
    await own.connected(*((user, "bob") for user in people))
    now = time.time_ns() // 1_000_000
    await own.apply(*(SetPresence(user, "phone", now + 5_000, now, 512) for user in people))
    bob = own.watcher("bob")
    for _ in range(20):
        await bob.add(people)
        bob.remove(people)
    assert len(own.watching._ends) <= 2 * len(people) + module.CHUNK
    await bob.add(people)
    await until(lambda: len(own.told["bob"]) == len(people))


async def test_nobody_is_told_of_those_they_let_go_of(house: House) -> None:
    await house.connected(("ada", "bob"), ("dan", "bob"), ("dan", "cyd"))
    bob, cyd = house.watcher("bob"), house.watcher("cyd")
    await bob.add(["ada", "dan"])
    await cyd.add(["dan"])
    bob.remove(["dan", "unknown"])
    await house.come("ada", "dan")
    await until(lambda: house.told == {"bob": [("ada", True)], "cyd": [("dan", True)]})
    bob.close()
    cyd.close()
    assert (len(house.watching), len(house.channels)) == (0, 0)
    await house.go("ada", "dan")
    await house.settled()
    assert house.told == {"bob": [("ada", True)], "cyd": [("dan", True)]}


async def test_sockets_of_one_person_are_told_each_what_it_has_not_been_told(house: House) -> None:
    await house.connected(("ada", "bob"))
    await house.watcher("bob").add(["ada"])
    await house.come("ada")
    await until(lambda: house.told["bob"] == [("ada", True)])
    await house.watcher("bob").add(["ada"])
    await house.go("ada")
    await until(lambda: house.told["bob"] == [("ada", True), ("ada", False), ("ada", False)])


async def test_what_was_missed_while_nothing_was_heard_is_found(own_server: Server) -> None:
    async with Proxy(own_server.url) as proxy, House(proxy.url, own_server.url) as house:
        await house.connected(("ada", "bob"), ("dan", "bob"))
        await house.come("dan")
        await house.watcher("bob").add(["ada", "dan"])
        proxy.hold()
        proxy.strand()
        proxy.cut()
        proxy.hold()
        await until(lambda: not house.channels.healthy)
        await house.come("ada")
        await house.go("dan")
        proxy.let_go()
        await until(lambda: sorted(house.told["bob"]) == [("ada", True), ("dan", False)])


async def test_a_restart_of_redis_is_no_news(own_server: Server) -> None:
    async with House(own_server.url) as house:
        await house.connected(("ada", "bob"))
        await house.come("ada")
        await house.watcher("bob").add(["ada"])
        own_server.kill()
        await until(lambda: not house.channels.healthy)
        with pytest.raises(UnavailableError):
            await house.watcher("bob").add(["ada", "dan"])
        assert len(house.watching) == 1
        own_server.start()
        await until(lambda: house.channels.healthy and house.looks() >= 1)
        assert house.told["bob"] == []
        await house.go("ada")
        await until(lambda: house.told["bob"] == [("ada", False)])


async def test_a_watcher_who_fails_costs_nobody_else_anything(own: House, caplog: pytest.LogCaptureFixture) -> None:
    def fail(views: Sequence[PresenceView]) -> None:
        raise RuntimeError("it fails")

    await own.connected(("ada", "bob"), ("ada", "cyd"))
    await own.watching.watcher("bob", fail).add(["ada"])
    await own.watcher("cyd").add(["ada"])
    await own.come("ada")
    await until(lambda: own.told["cyd"] == [("ada", True)])
    assert "can't be told" in caplog.text


async def test_a_storm_of_five_thousand_who_come_is_one_look_at_each_in_few_round_trips(own: House) -> None:
    people = [f"{n:032x}" for n in range(5_000)]
    await own.connected(*((user, "bob") for user in people))
    bob = own.watcher("bob")
    for start in range(0, 5_000, 500):
        await bob.add(people[start : start + 500])
    await own.come(*people)
    await until(lambda: len(own.told["bob"]) >= 5_000)
    await own.settled()
    assert sorted(own.told["bob"]) == [(user, True) for user in people]
    assert own.looks() == 5_000


async def test_in_the_end_everybody_has_been_told_how_it_is(own: House) -> None:
    """Comings, goings, watchers and relations at once: what was told last is what a fresh look says."""
    chance = random.Random(6)
    people, readers = [f"p{n}" for n in range(6)], [f"r{n}" for n in range(6)]
    states, audiences = ["accepted", "removed", "blocked", "barred"], get_args(Audience)
    last: dict[tuple[str, str], bool] = {}
    watchers: dict[str, Watcher] = {}

    async def change() -> None:
        for _ in range(120):
            user, reader, state = chance.choice(people), chance.choice(readers), chance.choice(states)
            changes: list[Callable[[], Awaitable[None]]] = [
                partial(own.come, user),
                partial(own.go, user),
                partial(own.connected, (user, reader), state=state),
                partial(own.shown, user, chance.choice(audiences)),
            ]
            await chance.choice(changes)()
            await asyncio.sleep(chance.random() * 0.02)

    async def watch(reader: str) -> None:
        def told(views: Sequence[PresenceView]) -> None:
            last.update(((reader, view.user), view.online) for view in views)

        for _ in range(10):
            if reader in watchers:
                watchers[reader].close()
            watchers[reader] = own.watching.watcher(reader, told)
            found = await watchers[reader].add(people)
            last.update(((reader, view.user), view.online) for view in found)
            await asyncio.sleep(chance.random() * 0.3)

    await asyncio.gather(change(), *map(watch, readers))
    for reader in readers:

        async def knows_how_it_is(reader: str = reader) -> bool:
            fresh = await own.watching.watcher(reader, lambda _: None).add(people)
            return {view.user: view.online for view in fresh} == {user: last[reader, user] for user in people}

        await until(knows_how_it_is, f"what {reader} was told", pause=0.1)
