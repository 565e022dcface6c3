"""What is behind sockets, on fakes: the gateway of `web_house` with seats in place of sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request

from devconnect.adapters.inboxes import Inboxes
from devconnect.events.base import new_id
from devconnect.ports.inbox import Heard, Live
from devconnect.ports.metrics import NoMetrics
from devconnect.ports.reads import PresenceView
from devconnect.ports.roster import Roster, Told, Watcher, Watching
from devconnect.ports.truth import UnavailableError
from tests.delivery_fakes import MemoryFocus
from tests.inbox_fakes import MemoryFar, MemoryNear
from tests.unit.web_house import House, Person, gateway
from web.gateway import GATEWAY, Parts
from web.life import Life
from web.realtime.application import Realtime
from web.realtime.frames import Frame, encode_event, text_of
from web.realtime.guests import Guests
from web.realtime.hub import Hub
from web.realtime.sockets import Refused

STRANGER = "f" * 32


class Seat:
    """A socket as the application has it."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests
        self.data: Any = None
        self.id = new_id()
        self.closed = self.final = False
        self.reason = ""
        #: Event and data, in order.
        self.told: list[tuple[str, Any]] = []

    def send(self, frame: Frame) -> None:
        if not self.closed:
            name, *args = msgspec.json.decode(text_of(frame)[2:])
            self.told.append((name, *args))

    def emit(self, name: str, *args: bytes) -> None:
        self.send(encode_event(name, *args))

    async def flush(self) -> None:
        """All is sent."""

    def close(self, reason: str, *, final: bool = False) -> None:
        if not self.closed:
            self.reason, self.final = reason, final
            self.leave()

    def leave(self) -> None:
        """It is gone, however that came."""
        if not self.closed:
            self.closed = True
            self._guests.gone(self)

    def of(self, name: str) -> list[Any]:
        """The data of these events."""
        return [data for event, data in self.told if event == name]


class MemoryLive(Live):
    """Who is told of what isn't kept."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, Any]] = []
        self.listeners: dict[str, Heard] = {}
        self.down = False

    @property
    def healthy(self) -> bool:
        return not self.down

    def on_heard(self, call: Callable[[], None]) -> None:
        """Nothing is ever lost."""

    async def listen(self, user: str, heard: Heard) -> bool:
        self.listeners[user] = heard
        return True

    def forget(self, users: Sequence[str]) -> None:
        for user in users:
            self.listeners.pop(user, None)

    async def tell(self, user: str, kind: str, text: str) -> None:
        if self.down:
            raise UnavailableError("Redis is down")
        self.said.append((user, kind, msgspec.json.decode(text)))


class MemoryRoster(Roster):
    """Who came and went, in order."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    async def join(self, user: str) -> bool:
        self.said.append(("join", user))
        return True

    async def leave(self, user: str) -> bool:
        self.said.append(("leave", user))
        return True


class MemoryWatcher(Watcher):
    """Everybody is online."""

    def __init__(self, of: "MemoryWatching", told: Told) -> None:
        self.of, self.told = of, told
        self.users: set[str] = set()
        of.open.add(self)

    @property
    def watched(self) -> Set[str]:
        return self.users

    async def add(self, users: Sequence[str]) -> list[PresenceView]:
        if self.of.down:
            raise UnavailableError("Redis is down")
        self.users.update(users)
        return [PresenceView(user=user, online=True, last_seen=0) for user in users]

    def remove(self, users: Sequence[str]) -> None:
        self.users.difference_update(users)

    def close(self) -> None:
        self.users.clear()
        self.of.open.discard(self)


class MemoryWatching(Watching):
    """The watchers that are open."""

    def __init__(self) -> None:
        self.open: set[MemoryWatcher] = set()
        self.down = False

    def watcher(self, reader: str, told: Told) -> Watcher:
        return MemoryWatcher(self, told)


class Salon:
    """The house, and what sockets need beside it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.live, self.roster, self.watching, self.focus = (
            MemoryLive(),
            MemoryRoster(),
            MemoryWatching(),
            MemoryFocus(),
        )
        self.life = Life()
        #: Seconds that have passed for the buckets.
        self.later = 0.0
        self.near, self.far = MemoryNear(), MemoryFar()
        near: Any = self.near
        far: Any = self.far
        parts = house.parts
        self.gateway = house.client.app[GATEWAY]
        self.hub = Hub(Inboxes(near, far), self.live, freshness=parts.freshness, clock=parts.clock, metrics=NoMetrics())
        self.guests = Guests(
            self.gateway.gate,
            self.hub,
            roster=self.roster,
            watching=self.watching,
            ends=parts.ends,
            clock=parts.clock,
            life=self.life,
            grace=60.0,
        )
        loop = asyncio.get_running_loop()
        self.app = Realtime(
            self.gateway, self.guests, live=self.live, focus=self.focus, now=lambda: loop.time() + self.later
        )

    async def knock(self, auth: Any = None, headers: Mapping[str, str] | None = None) -> Seat:
        """Somebody wants in. Raises Refused."""
        seat = Seat(self.guests)
        request = make_mocked_request("GET", "/socket.io/", headers={"Host": "gateway", **(headers or {})})
        await self.app.on_connect(seat, auth, request)
        return seat

    async def sit(self, person: Person, **auth: Any) -> Seat:
        """A socket of a person who is logged in, open."""
        seat = await self.knock({"token": person.token, **auth})
        await self.app.on_ready(seat)
        return seat

    async def refusal(self, auth: Any = None, headers: Mapping[str, str] | None = None) -> str:
        """The code of one."""
        try:
            await self.knock(auth, headers)
        except Refused as refused:
            return refused.code
        return "let in"

    async def ask(self, seat: Seat, name: str, *args: Any) -> Any:
        """The acknowledgement of an event."""
        answer: Any = await self.app.on_event(seat, name, list(args))
        return msgspec.json.decode(answer if isinstance(answer, bytes) else await answer)

    async def does(self, seat: Seat, name: str, payload: Any) -> Any:
        """The result of one that goes well."""
        ack = await self.ask(seat, name, payload)
        assert ack["status"] in (200, 201), ack
        return ack["result"]


@asynccontextmanager
async def salon(change: Callable[[Parts], Parts] | None = None, **settings: Any) -> AsyncIterator[Salon]:
    """All of it."""
    async with gateway(change, **settings) as house:
        found = Salon(house)
        yield found
        await found.guests.stop()
        await found.hub.stop()


@pytest.fixture
async def room() -> AsyncIterator[Salon]:
    async with salon() as found:
        yield found


@pytest.fixture
async def pair(room: Salon) -> tuple[Person, Person]:
    return await room.house.friends()


async def said(room: Salon, seat: Seat, to: Person, text: str = "Hello", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = await room.does(seat, "send_message", {"to": to.id, "text": text, **more})
    return found


def code(ack: Any) -> str:
    """What is wrong."""
    found: str = ack["problem"]["code"]
    assert ack["status"] == ack["problem"]["status"]
    assert "result" not in ack
    return found
