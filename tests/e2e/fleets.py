"""Three gateways of one system, apps that come back to whichever is there, and people who talk all the while."""

import asyncio
import itertools
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import socketio

from devconnect import stack
from devconnect.events.topics import INBOX_EVENTS
from tests.e2e import kafka
from tests.e2e.devices import Device
from tests.e2e.gateways import Beside, Several, at_once, whole
from tests.e2e.people import Client, Person, Unanswered
from tests.e2e.system import System
from tests.e2e.wires import Ears
from tests.waiting import PATIENCE

#: What an event fails with when its socket is lost.
Lost = (socketio.exceptions.SocketIOError, OSError, AttributeError, AssertionError)


class Fleet(Several):
    """With the gateway of `run` and two beside it. The last one hears of Redis what `ears` let through."""

    def __init__(self, folder: Path, **env: str) -> None:
        super().__init__(folder, **env)
        self.second = Beside(self.system)

    @contextmanager
    def running(self) -> Iterator["Fleet"]:
        """Start all of it, and stop it at the end of the block."""
        with self.system.running(), Ears(stack.addresses(self.system.settings).redis) as ears:
            self.ears = ears
            self.third = Beside(self.system, REDIS_URL=ears.url)
            try:
                at_once([self.second.start, self.third.start])
                yield self
            finally:
                at_once([self.second.stop, self.third.stop])

    def mend(self) -> None:
        """Whatever a test has left dead is there again."""
        for gateway in (self.second, self.third):
            if not gateway.lives:
                gateway.start()
        whole(self.system, *self.urls)

    @property
    def urls(self) -> tuple[str, str, str]:
        """Of all gateways."""
        return self.system.url, self.second.url, self.third.url


class App(Device):
    """A device that comes back by itself, with its cursor and to the next gateway, as often as it is closed."""

    def __init__(self, person: Person, urls: Sequence[str]) -> None:
        super().__init__(person, urls[0])
        self._urls = itertools.cycle(urls)
        self._task: asyncio.Task[None] | None = None
        #: Where it has been let in, one after the other.
        self.visited: list[str] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._stay())
        await self.hears(lambda: self.visited)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._drop()

    async def _stay(self) -> None:
        while True:
            self.url = next(self._urls)
            try:
                await self.open()
            except (socketio.exceptions.SocketIOError, OSError):
                await self._drop()
                await asyncio.sleep(0.05)
                continue
            self.visited.append(self.url)
            await self.closed.wait()
            await self._drop()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                await client.disconnect()
            if client.eio.http is not None:
                await client.eio.http.close()

    async def say(self, other: Person, text: str, key: str) -> Any:
        """The message as it was kept, however often that takes."""
        deadline = time.monotonic() + 2 * PATIENCE
        while True:
            with suppress(*Lost):
                ack = await self.ask("send_message", {"to": other.user, "text": text, "key": key}, seconds=5)
                if ack["status"] == 201:
                    return ack["result"]
                assert ack["status"] in (202, 503), ack
            assert time.monotonic() < deadline, f"{text} isn't taken"
            await asyncio.sleep(0.05)

    def whole(self) -> None:
        """It was told each time that it has everything, in order."""
        standings = self.of("inbox")
        assert all(each["recovered"] for each in standings[1:]), standings
        self.in_order()


class Crowd:
    """Ada with two devices, Bob with three, Cy with one. Ada is connected to both; messages go to and fro."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.ada, self.bob, self.cy = fleet.people("Ada", "Bob", "Cy")
        at_once([lambda: self.ada.connect(self.bob), lambda: self.cy.connect(self.ada)])
        urls = fleet.urls
        turns = [urls[number:] + urls[:number] for number in range(3)]
        self.apps = [
            *(App(self.ada, turn) for turn in turns[:2]),
            *(App(self.bob, turn) for turn in turns),
            App(self.cy, turns[1]),
        ]
        #: What was acknowledged, as it was.
        self.said: list[Any] = []
        self._over = False

    @asynccontextmanager
    async def here(self) -> AsyncIterator[Self]:
        """With all devices open."""
        await asyncio.gather(*(app.__aenter__() for app in self.apps))
        try:
            yield self
        finally:
            await asyncio.gather(*(app.__aexit__() for app in self.apps))

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[Callable[[int], Any]]:
        """They talk until the end of the block; what is given waits until so many more are acknowledged."""
        ways = [
            self._talk(self.apps[0], self.bob, "a"),
            self._talk(self.apps[3], self.ada, "b"),
            self._talk(self.apps[5], self.ada, "c"),
        ]
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            yield lambda count: self._more(count, tasks)
            self._over = True
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _more(self, count: int, tasks: Sequence["asyncio.Task[None]"]) -> None:
        wanted, deadline = len(self.said) + count, time.monotonic() + 2 * PATIENCE
        while len(self.said) < wanted:
            for task in tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < deadline, f"no {count} more"
            await asyncio.sleep(0.02)

    async def _talk(self, app: App, other: Person, name: str) -> None:
        """One after the other, by turns over HTTP and the socket."""
        urls = itertools.cycle(self.fleet.urls)
        for number in itertools.count():
            if self._over:
                return
            text, key = f"{name}{number}", secrets.token_hex(8)
            if number % 2:
                self.said.append(await app.say(other, text, key))
            else:
                self.said.append(await asyncio.to_thread(_say, app.person, urls, other, text, key))

    async def whole(self) -> None:
        """Each device has each message exactly once and in order, and everything else that their inboxes have."""
        expected = conversations(self.said)
        for app in self.apps:
            own = {name: told for name, told in expected.items() if app.person.user in (told[0][2], told[0][3])}
            await app.hears(lambda app=app, own=own: _counted(app) >= sum(map(len, own.values())), 2 * PATIENCE)
            assert conversations(each["data"] for each in app.of("message")) == own
        for name, told in expected.items():
            seqs = [each[0] for each in told]
            assert seqs == sorted(set(seqs)), name
        await self._all_of_the_log()
        for app in self.apps:
            app.whole()

    async def _all_of_the_log(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            log = await asyncio.to_thread(inboxes, self.fleet.system)
            differ = [app for app in self.apps if app.entries != _since(log[app.person.user], app.entries)]
            if not differ:
                return
            assert time.monotonic() < deadline, [
                (set(_since(log[app.person.user], app.entries)) ^ set(app.entries), app.url) for app in differ
            ]
            await asyncio.sleep(0.1)


def _counted(app: App) -> int:
    return len(app.of("message"))


def _since(log: Sequence[tuple[int, str]], told: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """What the log has from the first on that was told."""
    return [each for each in log if each[0] >= told[0][0]]


def _say(person: Person, urls: Iterator[str], other: Person, text: str, key: str) -> Any:
    """The message as it was kept: over HTTP, from gateway to gateway."""
    deadline = time.monotonic() + 2 * PATIENCE
    path = f"/v1/conversations/{other.user}/messages"
    while True:
        with suppress(*Unanswered):
            reply = Client(next(urls)).send("POST", path, {"text": text}, token=person.token, key=key)
            if reply.status == 201:
                return reply.body
            assert reply.status in (202, 503), reply
        assert time.monotonic() < deadline, f"{text} isn't taken"
        time.sleep(0.05)


def conversations(messages: Any) -> dict[str, list[tuple[int, str, str, str, str]]]:
    """Conversation -> its messages: seq, id, sender, recipient, text. A list is put in order first."""
    found: dict[str, list[tuple[int, str, str, str, str]]] = defaultdict(list)
    for each in messages if not isinstance(messages, list) else sorted(messages, key=lambda message: message["seq"]):
        found[each["conversation"]].append((each["seq"], each["id"], each["sender"], each["recipient"], each["text"]))
    return dict(found)


def inboxes(system: System) -> Mapping[str, list[tuple[int, str]]]:
    """Person -> (place, kind) of what is in their inbox as the log has it: what is there again is no entry."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    highest: dict[tuple[str, str], int] = {}
    for record in kafka.records(system, INBOX_EVENTS.name, committed=True):
        entry = INBOX_EVENTS.codec.decode(record.value)
        source = entry.recipient, entry.source
        if entry.seq > highest.get(source, 0):
            highest[source] = entry.seq
            found[entry.recipient].append((record.offset + 1, entry.kind))
    return found
