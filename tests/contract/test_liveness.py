"""What is known of a consumer from outside, on the real Kafka: a silent one is found out, and no other."""

import ast
import signal
import time
from collections.abc import Callable

from aiokafka import AIOKafkaProducer

from tests.contract.copier import Copier
from tests.contract.kafka_fixtures import PARTITIONS
from tests.waiting import until

LIMIT = 3


def lines(copier: Copier, kind: str) -> list[str]:
    """What the worker has told so far, without the word and the pid."""
    found = [line.split(maxsplit=2) for line in copier.log.read_text("utf-8", "replace").splitlines()]
    return [words[2] for words in found if words[:1] == [kind] and len(words) == 3]


async def tells(copier: Copier, kind: str, wanted: Callable[[str], bool], times: int = 1) -> str:
    """Wait until so many lines of this kind were told from now on, and the last is as wanted; returns that."""
    before = len(lines(copier, kind))

    async def told() -> bool:
        found = lines(copier, kind)
        return len(found) >= before + times and wanted(found[-1])

    await until(told)
    return lines(copier, kind)[-1]


async def copied(copier: Copier, count: int) -> None:
    """Wait until so many records were copied, each at least once: what wasn't committed yet is copied anew."""

    async def done() -> bool:
        return sum(len(set(found)) for found in (await copier.copied()).values()) == count

    await until(done)


async def test_a_deaf_consumer_is_found_out_and_its_lag_is_told(copier: Copier) -> None:
    process = copier.launch(LIMIT=str(LIMIT))
    await copier.put(0, [b"x"])
    await copied(copier, 1)
    await tells(copier, "left", lambda line: line == "0 {}")
    process.send_signal(signal.SIGHUP)
    assert await tells(copier, "trouble", lambda line: line == "none")
    written = time.time()
    for partition in range(PARTITIONS):
        await copier.put(partition, [b"x"] * 10)
    trouble = await tells(copier, "trouble", lambda line: line != "none")
    assert "stands still" in trouble
    left = await tells(copier, "left", lambda line: line.startswith(str(10 * PARTITIONS)))
    [(topic, oldest)] = ast.literal_eval(left.split(maxsplit=1)[1]).items()
    assert topic == copier.source
    # The timestamp is the producer's, of its last batch before the records left it.
    assert written - 1 < oldest < time.time()
    assert sum(len(found) for found in (await copier.copied()).values()) == 1


async def test_a_handler_that_never_returns_is_found_out(copier: Copier) -> None:
    copier.launch(LIMIT=str(LIMIT), SLOW="1000")
    await copier.put(0, [b"x"])
    assert "stands still at 0" in await tells(copier, "trouble", lambda line: line != "none")


async def test_an_idle_worker_is_well(copier: Copier) -> None:
    copier.launch(LIMIT=str(LIMIT))
    await copier.put(0, [b"x"])
    await copied(copier, 1)
    await tells(copier, "trouble", lambda line: True, times=4 * LIMIT)
    assert set(lines(copier, "trouble")) == {"none"}


async def test_a_worker_without_partitions_is_well(copier: Copier) -> None:
    processes = [copier.launch(LIMIT=str(LIMIT)) for _ in range(PARTITIONS + 1)]

    async def all_have_theirs() -> bool:
        last = {each.pid: len(each.partitions) for each in copier.assigned()}
        return sorted(last.values()) == [0, *[1] * PARTITIONS]

    await until(all_have_theirs)
    await tells(copier, "trouble", lambda line: True, times=4 * len(processes))
    joining = len(lines(copier, "trouble"))
    await tells(copier, "trouble", lambda line: True, times=4 * LIMIT * len(processes))
    assert set(lines(copier, "trouble")[joining:]) == {"none"}


async def test_what_is_no_record_is_not_waited_for(copier: Copier) -> None:
    """After a transaction the end is behind its marker: nothing is left to do, though the position isn't the end."""
    producer = AIOKafkaProducer(bootstrap_servers=copier.broker.address, transactional_id=copier.group)
    await producer.start()
    async with producer.transaction():
        await producer.send(copier.source, b"x", partition=0)
    await producer.stop()
    copier.launch(LIMIT=str(LIMIT))
    await copied(copier, 1)
    await tells(copier, "left", lambda line: line == "0 {}")
    await tells(copier, "trouble", lambda line: True, times=4 * LIMIT)
    assert set(lines(copier, "trouble")) == {"none"}


async def test_while_kafka_is_away_nobody_stands_still(copier: Copier) -> None:
    copier.launch(LIMIT="1")
    await copier.put(0, [b"x"])
    await copied(copier, 1)
    copier.broker.signal(signal.SIGSTOP)
    try:
        await tells(copier, "blind", lambda line: True, times=6)
    finally:
        copier.broker.signal(signal.SIGCONT)
    await copier.put(0, [b"x"])
    await copied(copier, 2)
    await tells(copier, "trouble", lambda line: line == "none")
    assert set(lines(copier, "blind")) == {"none"}
