"""How quickly a table is restored from its changelog, beside a bare read of the same changelog."""

import asyncio
import random
import statistics

from msgspec import Struct

from bench import changelogs
from bench.contenders.stateful import Seen, SeenCodec
from bench.contest import Contender, Ground
from bench.runs import Say, once, task_of
from devconnect.adapters.kafka.gateway import partition_for
from faust_batch.producer import BatchProducer

#: Records appended at a time.
CHUNK = 20_000


class Recovery(Struct, kw_only=True):
    """Keys a second, medians; memory in bytes, of the process that has restored the table."""

    keys: int
    keys_per_second: float
    bare_read_per_second: float
    ratio: float
    memory: int
    bare_memory: int
    rounds: list[tuple[float, float]]


def measure(ground: Ground, keys: int, rounds: int, seed: int, say: Say) -> Recovery:
    """Write a changelog of one row a key, then read it both ways in turn, each time in a fresh process."""
    say(f"recovery: a changelog of {keys:,} keys")
    ways = {how: Contender(how, "bench.contenders.restore", how) for how in ("table", "bare")}
    task = task_of(ground, "recovery", dict.fromkeys(range(ground.partitions), 0), {})
    ends = asyncio.run(_write(ground, task.changelog, keys, seed))
    rates: dict[str, list[float]] = {how: [] for how in ways}
    memory: dict[str, list[int]] = {how: [] for how in ways}
    for number in range(rounds):
        for how, contender in ways.items():
            turn = task_of(ground, "recovery", task.begins, ends)
            outcome, resident = once(ground, contender, turn)
            rates[how].append(outcome.events / (outcome.ended - outcome.began))
            memory[how].append(resident)
        say(f"round {number + 1}: restored {rates['table'][-1]:,.0f} keys/s, bare read {rates['bare'][-1]:,.0f}/s")
    restored, bare = statistics.median(rates["table"]), statistics.median(rates["bare"])
    return Recovery(
        keys=keys,
        keys_per_second=restored,
        bare_read_per_second=bare,
        ratio=restored / bare,
        memory=max(memory["table"]),
        bare_memory=max(memory["bare"]),
        rounds=list(zip(rates["table"], rates["bare"], strict=True)),
    )


async def _write(ground: Ground, topic: str, keys: int, seed: int) -> dict[int, int]:
    """A row of each of so many senders; where each partition ends."""
    await changelogs.create(ground.addresses.kafka, topic, ground.partitions)
    draw, encode = random.Random(seed), SeenCodec().encode
    ends = dict.fromkeys(range(ground.partitions), 0)
    waiting: dict[int, list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]] = {each: [] for each in ends}
    producer = BatchProducer(ground.addresses.kafka, "bench")
    await producer.start()
    try:
        for number in range(keys):
            user = f"{draw.getrandbits(128):032x}"
            partition = partition_for(user, ground.partitions)
            waiting[partition].append((user.encode(), encode(Seen(1 + number % 100, number, number)), []))
            ends[partition] += 1
            if len(waiting[partition]) == CHUNK:
                await producer.append(topic, partition, waiting[partition])
                waiting[partition] = []
        for partition, items in waiting.items():
            if items:
                await producer.append(topic, partition, items)
    finally:
        await producer.stop()
    return ends
