"""`bench gateway`: requests a second of the gateway and of its floors, each a process of its own, loaded in turn."""

import asyncio
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct
from redis import Redis

from bench.changelogs import create
from bench.gateways import bare, load
from bench.gateways.asks import Ask, sample
from bench.gateways.crowd import Crowd, assemble
from bench.gateways.entrants import NAMES, asks, entrants, gateway
from bench.gateways.report import Report, Result, Turn, busy, ratios, summed_up, tails
from bench.gateways.server import Server, serving
from bench.machine import machine
from bench.rig import BenchError, servers, workers
from bench.runs import Say
from devconnect.adapters.kafka.topics import ensure_topics
from devconnect.settings import Settings
from devconnect.stack import Addresses

#: Seconds of load before each that counts, at most.
WARM_UP = 1.0
#: Distributions whose versions the report names.
PACKAGES = ("aiohttp", "aiokafka", "hiredis", "redis", "uvloop")


class Options(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    seconds: float
    rounds: int
    connections: int
    partitions: int
    generator: load.Generator | None
    only: tuple[str, ...]


def run(options: Options, say: Say) -> Report:
    """The whole benchmark, on servers of its own."""
    at, generator = int(time.time()), load.choose(options.generator)
    with servers(options.partitions) as (settings, addresses), ExitStack() as stack:
        _furnish(settings, addresses)
        contest = Contest(settings, addresses, options, generator, say)
        with _fleet(settings, addresses) as port:
            say("making the people ready")
            crowd = asyncio.run(assemble(settings, addresses, port))
            started = [stack.enter_context(serving(each, settings, addresses)) for each in entrants(options.only)]
            for server in started:
                contest.enter(server, crowd)
        contest.go()
    results = contest.results()
    return Report(
        seconds=options.seconds,
        rounds=options.rounds,
        connections=options.connections,
        partitions=options.partitions,
        generator=load.name_of(generator),
        at=at,
        machine=machine(),
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        contenders=results,
        ratios=ratios(results),
        tails=tails(results),
        warnings=[*contest.warnings, *busy(results)],
    )


def _furnish(settings: Settings, addresses: Addresses) -> None:
    """What the floors read and write."""
    asyncio.run(ensure_topics(addresses.kafka, settings))
    asyncio.run(create(addresses.kafka, bare.TOPIC, settings.partitions, "delete"))
    with Redis.from_url(addresses.redis) as client:
        client.set(bare.KEY, bare.VALUE)


@contextmanager
def _fleet(settings: Settings, addresses: Addresses) -> Iterator[int]:
    """The workers and a gateway that isn't measured: its port."""
    with workers(settings, addresses), serving(gateway("fleet"), settings, addresses) as server:
        server.wait()
        yield server.port


class Contest:
    """The contenders, and the rounds."""

    def __init__(
        self, settings: Settings, addresses: Addresses, options: Options, generator: load.Generator, say: Say
    ) -> None:
        self._settings, self._addresses, self._options = settings, addresses, options
        self._generator: load.Generator = generator
        self._say = say
        self._entered: dict[str, tuple[Server, tuple[Ask, ...]]] = {}
        self._turns: dict[str, list[Turn]] = {}
        self._failures: dict[str, str] = {}
        self.warnings: list[str] = []

    def enter(self, server: Server, crowd: Crowd) -> None:
        """Take it in once it has answered right while the fleet works: who waits for a decision is found out here."""
        name = server.entrant.name
        try:
            server.wait()
            given = asks(name, crowd)
            answers = [ask.check(server.port) for ask in (sample(given) if server.entrant.topic else given)]
        except BenchError as error:
            self._fail(name, error)
            return
        self._entered[name] = server, given
        if server.entrant.ours and not all("ratelimit" in answer.headers for answer in answers):
            self.warnings.append(f"{name}: the answers say nothing of a limit, so perhaps none was looked at")

    def _fail(self, name: str, error: BenchError) -> None:
        self._failures[name] = str(error)
        self._say(f"{name}: {error}")

    def go(self) -> None:
        """The rounds."""
        for number in range(self._options.rounds):
            for name, (server, given) in self._entered.items():
                if name in self._failures:
                    continue
                try:
                    turn = self._turn(server, given)
                except BenchError as error:
                    self._fail(name, error)
                    continue
                self._turns.setdefault(name, []).append(turn)
                self._say(f"round {number + 1}: {name} {turn.requests_per_second:,.0f} requests/s")

    def results(self) -> dict[str, Result]:
        """The results by name."""
        names = [name for name in NAMES if name in self._turns or name in self._failures]
        return {
            name: Result(failure=self._failures[name]) if name in self._failures else summed_up(self._turns[name])
            for name in names
        }

    def _turn(self, server: Server, given: tuple[Ask, ...]) -> Turn:
        """One load, with a look at the answers before and after it."""
        seconds, topic = self._options.seconds, server.entrant.topic
        looked_at = sample(given)
        for ask in looked_at:
            ask.check(server.port)
        self._load(server, given, min(WARM_UP, seconds))
        records = self._records(topic)
        processor, machine, began = server.processor(), _busy_seconds(), time.monotonic()
        loaded = self._load(server, given, seconds)
        passed = time.monotonic() - began
        processor, machine = server.processor() - processor, _busy_seconds() - machine
        if topic is not None and (written := self._records(topic) - records) < loaded.requests:
            raise BenchError(f"{loaded.requests} requests were accepted, and {written} are in {topic}")
        for ask in looked_at:
            ask.check(server.port)
        return Turn(
            requests_per_second=loaded.requests / loaded.seconds,
            p50_ms=loaded.p50_ms,
            p99_ms=loaded.p99_ms,
            requests=loaded.requests,
            seconds=loaded.seconds,
            server_us=processor / loaded.requests * 1e6,
            server_share=processor / loaded.seconds,
            generator_share=loaded.processor / loaded.seconds,
            machine_share=machine / passed / (os.cpu_count() or 1),
        )

    def _load(self, server: Server, given: Sequence[Ask], seconds: float) -> load.Loaded:
        folder = Path(self._settings.data_dir) / "bench" / server.entrant.name
        what = load.Load(
            port=server.port,
            requests=tuple(ask.raw for ask in given),
            connections=self._options.connections,
            seconds=seconds,
        )
        return load.run(self._generator, what, folder)

    def _records(self, topic: str | None) -> int:
        return asyncio.run(_end(self._addresses.kafka, topic, self._settings.partitions)) if topic else 0


async def _end(bootstrap: str, topic: str, partitions: int) -> int:
    """How many records were ever written to a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        found = await consumer.end_offsets([TopicPartition(topic, number) for number in range(partitions)])
        return int(sum(found.values()))
    finally:
        await consumer.stop()


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
