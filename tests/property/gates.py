"""What is outside of the simulated processes, behind their gates: a call waits there, and ends as the test says."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Literal
from zlib import crc32

from aiokafka.errors import KafkaConnectionError

from devconnect.ports.publisher import DeadLetter, Publisher, Record
from devconnect.ports.truth import UnavailableError
from faust_batch.changelog import Chunk
from faust_batch.table import Log
from tests.fakes import MemoryAnswers

PARTITIONS = 2
#: How a call ends: done; not done and said so; done, or one half of it or the other, and not known to be.
Outcome = Literal["done", "down", "lost", "half", "rest"]


def partition_of(key: str) -> int:
    """The partition of a key. "ann", "ann@x" and whatever else begins so are in one, as a user and an address are."""
    return crc32(key.partition("@")[0].encode()) % PARTITIONS


class Gated:
    """A store behind the gates of a process: what fails, or may have failed, is told as UnavailableError."""

    def __init__(self, process: Any, name: str, store: Any) -> None:
        self._process, self._name, self._store = process, name, store

    def __getattr__(self, method: str) -> Any:
        async def call(first: Any = (), *rest: Any, **more: Any) -> Any:
            work = getattr(self._store, method)
            outcome = await self._process.gate(f"{self._name}.{method}")
            if outcome != "down":
                found = await work(_stored(first, outcome, method), *rest, **more)
                if outcome == "done":
                    return found
            raise UnavailableError(f"{method}: {outcome}")

        return call


class GatedAnswers(MemoryAnswers):
    """Answers that get lost without a word, as the port says."""

    def __init__(self, process: Any) -> None:
        self._process = process

    async def tell(self, answers: Sequence[Any]) -> None:
        if await self._process.gate("answers.tell") == "done":
            await self._process.world.answers.tell(answers)

    async def forget(self, commands: Collection[str]) -> None:
        if commands and await self._process.gate("answers.forget") == "done":
            await self._process.world.answers.forget(commands)


class GatedPublisher(Publisher):
    """Appends as the batch producer does: whatever isn't known to be there is appended again, whole."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.letters = process.world.letters

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        while True:
            outcome = await self._process.gate(f"publish {topic}-{partition}")
            last = self._process.world.append((topic, partition), _reached(records, outcome))
            if outcome == "done":
                return last

    async def spread(self, topic: str, records: Sequence[Record]) -> None:
        groups: dict[int, list[Record]] = {}
        for record in records:
            groups.setdefault(partition_of((record.key or b"").decode()), []).append(record)
        await asyncio.gather(*(self.publish(topic, partition, group) for partition, group in groups.items()))

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        self.letters.extend(letters)


class GatedLog(Log):
    """A changelog that is appended to in the same way, and read a few records at a time."""

    def __init__(self, process: Any, topic: str) -> None:
        self._process, self._topic = process, topic
        self._log, self._removed = process.world.changelogs[topic], process.world.removed

    async def append(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> int:
        while True:
            outcome = await self._process.gate(f"changelog append {partition}")
            reached = _reached(items, outcome)
            last = await self._log.append(partition, reached) if reached else -1
            if reached:
                self._process.world.writers[self._topic, partition] = self._process
            if outcome == "done":
                return last

    async def read(self, positions: Mapping[int, int]) -> AsyncIterator[Chunk]:
        async for chunk in self._log.read(positions):
            if await self._process.gate("changelog read") != "done":
                raise KafkaConnectionError
            kept = [each for each in chunk.records if (self._topic, chunk.partition, each.offset) not in self._removed]
            yield chunk._replace(records=kept)


def _stored(items: Any, outcome: Outcome, method: str) -> Any:
    """What a store did of a call: its items are taken in any order, but for those that rest on the ones before them.

    A name isn't items: what is done with it is done, or not.
    """
    if outcome not in ("half", "rest") or isinstance(items, str):
        return items
    if isinstance(items, dict):
        return dict(_stored(items.items(), outcome, method))
    return list(items)[: len(items) // 2] if method in ("reserve", "record") else list(items)[outcome == "rest" :: 2]


def _reached(items: Sequence[Any], outcome: Outcome) -> Sequence[Any]:
    """What the broker got of a request: an append keeps its order, so a half is the first one."""
    if outcome in ("half", "rest"):
        return items[: (len(items) + 1) // 2]
    return [] if outcome == "down" else items
