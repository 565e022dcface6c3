"""Where the time of a lone command goes: the same records seen by bare consumers, and the workers' own metrics."""

import asyncio
import http.client
import re
import time
from collections.abc import Mapping

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from devconnect.events.topics import MESSAGE_COMMANDS, MESSAGE_EVENTS
from devconnect.stack import Addresses
from devconnect.stack.ports import LOOPBACK

PATIENCE = 5.0
_SUM = re.compile(r'^devconnect_batch_seconds_(sum|count)\{agent="([^"]+)"\} (\S+)$', re.MULTILINE)


class Stages:
    """Follows commands on their way; does nothing where it wasn't asked for.

    A bare consumer a topic notes when each record came. It costs some time of the machine: ask for the stages to
    compare them with each other, not with a run without.
    """

    def __init__(self, addresses: Addresses, ports: Mapping[str, int], partitions: int, *, enabled: bool) -> None:
        self._kafka = addresses.kafka
        self._ports = ports
        self._partitions = partitions
        self._enabled = enabled
        self._seen: dict[tuple[str, str], asyncio.Future[float]] = {}
        self._watching: list[asyncio.Task[None]] = []
        self._consumers: list[AIOKafkaConsumer] = []
        self._before: dict[str, tuple[float, float]] = {}
        #: Stage -> seconds of each command.
        self.found: dict[str, list[float]] = {}
        #: Agent -> mean milliseconds a batch, by the workers' own metrics.
        self.agents: dict[str, float] = {}

    async def __aenter__(self) -> "Stages":
        if self._enabled:
            for topic in (MESSAGE_COMMANDS.name, MESSAGE_EVENTS.name):
                await self._watch(topic)
            self._before = await asyncio.to_thread(self._scrape)
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._enabled:
            return
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for consumer in self._consumers:
            await consumer.stop()
        for agent, (total, count) in (await asyncio.to_thread(self._scrape)).items():
            before = self._before.get(agent, (0.0, 0.0))
            if count > before[1]:
                self.agents[agent] = (total - before[0]) / (count - before[1]) * 1000

    async def note(self, command: str, began: float, acknowledged: float, applied: float) -> None:
        """A command that was given at `began`; times are of the monotonic clock."""
        if not self._enabled:
            return
        command_seen = await self._when(MESSAGE_COMMANDS.name, command)
        event_seen = await self._when(MESSAGE_EVENTS.name, command)
        steps = {
            "given -> acknowledged": acknowledged - began,
            "given -> command at a bare consumer": command_seen - began,
            "command at a bare consumer -> event at a bare consumer": event_seen - command_seen,
            "event at a bare consumer -> applied": applied - event_seen,
        }
        for name, seconds in steps.items():
            self.found.setdefault(name, []).append(seconds)

    async def _when(self, topic: str, command: str) -> float:
        async with asyncio.timeout(PATIENCE):
            return await self._future(topic, command)

    def _future(self, topic: str, command: str) -> asyncio.Future[float]:
        return self._seen.setdefault((topic, command), asyncio.get_running_loop().create_future())

    async def _watch(self, topic: str) -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._kafka, enable_auto_commit=False)
        await consumer.start()
        self._consumers.append(consumer)
        tps = [TopicPartition(topic, number) for number in range(self._partitions)]
        consumer.assign(tps)
        for tp, end in (await consumer.end_offsets(tps)).items():
            consumer.seek(tp, end)

        async def follow() -> None:
            async for record in consumer:
                now = time.monotonic()
                # A command's id is its own; an event's is the command's, with an index behind it.
                command = str(msgspec.json.decode(record.value)["id"])[:32]
                future = self._future(topic, command)
                if not future.done():
                    future.set_result(now)

        self._watching.append(asyncio.create_task(follow(), name=f"watch {topic}"))

    def _scrape(self) -> dict[str, tuple[float, float]]:
        """Agent -> seconds in all, and batches."""
        found: dict[str, dict[str, float]] = {}
        for port in self._ports.values():
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            connection.close()
            for kind, agent, value in _SUM.findall(text):
                found.setdefault(agent, {})[kind] = float(value)
        return {agent: (each["sum"], each["count"]) for agent, each in found.items()}
