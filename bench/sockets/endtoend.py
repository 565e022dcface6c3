"""From the POST of a message to its event at the recipient's socket, beside a bare round trip through Kafka."""

import asyncio
import secrets
import time
from types import TracebackType
from typing import Any

import aiohttp
import socketio
from msgspec import Struct

from bench.gateways.crowd import TEXT
from bench.latency import RoundTrip
from bench.quantiles import quantiles
from bench.rig import BenchError
from devconnect.events.base import new_id
from devconnect.replay.account import Account
from devconnect.replay.client import COMMAND, Gateway, RefusedError, UnreachableError
from devconnect.replay.people import open_account
from devconnect.stack import Addresses

#: Messages a second at the steady rate.
RATE = 50.0
#: Samples that are thrown away first, each time.
WARM_UP = 20
#: Seconds that one message may take, and a trouble of the gateway may last.
PATIENCE = 20.0


class Sampled(Struct, kw_only=True):
    """From POST to event, and that over the bare round trip of the same run."""

    p50_ms: float
    p99_ms: float
    p50_ratio: float
    p99_ratio: float


class EndToEnd(Struct, kw_only=True):
    """Milliseconds. `sampled` has "one at a time" and "steady"."""

    round_trip_p50_ms: float
    round_trip_p99_ms: float
    samples: int
    rate: float
    sampled: dict[str, Sampled]


async def measure(addresses: Addresses, url: str, samples: int) -> EndToEnd:
    """With a system that is up at `url` (its workers, too), whose parts are at these addresses; BenchError."""
    third = max(1, samples // 3)
    try:
        async with RoundTrip(addresses) as trips, Talk(url) as talk:
            bare = await trips.sample(third)
            alone = await talk.one_at_a_time(samples)
            bare += await trips.sample(third)
            steady = await talk.steadily(samples, RATE)
            bare += await trips.sample(third)
    except (RefusedError, UnreachableError) as error:
        raise BenchError(f"the gateway: {error}") from None
    half, most = quantiles(bare)
    return EndToEnd(
        round_trip_p50_ms=half,
        round_trip_p99_ms=most,
        samples=samples,
        rate=RATE,
        sampled={"one at a time": held(alone, half, most), "steady": held(steady, half, most)},
    )


def held(seconds: list[float], half: float, most: float) -> Sampled:
    """These against p50 and p99 of the round trips, in milliseconds."""
    p50, p99 = quantiles(seconds)
    return Sampled(p50_ms=p50, p99_ms=p99, p50_ratio=p50 / half, p99_ratio=p99 / most)


class Arrivals:
    """When which message was told; an event may come before the answer to its own POST does."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._changed = asyncio.Event()

    def note(self, data: Any) -> None:
        """An event `message`. Nobody would hear an error here: one without an id is never counted, and so is missed."""
        now = time.monotonic()
        said = data.get("data") if isinstance(data, dict) else None
        if isinstance(said, dict) and isinstance(said.get("id"), str):
            # A message's id is that of the command by which it was said.
            self._at.setdefault(said["id"], now)
            self._changed.set()

    async def of(self, message: str) -> float:
        """When it came, waited for; BenchError when it doesn't."""
        try:
            async with asyncio.timeout(PATIENCE):
                while message not in self._at:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise BenchError(f"message {message} hasn't come to its recipient after {PATIENCE:g} s") from None
        return self._at[message]


class Talk:
    """Two connected people: one writes over HTTP, the other listens with python-socketio's own client."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._gateway = Gateway(self._http, url, concurrency=64, patience=PATIENCE)
        self._socket = socketio.AsyncClient(reconnection=False)
        self._arrivals = Arrivals()
        self._socket.on("message", self._arrivals.note)

    async def __aenter__(self) -> "Talk":
        try:
            self._one, self._other = await self._person("one"), await self._person("other")
            await self._gateway.command(
                "/v1/connections", {"user": self._other.user, "interest": "interested"}, self._one
            )
            await self._gateway.command(
                f"/v1/connections/{self._one.user}/review", {"verdict": "accepted"}, self._other
            )
            await self._socket.connect(self._url, auth={"token": self._other.token}, transports=["websocket"])
        except socketio.exceptions.ConnectionError as error:
            await self._end()
            raise BenchError(f"the recipient's socket isn't let in: {error}") from None
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        await self._socket.disconnect()
        await self._http.close()

    async def _person(self, name: str) -> Account:
        email = f"realtime.{name}.{new_id()[:8]}@example.org"
        return await open_account(self._gateway, email, secrets.token_urlsafe(16), f"Realtime {name}", {})

    async def _say(self) -> tuple[str, float]:
        """A message's id, and when its POST was begun."""
        began = time.monotonic()
        path = f"/v1/conversations/{self._other.user}/messages"
        headers = {"Authorization": f"Bearer {self._one.token}"}
        try:
            async with self._http.post(self._url + path, json={"text": TEXT}, headers=headers) as answer:
                said = await answer.text()
        except aiohttp.ClientError as error:
            raise BenchError(f"a message wasn't answered ({type(error).__name__})") from None
        if answer.status not in (200, 201, 202):
            raise BenchError(f"a message was answered {answer.status} {said[:200]}")
        # A message has the id of its command.
        return answer.headers[COMMAND], began

    async def _sample(self) -> float:
        message, began = await self._say()
        return await self._arrivals.of(message) - began

    async def one_at_a_time(self, count: int) -> list[float]:
        """Seconds of each; the next is said when the last was heard."""
        return [await self._sample() for _ in range(count + WARM_UP)][WARM_UP:]

    async def steadily(self, count: int, rate: float) -> list[float]:
        """Seconds of each, said at their time whatever became of the others."""
        began = time.monotonic()
        tasks: list[asyncio.Task[float]] = []
        failures: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(count + WARM_UP):
                    await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                    tasks.append(group.create_task(self._sample()))
        except* BenchError as several:
            failures += several.exceptions
        if failures:
            raise failures[0]
        return [task.result() for task in tasks][WARM_UP:]
