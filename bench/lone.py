"""Lone commands: each is given by the gateway's own producer and followed until its event is applied in Redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from bench.rig import BenchError
from bench.stages import Stages
from devconnect.adapters.kafka.gateway import KafkaCommands
from devconnect.adapters.redis import keys
from devconnect.events.base import new_id, pair_id
from devconnect.events.commands import AnyCommand, RequestConnection, ReviewConnection, SendMessage, SignUp
from devconnect.events.topics import topic_of
from devconnect.settings import Settings
from devconnect.stack import Addresses

#: Commands that are thrown away first.
WARM_UP = 20
#: Seconds that one command may take to be applied.
PATIENCE = 15.0


class LoneCommands:
    """Two connected people, one of whom writes to the other, a message at a time.

    Redis tells when the record of their conversation changes (a keyspace notification): that costs the servers a
    message a change, and nobody asks again and again.
    """

    def __init__(self, settings: Settings, addresses: Addresses) -> None:
        self._commands = KafkaCommands(addresses.kafka, partitions=settings.partitions)
        self._redis = Redis.from_url(addresses.redis, socket_timeout=None, decode_responses=True)
        self._heard: PubSub = self._redis.pubsub(ignore_subscribe_messages=True)
        self._one, self._other = "", ""

    async def __aenter__(self) -> "LoneCommands":
        try:
            await self._set_up()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._heard.aclose()  # type: ignore[no-untyped-call]  # redis-py
        await self._redis.aclose()
        await self._commands.stop()

    async def _set_up(self) -> None:
        await self._commands.start()
        await self._redis.config_set("notify-keyspace-events", "Kh")
        self._one, self._other = await self._sign_up("one@example.org"), await self._sign_up("other@example.org")
        await self._give(RequestConnection(**_head(self._one), to=self._other, interest="interested"))
        await self._until(lambda: self._state("requested"), "the request")
        await self._give(ReviewConnection(**_head(self._other), requester=self._one, verdict="accepted"))
        await self._until(lambda: self._state("accepted"), "the connection")
        await self._heard.subscribe(f"__keyspace@0__:{keys.positions(self.conversation)}")

    @property
    def conversation(self) -> str:
        """What the two say."""
        return pair_id(self._one, self._other)

    async def sample(self, count: int, pause: Callable[[], float], stages: Stages) -> tuple[list[float], list[float]]:
        """Seconds to each command's acknowledgement, and from there to its event applied."""
        acknowledged, applied = [], []
        for number in range(-WARM_UP, count):
            await asyncio.sleep(pause())
            command = SendMessage(**_head(self._one), to=self._other, text="How is the compaction going?")
            began = time.monotonic()
            await self._give(command)
            then = time.monotonic()
            await self._applied()
            now = time.monotonic()
            if number >= 0:
                acknowledged.append(then - began)
                applied.append(now - then)
                await stages.note(command.id, began, then, now)
        return acknowledged, applied

    async def _applied(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self._heard.get_message(timeout=PATIENCE) is None:
                pass

    async def _give(self, command: AnyCommand) -> None:
        topic = topic_of(command)
        if topic.codec is None:
            raise BenchError(f"{topic.name} has no codec")
        await self._commands.send(topic.name, command.key, topic.codec.encode(command))

    async def _sign_up(self, email: str) -> str:
        wanted = self._commands.partition_of(email)
        user = new_id()
        while self._commands.partition_of(user) != wanted:
            user = new_id()
        await self._give(SignUp(**_head(user), user=user, email=email, password_hash="-", name=email))
        await self._until(lambda: self._redis.exists(keys.user(user)), "the account")
        return user

    async def _state(self, state: str) -> bool:
        found = await self._redis.hget(keys.relations(self._one), self._other)
        return found is not None and str(found).split("|")[1] == state

    async def _until(self, condition: Callable[[], Awaitable[object]], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not await condition():
            if time.monotonic() > deadline:
                raise BenchError(f"{what} wasn't there after {PATIENCE:g} s")
            await asyncio.sleep(0.02)


def _head(actor: str) -> dict[str, Any]:
    return {"id": new_id(), "actor": actor, "at": time.time_ns() // 1_000_000}
