"""Devices for the end-to-end tests: Socket.IO clients that note what they are told, each held against the document."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import jsonschema_rs
import socketio

from tests.e2e.people import Person
from tests.waiting import PATIENCE
from web.realtime import asyncapi
from web.realtime.clients import EVENTS

DOCUMENT = asyncapi.build()
#: What is kept in inboxes.
KEPT = ("message", "message_changed", "status", "notification", "notifications_read")


@cache
def validator(message: str) -> Any:
    """What knows how this message must be."""
    schema = {**DOCUMENT["components"]["messages"][message]["payload"], "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(schema)


def check(message: str, payload: Any) -> None:
    """AssertionError unless that is what the document says."""
    try:
        validator(message).validate(payload)
    except jsonschema_rs.ValidationError as error:
        raise AssertionError(f"{message}: {error} in {payload}") from None


class Device:
    """One device of a person: it keeps its cursor, as apps do."""

    def __init__(self, person: Person, url: str | None = None) -> None:
        self.person = person
        self.url = url or f"http://{person.client.address}"
        self.cursor: str | None = None
        #: (event, data) in the order in which it was told.
        self.heard: list[tuple[str, Any]] = []
        self.closed = asyncio.Event()
        self._client: Any = None

    async def open(self, *, headers: dict[str, str] | None = None, auth: Any = ...) -> "Device":
        """Connect, and return when it is known what it gets."""
        self.closed.clear()
        client = self._client = socketio.AsyncClient(reconnection=False)
        client.on("*", self._on_event)
        client.on("disconnect", lambda *_: self.closed.set())
        given = (
            {"token": self.person.token} if self.cursor is None else {"token": self.person.token, "cursor": self.cursor}
        )
        before = len(self.of("inbox"))
        await client.connect(
            self.url,
            auth=given if auth is ... else auth,
            headers=headers or {},
            transports=["websocket"],
            wait_timeout=10,
        )
        await self.hears(lambda: len(self.of("inbox")) > before or self.closed.is_set())
        if len(self.of("inbox")) == before:
            raise ConnectionError("it was closed at once")
        return self

    async def close(self) -> None:
        """As somebody closes a tab."""
        await self._client.disconnect()

    async def kill(self) -> None:
        """As a device loses its network."""
        await self._client.eio.http.close()
        self._client = None

    async def ask(self, event: str, payload: Any, seconds: float = PATIENCE) -> dict[str, Any]:
        """The acknowledgement of an event."""
        ack: dict[str, Any] = await self._client.call(event, payload, timeout=seconds)
        check(f"{event}_ack" if event in EVENTS else "send_message_ack", ack)
        return ack

    async def does(self, event: str, payload: Any) -> dict[str, Any]:
        """The result of an event, which must be one."""
        ack = await self.ask(event, payload)
        assert ack["status"] in (200, 201), ack
        result: dict[str, Any] = ack["result"]
        return result

    async def hears(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """What the condition gives as soon as that is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {str(self.heard[-5:])[-1000:]}"
            await asyncio.sleep(0.01)
        return found

    def of(self, *names: str) -> list[Any]:
        """The data of these events, in order."""
        return [data for name, data in self.heard if name in names]

    @property
    def texts(self) -> list[str]:
        """What the messages that it was told of say."""
        return [told["data"]["text"] for told in self.of("message")]

    @property
    def entries(self) -> list[tuple[int, str]]:
        """What it was told that is kept: (place, kind)."""
        return [(int(data["cursor"].partition("-")[2]), name) for name, data in self.heard if name in KEPT]

    def in_order(self) -> None:
        """It was told of nothing twice, and of nothing after what came later."""
        places = [place for place, _ in self.entries]
        assert places == sorted(set(places)), "out of order, or twice"

    def _on_event(self, name: str, *args: Any) -> None:
        [data] = args
        check(name, data)
        self.heard.append((name, data))
        if name == "inbox" or name in KEPT:
            self.cursor = data["cursor"]


@asynccontextmanager
async def device(person: Person, url: str | None = None) -> AsyncIterator[Device]:
    """A device that is open, and closed at the end."""
    found = Device(person, url)
    await found.open()
    try:
        yield found
    finally:
        await found.close()
