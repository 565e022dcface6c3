"""Sockets that join others of their person: each is told what follows what it was told before, or that it doesn't."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from devconnect.domain.inbox import Item
from devconnect.ports.inbox import Found, Heard
from tests.fakes import ManualClock, MemoryMetrics
from web.realtime import followers
from web.realtime.hub import Hub


class Inbox:
    """ports.inbox.Inbox that answers what it is told to: by default that nothing follows."""

    def __init__(self) -> None:
        self.answers: list[Found] = []

    async def heads(self, users: Sequence[str]) -> list[int | None]:
        return [None] * len(users)

    async def after(self, user: str, cursor: int, epoch: int | None = None) -> Found:
        return self.answers.pop(0) if self.answers else Found(epoch or 1, cursor, [], True)

    async def newest(self, user: str) -> Found:
        return await self.after(user, 0)


class Live:
    """ports.inbox.Live; `heard` has it hear something."""

    healthy = True

    def __init__(self) -> None:
        self.heard: Heard = lambda item: None

    def on_heard(self, call: Callable[[], None]) -> None:
        pass

    async def listen(self, user: str, heard: Heard) -> bool:
        self.heard = heard
        return True

    def forget(self, users: Sequence[str]) -> None:
        pass

    async def tell(self, user: str, kind: str, text: str) -> None:
        pass


class Freshness:
    def as_of(self) -> int | None:
        return None


class Outlet:
    """A socket: what it was told, and why it was closed. One that is `stuck` takes nothing."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.told: list[tuple[str, Any]] = []
        self.reason = ""
        self._taking = asyncio.Event()
        if not stuck:
            self._taking.set()

    @property
    def closed(self) -> bool:
        return bool(self.reason)

    def send(self, frame: bytes) -> None:
        name, data = json.loads(frame[frame.index(b"42[") + 2 :])
        self.told.append((name, data))

    async def flush(self) -> None:
        await self._taking.wait()

    def close(self, reason: str) -> None:
        self.reason = self.reason or reason


def item(cursor: int, previous: int, *, text: str = "") -> Item:
    return Item(cursor, previous, "message", json.dumps({"cursor": f"1-{cursor}", "at": 0, "text": text}).encode())


class House:
    def __init__(self) -> None:
        self.inbox, self.live = Inbox(), Live()
        self.hub = Hub(
            self.inbox,
            self.live,
            freshness=Freshness(),
            clock=ManualClock(),
            metrics=MemoryMetrics(),
        )

    async def come(self, epoch: int, cursor: int, *answers: Found) -> Outlet:
        found = Outlet()
        self.inbox.answers += answers
        await self.hub.attach(found, "bob", (epoch, cursor))
        return found


@pytest.fixture
async def house() -> AsyncIterator[House]:
    found = House()
    yield found
    await found.hub.stop()


async def test_who_comes_back_and_takes_nothing_keeps_nobody_waiting(house: House, monkeypatch: Any) -> None:
    monkeypatch.setattr(followers, "TAKE", 0.05)
    other = await house.come(1, 10)
    stuck = Outlet(stuck=True)
    house.inbox.answers.append(Found(1, 10, [item(9, 3, text="x" * followers.FLUSH), item(10, 9)], True))
    joining = asyncio.create_task(house.hub.attach(stuck, "bob", (1, 3)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(stuck.told) == 2
    house.live.heard(item(11, 10))
    assert [data["cursor"] for _, data in other.told] == ["1-10", "1-11"]
    assert not stuck.closed
    await joining
    assert stuck.reason == "slow"
    house.live.heard(item(12, 11))
    assert len(stuck.told) == 2


async def test_nothing_is_told_behind_a_gap(house: House) -> None:
    other = await house.come(1, 10)
    late = await house.come(1, 3, *[Found(1, 3, [], True)] * 2, Found(1, 10, [item(10, 9)], False))
    assert late.reason == "behind"
    assert [name for name, _ in late.told] == ["inbox"]
    assert not other.closed


async def test_others_are_told_when_the_log_is_another_one(house: House) -> None:
    old = await house.come(1, 10)
    nothing = Found(2, 3, [], True)
    new = await house.come(2, 3, nothing, nothing, Found(2, 3, [], False))
    assert [(data["recovered"], data["cursor"]) for _, data in old.told] == [(True, "1-10"), (False, "2-3")]
    house.live.heard(item(4, 3))
    for each in (old, new):
        assert each.told[-1][0] == "message"


async def test_what_is_said_between_the_last_look_and_the_first_socket_is_told(house: House) -> None:
    nothing, last = Found(1, 10, [], True), Found(1, 11, [item(11, 10)], True)
    socket = await house.come(1, 10, nothing, nothing, last, last)
    assert [data["cursor"] for _, data in socket.told] == ["1-10", "1-11"]
    house.live.heard(item(11, 10))
    house.live.heard(item(12, 11))
    assert [data["cursor"] for _, data in socket.told] == ["1-10", "1-11", "1-12"]
