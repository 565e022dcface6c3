"""Reads back what a contender has kept, from its changelog: what is there is what a restart would restore."""

import asyncio
from collections.abc import Callable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.recording import Expected
from bench.rig import BenchError
from devconnect.adapters.kafka.topics import ensure_topics
from devconnect.events.topics import TABLES, changelog
from devconnect.settings import Settings
from faust_batch.changelog import read_to_end

#: The changelogs of the project's own tables.
OWN = tuple(changelog(table).name for table in TABLES)
#: The sender, and the count and time of the last event, in a changelog record; None for a record that is no row.
ReadRow = Callable[[bytes, bytes], tuple[str, int, int] | None]


async def create(bootstrap: str, topic: str, partitions: int, policy: str = "compact") -> None:
    """A topic, empty; a changelog unless another `cleanup.policy` is given."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs={"cleanup.policy": policy})])
    finally:
        await admin.close()


async def empty(bootstrap: str, settings: Settings) -> None:
    """Make the changelogs of the project's own tables anew."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(list(OWN))
        while set(OWN) & set(await admin.list_topics()):  # noqa: ASYNC110  # the broker tells nobody
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
    await ensure_topics(bootstrap, settings)


async def records(bootstrap: str, partitions: int) -> int:
    """How many records the changelogs of the project's own tables have."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        tps = [TopicPartition(topic, number) for topic in OWN for number in range(partitions)]
        return int(sum((await consumer.end_offsets(tps)).values()))
    finally:
        await consumer.stop()


async def check(bootstrap: str, topic: str, partitions: int, read_row: ReadRow, expected: Expected) -> int:
    """Hold the changelog against the recording; returns how many records it has. BenchError when they differ."""
    counts: dict[str, int] = {}
    last: dict[str, int] = {}
    records = 0
    async for chunk in read_to_end(bootstrap, topic, dict.fromkeys(range(partitions), 0)):
        for record in chunk.records:
            records += 1
            row = read_row(record.key or b"", record.value or b"")
            if row is not None:
                counts[row[0]], last[row[0]] = row[1], row[2]
    differ(counts, expected.sent, "the count of")
    differ(last, expected.last_at, "the last time of")
    return records


def differ(found: Mapping[str, object], wanted: Mapping[str, object], what: str) -> None:
    """BenchError that names an example when the two aren't the same."""
    if found == wanted:
        return
    keys = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    raise BenchError(
        f"its state is wrong for {len(keys)} of {len(wanted)} keys: {what} {keys[0]} is {found.get(keys[0])}, "
        f"not {wanted.get(keys[0])}"
    )
