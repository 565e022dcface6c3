"""The batch transport on the real Kafka, in processes that are killed: nothing is lost, nothing out of order."""

import asyncio
import signal
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from faust_batch.changelog import read_to_end
from tests.contract.copier import Copier, producing, started
from tests.contract.kafka_fixtures import PARTITIONS
from tests.waiting import until


def first_sights(copied: list[tuple[int, bytes]]) -> list[int]:
    """The source offsets in the order in which they were first seen."""
    return list(dict.fromkeys(offset for offset, _ in copied))


async def test_every_record_is_handed_over_once_in_order_and_then_committed(copier: Copier) -> None:
    count = 3_000
    for partition in range(PARTITIONS):
        await copier.put(partition, [str(number).encode() for number in range(count)])
    copier.launch()

    async def all_committed() -> bool:
        return await copier.committed() == dict.fromkeys(range(PARTITIONS), count)

    await until(all_committed)
    for found in (await copier.copied()).values():
        assert found == [(number, str(number).encode()) for number in range(count)]


async def test_workers_that_are_killed_join_and_leave_lose_nothing_and_keep_the_order(copier: Copier) -> None:
    count, sent = 300, 0
    copier.launch(SLOW="0.05")
    for turn in range(4):
        for partition in range(PARTITIONS):
            await copier.put(partition, [b"x"] * count)
        sent += count
        seen = sum(len(found) for found in (await copier.copied()).values())

        async def moved(seen: int = seen) -> bool:
            return sum(len(found) for found in (await copier.copied()).values()) > seen

        await until(moved)
        victim = copier.processes[-1]
        copier.launch(SLOW="0.05")
        victim.send_signal(signal.SIGKILL if turn % 2 == 0 else signal.SIGTERM)
        victim.wait(20)

    async def all_committed() -> bool:
        return await copier.committed() == dict.fromkeys(range(PARTITIONS), sent)

    await until(all_committed)
    for found in (await copier.copied()).values():
        assert first_sights(found) == list(range(sent))


async def test_a_worker_that_joins_before_anything_was_committed_makes_nobody_pass_records_by(copier: Copier) -> None:
    """What the first worker has fetched by then is fetched again, from the first record on: there is no offset yet."""
    count = 3_000
    for partition in range(PARTITIONS):
        await copier.put(partition, [str(number).encode() for number in range(count)])
    copier.launch(SLOW="5")
    await until(lambda: started(copier))
    copier.launch()

    async def all_committed() -> bool:
        return await copier.committed() == dict.fromkeys(range(PARTITIONS), count)

    await until(all_committed, seconds=60)
    for found in (await copier.copied()).values():
        assert first_sights(found) == list(range(count))


async def test_offsets_never_pass_what_was_copied(copier: Copier) -> None:
    """Looked at all the time while a slow worker is stopped and killed in the middle of its batches."""
    for partition in range(PARTITIONS):
        await copier.put(partition, [b"x"] * 500)

    async def check() -> bool:
        committed = await copier.committed()
        copied = await copier.copied()
        for partition, offset in committed.items():
            assert len(first_sights(copied[partition])) >= (offset or 0)
        return all(offset == 500 for offset in committed.values())

    for number in (signal.SIGTERM, signal.SIGKILL):
        process = copier.launch(SLOW="2")
        await until(lambda: started(copier))
        await check()
        process.send_signal(number)
        process.wait(20)
        await check()
    copier.launch()
    await until(check)


async def test_an_agent_that_is_stuck_holds_up_no_other_however_much_waits_for_it(copier: Copier) -> None:
    stuck = f"{copier.source}-stuck"
    await copier.create_topic(stuck)
    copier.launch(MORE=stuck, STUCK=stuck, ROOM="10")
    await until(lambda: started(copier))
    for turn in range(6):
        # What is copied of the other topic shows that the batches before it were fetched, each by itself.
        for partition in range(PARTITIONS):
            await copier.put(partition, [b"x"] * 20, topic=stuck)
            await copier.put(partition, [b"y"])

        async def all_copied(turn: int = turn) -> bool:
            return [len(found) for found in (await copier.copied()).values()] == [turn + 1] * PARTITIONS

        await until(all_copied)


async def test_gaps_of_transactions_are_passed(copier: Copier) -> None:
    """Control records take offsets that no consumer ever gets."""
    producer = AIOKafkaProducer(bootstrap_servers=copier.broker.address, transactional_id=copier.group)
    await producer.start()
    for number in range(20):
        async with producer.transaction():
            await producer.send(copier.source, str(number).encode(), partition=0)
    await producer.stop()
    copier.launch()

    async def all_there() -> bool:
        values = [value for _, value in (await copier.copied())[0]]
        return values == [str(number).encode() for number in range(20)]

    await until(all_there)

    async def last_committed() -> bool:
        return (await copier.committed())[0] == 39

    await until(last_committed)


async def test_gaps_of_compaction_are_passed(copier: Copier) -> None:
    """What the broker's cleaner has taken out of the log leaves holes within batches and between them."""
    source = await a_compacted_topic(copier)
    async with producing(copier.broker) as producer:
        for turn in range(40):
            values = [(str(key).encode(), b"%d" % turn + b"x" * 6_000, []) for key in range(turn % 7, 60, 3)]
            end = 1 + await producer.append(source, 0, values)

    async def compacted() -> bool:
        return 60 <= len(await kept(copier, source)) < end

    await until(compacted, seconds=60)
    copier.source = source
    copier.launch()

    async def committed_to_the_end() -> bool:
        return (await copier.committed())[0] == end

    await until(committed_to_the_end)
    copied = [offset for offset, _ in (await copier.copied())[0]]
    assert set(copied) >= set(await kept(copier, source))
    assert copied == sorted(copied)


async def a_compacted_topic(copier: Copier) -> str:
    """A topic whose segments are small and soon cleaned."""
    name = f"compacted-{copier.source}"
    admin = AIOKafkaAdminClient(bootstrap_servers=copier.broker.address)
    await admin.start()
    config = {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01"}
    await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=config)])
    await admin.close()
    return name


async def kept(copier: Copier, topic: str) -> list[int]:
    """The offsets of partition 0 that are still there."""
    return [
        record.offset async for chunk in read_to_end(copier.broker.address, topic, {0: 0}) for record in chunk.records
    ]


async def test_a_backlog_takes_no_more_memory_however_long_it_is(copier: Copier) -> None:
    """A slow worker before 200 MB: what it holds is bounded by what may wait, and all of it is copied in order."""
    count, block = 200_000, b"x" * 1_000
    for _ in range(count // 10_000):
        await copier.put(0, [block] * 10_000)
    process = copier.launch(SLOW="0.3")
    peak = 0

    async def half_done() -> bool:
        nonlocal peak
        peak = max(peak, resident_mb(process.pid))
        return ((await copier.committed())[0] or 0) > count / 2

    await until(half_done, seconds=120)
    assert 0 < peak < 200


def resident_mb(pid: int) -> int:
    """Megabytes of memory that the process holds."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024


async def test_a_handler_that_fails_stops_the_worker_and_its_batch_is_not_committed(copier: Copier) -> None:
    await copier.put(0, [b"fine"])
    process = copier.launch(POISON="poison")

    async def fine() -> bool:
        return (await copier.committed())[0] == 1

    await until(fine)
    await copier.put(0, [b"poison"])
    assert await asyncio.to_thread(process.wait, 30) != 0
    assert (await copier.committed())[0] == 1
    copier.launch()

    async def healed() -> bool:
        return (await copier.committed())[0] == 2

    await until(healed)


async def test_a_changelog_is_read_from_any_place_to_its_end(copier: Copier) -> None:
    await copier.put(1, [str(number).encode() for number in range(1_000)])
    found = [
        record.value
        async for chunk in read_to_end(copier.broker.address, copier.source, {0: 0, 1: 400, 2: 0})
        for record in chunk.records
    ]
    assert found == [str(number).encode() for number in range(400, 1_000)]


async def test_append_says_where_the_last_record_is_however_many_batches_it_took(copier: Copier) -> None:
    async with producing(copier.broker) as producer:
        assert await producer.append(copier.source, 2, [(b"k", b"x" * 1_000, [])] * 1_000) == 999
        assert await producer.append(copier.source, 2, [(b"k", b"y", [("h", b"1")])]) == 1_000
