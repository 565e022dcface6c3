"""`bench latency`: how soon a lone command takes effect, and what reads cost with the cache and without."""

import asyncio
import random
import time
from collections.abc import Callable

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from msgspec import Struct

from bench.changelogs import create
from bench.lone import LoneCommands
from bench.quantiles import quantiles
from bench.reads import Comparison, compare
from bench.rig import servers, workers
from bench.stages import Stages
from devconnect.adapters.kafka.topics import ensure_topics
from devconnect.settings import Settings
from devconnect.stack import Addresses

#: The topic of the bare round trips; it is not the project's own.
ROUND_TRIP = "bench-round-trip"
#: Bytes of a record of theirs, about those of a command.
RECORD_BYTES = 250
#: Samples that are thrown away first, each time.
WARM_UP = 20
#: Seconds between two records, on average: the rate is modest, and no sample waits for the one before it.
PAUSE = 0.01
#: Seconds that one command may take.
PATIENCE = 15.0

Say = Callable[[str], None]


class Options(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    samples: int
    partitions: int
    stages: bool
    #: For the comparison of reads, which is left out where there are none; and how often each is read.
    people: int
    reads: int


class Latency(Struct, kw_only=True):
    """The figures, milliseconds but for `ratio`: applied p50 / round trip p50."""

    round_trip_p50_ms: float
    round_trip_p99_ms: float
    applied_p50_ms: float
    applied_p99_ms: float
    ratio: float
    #: How long the commands' own acknowledgements took.
    acknowledged_p50_ms: float
    acknowledged_p99_ms: float
    samples: int
    partitions: int
    #: Stage -> its p50 and p99, where they were asked for.
    stages: dict[str, tuple[float, float]] = {}
    #: Agent -> mean milliseconds that it took for a batch.
    agents: dict[str, float] = {}
    #: What people read, from Redis and from MongoDB.
    reads: dict[str, Comparison] = {}
    people: int = 0


def run(options: Options, say: Say) -> Latency:
    """The whole benchmark on servers and workers of its own."""
    with servers(options.partitions) as (settings, addresses):
        asyncio.run(ensure_topics(addresses.kafka, settings))
        say("starting the workers")
        with workers(settings, addresses) as ports:
            found = uvloop.run(_measure(settings, addresses, ports, options, say))
        if options.people:
            found.people = options.people
            found.reads = uvloop.run(
                compare(settings, addresses, people=options.people, samples=options.reads, say=say)
            )
        return found


async def _measure(
    settings: Settings, addresses: Addresses, ports: dict[str, int], options: Options, say: Say
) -> Latency:
    half = options.samples // 2
    async with RoundTrip(addresses) as round_trip, LoneCommands(settings, addresses) as commands:
        say("bare round trips, lone commands, bare round trips")
        bare = await round_trip.sample(half)
        async with Stages(addresses, ports, options.partitions, enabled=options.stages) as stages:
            acknowledged, applied = await commands.sample(options.samples, _pause, stages)
        bare += await round_trip.sample(options.samples - half)
    trip50, trip99 = quantiles(bare)
    applied50, applied99 = quantiles(applied)
    acknowledged50, acknowledged99 = quantiles(acknowledged)
    return Latency(
        round_trip_p50_ms=trip50,
        round_trip_p99_ms=trip99,
        applied_p50_ms=applied50,
        applied_p99_ms=applied99,
        ratio=applied50 / trip50,
        acknowledged_p50_ms=acknowledged50,
        acknowledged_p99_ms=acknowledged99,
        samples=options.samples,
        partitions=options.partitions,
        stages={name: quantiles(found) for name, found in stages.found.items()},
        agents=stages.agents,
    )


def _pause() -> float:
    return random.uniform(0.5, 1.5) * PAUSE


class RoundTrip:
    """A bare aiokafka producer, set as the gateway's, and a bare consumer with aiokafka's own settings."""

    def __init__(self, addresses: Addresses) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=addresses.kafka, enable_auto_commit=False)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=addresses.kafka, acks="all", enable_idempotence=True, linger_ms=0
        )
        self._kafka = addresses.kafka

    async def __aenter__(self) -> "RoundTrip":
        await create(self._kafka, ROUND_TRIP, 1, "delete")
        await self._producer.start()
        await self._consumer.start()
        self._consumer.assign([TopicPartition(ROUND_TRIP, 0)])
        self._consumer.seek(TopicPartition(ROUND_TRIP, 0), 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
        await self._producer.stop()

    async def sample(self, count: int) -> list[float]:
        """Seconds from the call that produces a record to the consumer having it, one record at a time."""
        found = []
        value = b"." * RECORD_BYTES
        for _ in range(count + WARM_UP):
            await asyncio.sleep(_pause())
            began = time.monotonic()
            acknowledged = await self._producer.send(ROUND_TRIP, value, partition=0)
            async with asyncio.timeout(PATIENCE):
                await self._consumer.getone()
            found.append(time.monotonic() - began)
            await acknowledged
        return found[WARM_UP:]
