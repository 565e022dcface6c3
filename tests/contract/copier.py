"""Worker processes on the batch transport that copy one topic to another, as the tests start and end them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from devconnect.events.base import new_id
from faust_batch.changelog import read_to_end
from faust_batch.producer import BatchProducer
from tests.contract.kafka_fixtures import PARTITIONS, Broker

WORKER = Path(__file__).with_name("batch_worker.py")
ROOT = Path(__file__).parents[2]


class Assigned(NamedTuple):
    """One worker was told of its partitions, "topic:number" each."""

    pid: int
    generation: int
    partitions: set[str]


class Copier:
    """A group of worker processes that copy one topic to another."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        name = new_id()[:8]
        self.source, self.target, self.group = f"in-{name}", f"out-{name}", f"group-{name}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = folder / f"{name}.log"

    async def create_topics(self) -> None:
        for name in (self.source, self.target):
            await self.create_topic(name)

    async def create_topic(self, name: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.broker.address)
        await admin.start()
        await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
        await admin.close()

    def launch(self, **env: str) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        arguments = (self.broker.address, self.group, self.source, self.target, str(self.folder / "faust"))
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, str(WORKER), *arguments],
                env={**os.environ, "PYTHONPATH": str(ROOT), **env},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def assigned(self) -> list["Assigned"]:
        """What the workers were given, in the order in which they were told."""
        lines = [line.split() for line in self.log.read_text("utf-8", "replace").splitlines()]
        return [
            Assigned(int(pid), int(generation), {each for each in partitions.split(",") if each})
            for kind, pid, generation, partitions, *_ in ([*line, ""] for line in lines if line[:1] == ["assigned"])
        ]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    async def put(self, partition: int, values: list[bytes], topic: str = "") -> None:
        """Append values to the source, or to another topic."""
        async with producing(self.broker) as producer:
            await producer.append(topic or self.source, partition, [(b"k", value, []) for value in values])

    async def copied(self) -> dict[int, list[tuple[int, bytes]]]:
        """What is in the target, by partition: source offset and value."""
        found: dict[int, list[tuple[int, bytes]]] = {number: [] for number in range(PARTITIONS)}
        async for chunk in read_to_end(self.broker.address, self.target, dict.fromkeys(range(PARTITIONS), 0)):
            found[chunk.partition] += [(int(record.key or b""), record.value or b"") for record in chunk.records]
        return found

    async def committed(self) -> dict[int, int | None]:
        """The group's offsets."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker.address, group_id=self.group, enable_auto_commit=False
        )
        await consumer.start()
        tps = [TopicPartition(self.source, number) for number in range(PARTITIONS)]
        consumer.assign(tps)
        offsets = {tp.partition: await consumer.committed(tp) for tp in tps}
        await consumer.stop()
        return offsets


@asynccontextmanager
async def producing(broker: Broker) -> AsyncIterator[BatchProducer]:
    producer = BatchProducer(broker.address, "tests")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def started(copier: Copier) -> bool:
    """The group has members that were given their partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=copier.broker.address)
    await admin.start()
    try:
        [answer] = await admin.describe_consumer_groups([copier.group])
        return any(state == "Stable" for _, _, state, *_ in answer.groups)
    finally:
        await admin.close()


@pytest.fixture
def copier(broker: Broker, tmp_path: Path) -> Iterator[Copier]:
    made = Copier(broker, tmp_path)
    asyncio.run(made.create_topics())
    yield made
    made.end()
    sys.stdout.write(
        made.log.read_text("utf-8", "replace")[-20_000:] if made.log.exists() else ""
    )  # shown when the test fails
