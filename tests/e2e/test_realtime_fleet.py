"""Sockets on three gateways: who is logged out is off them all, who is here is so, and gateways come and go."""

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import socketio

from devconnect.adapters.redis.keys import INBOX_KEPT
from tests.e2e.devices import Device
from tests.e2e.fleets import App, Fleet, conversations
from tests.e2e.gateways import REVOKED, ask, at_once, paused
from tests.e2e.people import PASSWORD, Person

pytestmark = pytest.mark.timeout(240)

ANOTHER = "another battery, another staple"
#: Seconds: of a gateway's lease (the default) and, with that, until whoever was on a dead one is offline; and for which
#: somebody without a socket still counts as here.
LEASE, OFFLINE, GRACE = 10.0, 15.0, 1.0
#: Seconds in which everybody is told of a message who doesn't wait for anybody else.
SOON = 5.0
#: Characters of three bytes in a message that is long.
LONG = 3_900


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    env = {"PRESENCE_GRACE_SECONDS": f"{GRACE:g}", "SOCKET_BUFFER_BYTES": "65536", "DRAIN_SECONDS": "4"}
    with Fleet(tmp_path_factory.mktemp("fleet"), **env).running() as found:
        yield found


@pytest.fixture(autouse=True)
def mended(fleet: Fleet) -> Iterator[None]:
    """Whatever a test has left dead is there again for the next."""
    yield
    fleet.mend()


@asynccontextmanager
async def devices(*wanted: tuple[Person, str]) -> AsyncIterator[list[Device]]:
    """These people's devices on these gateways, open."""
    found = [Device(person, url) for person, url in wanted]
    await asyncio.gather(*(each.open() for each in found))
    try:
        yield found
    finally:
        await asyncio.gather(*(each.close() for each in found))


# -- sessions


def log_out(person: Person, other: Person) -> None:
    person.do("DELETE", "/v1/sessions/current")


def log_out_everywhere(person: Person, other: Person) -> None:
    other.do("DELETE", "/v1/sessions")


def end_a_session(person: Person, other: Person) -> None:
    sessions = other.read("/v1/sessions")["items"]
    [this] = [each for each in sessions if not each["current"]]
    other.do("DELETE", f"/v1/sessions/{this['id']}")


def change_the_password(person: Person, other: Person) -> None:
    body = {"current_password": PASSWORD, "new_password": ANOTHER}
    reply = other.send("PUT", "/v1/me/password", body)
    assert reply.status == 200, reply


def delete_the_account(person: Person, other: Person) -> None:
    reply = other.send("DELETE", "/v1/me", {"password": PASSWORD})
    assert reply.status == 200, reply


@pytest.mark.parametrize(
    ("way", "ends_others"),
    [
        (log_out, False),
        (end_a_session, False),
        (log_out_everywhere, True),
        (change_the_password, True),
        (delete_the_account, True),
    ],
)
async def test_a_session_that_ends_loses_its_sockets_on_every_gateway_and_no_other_session_does(
    fleet: Fleet, way: Any, ends_others: bool
) -> None:
    ada, bob = await asyncio.to_thread(fleet.people, "Ada", "Bob")
    other = await asyncio.to_thread(ada.again)
    wanted = [(each, url) for each in (ada, other, bob) for url in fleet.urls]
    async with devices(*wanted) as found:
        mine, others, bobs = found[:3], found[3:6], found[6:]
        await asyncio.to_thread(way, ada, other)
        began = time.monotonic()
        gone = [*mine, *others] if ends_others else mine
        await asyncio.gather(*(asyncio.wait_for(each.closed.wait(), REVOKED) for each in gone))
        assert time.monotonic() - began <= REVOKED
        assert all(each.of("session_ended") == [{}] for each in gone)
        for each in [*([] if ends_others else others), *bobs]:
            assert not each.closed.is_set()
            # It is still heard.
            await each.does("focus", {"peer": None})
        for each in gone:
            assert await refusal(each) == "not_logged_in"


async def test_a_session_that_ends_while_redis_stands_still_loses_its_sockets_all_the_same(fleet: Fleet) -> None:
    ada, bob = await asyncio.to_thread(fleet.people, "Ada", "Bob")
    wanted = [(each, url) for each in (ada, bob) for url in fleet.urls]
    async with devices(*wanted) as found:
        with paused(fleet.system.parts()["redis"]):
            await asyncio.to_thread(log_out, ada, ada)
            await asyncio.gather(*(asyncio.wait_for(each.closed.wait(), REVOKED) for each in found[:3]))
        assert all(each.of("session_ended") == [{}] for each in found[:3])
        for each in found[3:]:
            # Whether or not Redis is asked again yet: it is still connected.
            assert (await each.ask("focus", {"peer": None}))["status"] in (200, 503)


async def refusal(device: Device) -> Any:
    """The code with which it isn't let in again."""
    client = socketio.AsyncClient(reconnection=False)
    refusals: list[Any] = []
    client.on("connect_error", refusals.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(device.url, auth={"token": device.person.token}, transports=["websocket"])
    await client.disconnect()
    return refusals[0]["data"]["code"]


# -- presence


def told_of(device: Device, person: Person) -> list[bool]:
    """What a device was told of whether somebody is here, one after the other."""
    return [
        each["online"] for told in device.of("presence") for each in told["presence"] if each["user"] == person.user
    ]


def seen(url: str, reader: Person, person: Person) -> bool:
    """Whether somebody is here, as it is read over HTTP."""
    [found] = ask(url, "GET", f"/v1/presence?users={person.user}", token=reader.token).reply.body["items"]
    online: bool = found["online"]
    return online


async def test_who_was_on_a_gateway_that_is_killed_is_offline_after_its_lease_and_one_that_hung_repairs_itself(
    fleet: Fleet,
) -> None:
    eye, lost, held, both = await asyncio.to_thread(fleet.people, "Eye", "Lost", "Held", "Both")
    await asyncio.to_thread(at_once, [lambda each=each: eye.connect(each) for each in (lost, held, both)])
    first, second, third = fleet.urls
    people = (lost, held, both)
    wanted = [(eye, first), (lost, second), (held, third), (both, second), (both, first)]
    async with devices(*wanted) as (watcher, _, on_third, *_):
        await watcher.does("watch_presence", {"users": [each.user for each in people]})
        for each in people:
            await watcher.hears(lambda each=each: seen(first, eye, each))
        before = {each.user: told_of(watcher, each) for each in people}
        hung = fleet.third.process.pid
        os.kill(hung, signal.SIGSTOP)
        try:
            fleet.second.kill()
            began = time.monotonic()
            await watcher.hears(lambda: told_of(watcher, lost) == [*before[lost.user], False], OFFLINE)
            took = time.monotonic() - began
            assert LEASE - 2 <= took <= OFFLINE, took
            await watcher.hears(lambda: told_of(watcher, held) == [*before[held.user], False], OFFLINE)
            assert not seen(first, eye, lost)
            assert not seen(first, eye, held)
            assert seen(first, eye, both)
        finally:
            os.kill(hung, signal.SIGCONT)
        await watcher.hears(lambda: told_of(watcher, held)[-1])
        assert seen(first, eye, held)
        assert not on_third.closed.is_set()
        await asyncio.to_thread(eye.say, held, "still there?")
        await on_third.hears(lambda: on_third.texts == ["still there?"])
        # Nobody was told of whom nothing has happened to, and of nobody twice.
        assert told_of(watcher, both) == before[both.user]
        assert told_of(watcher, lost) == [*before[lost.user], False]
        assert told_of(watcher, held) == [*before[held.user], False, True]
        await asyncio.to_thread(fleet.second.start)
        async with devices((lost, second)):
            await watcher.hears(lambda: told_of(watcher, lost)[-1])


async def test_a_second_tab_that_closes_changes_nothing_on_whatever_gateway_it_was(fleet: Fleet) -> None:
    eye, bob = await asyncio.to_thread(fleet.people, "Eye", "Bob")
    await asyncio.to_thread(eye.connect, bob)
    first, second, third = fleet.urls
    async with devices((eye, first), (bob, second), (bob, second), (bob, third)) as (watcher, *tabs):
        await watcher.hears(lambda: seen(first, eye, bob))
        found = await watcher.does("watch_presence", {"users": [bob.user]})
        assert [each["online"] for each in found["presence"]] == [True]
        for tab in tabs[:2]:
            await tab.close()
        # As long as it would take if it changed something.
        with pytest.raises(AssertionError):
            await watcher.hears(lambda: told_of(watcher, bob) or not seen(first, eye, bob), 3 * GRACE)
        await tabs[2].close()
        await watcher.hears(lambda: told_of(watcher, bob))
        assert told_of(watcher, bob) == [False]
        # Whoever is back in time was never gone: a page that is loaded again.
        async with devices((bob, second)):
            await watcher.hears(lambda: told_of(watcher, bob) == [False, True])
        async with devices((bob, third)):
            with pytest.raises(AssertionError):
                await watcher.hears(lambda: told_of(watcher, bob) != [False, True], 3 * GRACE)


async def test_people_who_are_invisible_go_for_whoever_watches_and_are_not_shown_to_anybody(fleet: Fleet) -> None:
    eye, bob = await asyncio.to_thread(fleet.people, "Eye", "Bob")
    await asyncio.to_thread(eye.connect, bob)
    first, second, third = fleet.urls
    async with devices((eye, first), (eye, third), (bob, second)) as (watcher, later, mine):
        await watcher.hears(lambda: seen(first, eye, bob))
        found = await watcher.does("watch_presence", {"users": [bob.user]})
        assert [each["online"] for each in found["presence"]] == [True]
        await asyncio.to_thread(bob.do, "PUT", "/v1/me/privacy", {"presence": "nobody"})
        await watcher.hears(lambda: told_of(watcher, bob) == [False])
        [[told]] = [each["presence"] for each in watcher.of("presence")]
        assert told["last_seen"] == 0
        for url in fleet.urls:
            await watcher.hears(lambda url=url: not seen(url, eye, bob))
        found = await later.does("watch_presence", {"users": [bob.user]})
        assert [(each["online"], each["last_seen"]) for each in found["presence"]] == [(False, 0)]
        async with devices((bob, third)):
            pass
        await mine.does("focus", {"peer": None})
        await asyncio.to_thread(bob.do, "PUT", "/v1/me/privacy", {"presence": "connections"})
        for each in (watcher, later):
            await each.hears(lambda each=each: told_of(each, bob)[-1:] == [True])
        assert told_of(watcher, bob) == [False, True]
        assert told_of(later, bob) == [True]


# -- cursors


async def test_a_cursor_of_another_inbox_is_not_believed_and_keeps_nothing_from_any_device(fleet: Fleet) -> None:
    """As when somebody else logs in on a device that has kept it."""
    ada, bob = await asyncio.to_thread(fleet.people, "Ada", "Bob")
    await asyncio.to_thread(ada.connect, bob)
    url = fleet.second.url
    wrong, right = Device(bob, url), Device(bob, url)
    await right.open()
    # Of an inbox that nothing was ever put into nobody knows better than the client.
    await right.hears(lambda: right.of("notification"))
    wrong.cursor = "1-1000000"
    await wrong.open()
    assert [each["recovered"] for each in wrong.of("inbox")] == [False]
    for text in ("one", "two"):
        await asyncio.to_thread(ada.say, bob, text)
    for each in (wrong, right):
        await each.hears(lambda each=each: each.texts == ["one", "two"], SOON)
        await each.close()


async def test_what_redis_holds_no_more_is_read_from_the_database_while_more_is_said(fleet: Fleet) -> None:
    ada, bob = await asyncio.to_thread(fleet.people, "Ada", "Bob")
    await asyncio.to_thread(ada.connect, bob)
    first, second, third = fleet.urls
    # So many that none of them says more than one socket may.
    async with devices((bob, second), *[(ada, first)] * 10) as (there, *senders):
        away = await Device(bob, third).open()
        await away.close()
        # More than Redis holds while it is away, and more while it comes back.
        said = await say_all(senders, bob, "before", INBOX_KEPT)
        saying = asyncio.create_task(say_all(senders, bob, "meanwhile", 100))
        await away.open()
        said += await saying
        for each in (away, there):
            await each.hears(lambda each=each: len(each.of("message")) >= len(said))
            assert [told["data"] for told in each.of("message")] == said
        assert away.of("inbox")[-1]["recovered"] is True
        await away.close()


async def say_all(senders: Sequence[Device], other: Person, text: str, count: int) -> list[Any]:
    """So many messages, as fast as it goes; as they were kept, in their order."""

    async def say(sender: Device) -> list[Any]:
        payload = {"to": other.user, "text": text}
        return [await sender.does("send_message", payload) for _ in range(count // len(senders))]

    kept = itertools.chain.from_iterable(await asyncio.gather(*map(say, senders)))
    return sorted(kept, key=lambda message: int(message["seq"]))


# -- gateways that stop, clients that don't read


async def test_a_gateway_that_is_stopped_tells_everybody_to_come_back_and_loses_no_command(fleet: Fleet) -> None:
    names = [f"P{number}" for number in range(10)]
    people = await asyncio.to_thread(fleet.people, *names)
    pairs = list(zip(people[::2], people[1::2], strict=True))
    await asyncio.to_thread(at_once, [lambda one=one, two=two: one.connect(two) for one, two in pairs])
    first, second, third = fleet.urls
    apps = [App(person, (second, first, third)) for person in people for _ in range(5)]
    peers = {one.user: two for pair in pairs for one, two in (pair, pair[::-1])}
    said: list[Any] = []
    over = asyncio.Event()

    async def talk(app: App, name: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            said.append(await app.say(peers[app.person.user], f"{name} {number}", f"{name}-{number}"))

    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(app) for app in apps))
        assert {app.url for app in apps} == {second}
        tasks = [asyncio.create_task(talk(app, f"{number}")) for number, app in enumerate(apps) if number % 5 == 0]
        await apps[0].hears(lambda: len(said) >= 20)
        process = fleet.second.process
        process.send_signal(signal.SIGTERM)
        for app in apps:
            await app.hears(lambda app=app: len(app.visited) > 1)
        assert await asyncio.to_thread(process.wait, 15) == 0
        count = len(said)
        await apps[0].hears(lambda: len(said) >= count + 20)
        over.set()
        await asyncio.gather(*tasks)
        expected = conversations(said)
        for app in apps:
            [own] = [told for told in expected.values() if app.person.user in told[0][2:4]]
            await app.hears(lambda app=app, own=own: len(app.of("message")) >= len(own))
            assert list(conversations(each["data"] for each in app.of("message")).values()) == [own]
            [told] = app.of("reconnect")
            assert 0 <= told["after_ms"] <= 4_000
            app.whole()


async def test_a_client_that_does_not_read_is_dropped_and_nobody_else_waits_for_it(fleet: Fleet) -> None:
    ada, bob = await asyncio.to_thread(fleet.people, "Ada", "Bob")
    await asyncio.to_thread(ada.connect, bob)
    url = fleet.second.url
    async with devices((bob, url), *[(ada, url)] * 5) as (reader, *senders):
        slow = await Lazy(bob, url).open()
        before = dropped(url)
        said: list[Any] = []
        # More than the system may keep for it when it comes back.
        enough = most_kept() + 1_000_000
        while dropped(url) == before or len(said) * 3 * LONG < enough:
            assert len(said) * 3 * LONG < 5 * enough, "it is never dropped"
            said.extend(await say_all(senders, bob, "\N{SNOWMAN}" * LONG, len(senders)))
            await reader.hears(lambda: len(reader.of("message")) == len(said), SOON)
        # It comes back, doesn't read that either, and still nobody waits.
        before = dropped(url)
        again = await Lazy(bob, url, slow.cursor).open()
        for _ in range(5):
            said.extend(await say_all(senders[:1], bob, "then", 1))
            await reader.hears(lambda: len(reader.of("message")) == len(said), SOON)
        # Nor is it waited for for ever.
        await reader.hears(lambda: dropped(url) > before)
        await slow.end()
        await again.end()
        late = Device(bob, url)
        late.cursor = slow.cursor
        await late.open()
        await late.hears(lambda: len(late.of("message")) == len(said))
        assert [each["data"]["id"] for each in late.of("message")] == [each["id"] for each in said]
        assert late.of("inbox")[0]["recovered"] is True
        await late.close()


def most_kept() -> int:
    """Bytes that the system keeps for one connection whose client doesn't read."""
    return int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text("utf-8").split()[2])


def dropped(url: str) -> float:
    """Clients that a gateway has dropped since they didn't read."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    found = re.search(r'^\S*sockets_closed_total\{reason="slow"\} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


class Lazy:
    """A client that reads nothing more once it knows where it begins."""

    def __init__(self, person: Person, url: str, cursor: str | None = None) -> None:
        self._person, self._url = person, urlsplit(url)
        self.cursor = cursor
        self._socket = socket.socket()
        # Little waits on its side.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.settimeout(10)

    async def open(self) -> "Lazy":
        """Connect, and be told where it begins."""
        await asyncio.to_thread(self._open)
        return self

    def _open(self) -> None:
        self._socket.connect((self._url.hostname, self._url.port))
        head = (
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        self._socket.sendall(head.encode())
        auth = {"token": self._person.token} | ({} if self.cursor is None else {"cursor": self.cursor})
        text = b"40" + json.dumps(auth).encode()
        # A mask of nothing but zeros leaves it as it is.
        self._socket.sendall(b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)
        said = b""
        while (found := re.search(rb'\["inbox",.*?"cursor":"([0-9-]+)"', said)) is None:
            more = self._socket.recv(256)
            assert more, said
            said += more
        self.cursor = found[1].decode()

    async def end(self) -> None:
        """Be gone."""
        self._socket.close()
