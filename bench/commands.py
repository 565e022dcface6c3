"""`bench commands`: how many commands a second the command worker decides, and who has the processors meanwhile."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.contenders.commands import Effort
from bench.rig import BenchError, environment, measured, python, servers
from bench.task import Assigned, Outcome, Task
from devconnect.adapters.kafka.gateway import partition_for
from devconnect.adapters.kafka.topics import ensure_topics
from devconnect.adapters.mongo.connect import close, connect
from devconnect.adapters.mongo.layout import ensure_indexes
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.domain.model import Connection, ref_of
from devconnect.events.base import pair_id, seq_of
from devconnect.events.commands import MarkRead, MessageCommand, SendMessage
from devconnect.events.topics import MESSAGE_COMMANDS, message_commands
from devconnect.settings import Settings
from devconnect.stack import Addresses
from devconnect.stack.mongo import Mongo
from faust_batch.producer import BatchProducer

#: Seconds that one run may take.
PATIENCE = 600.0
#: Of the commands, how many are marks of reading.
MARKS = 0.1
#: Who waits for the results, and what they say.
ASKER = "bench"
TEXT = "See you at the meet-up on Thursday, then? I will bring the two of you together."
#: Documents saved, and records appended, at a time.
CHUNK = 1_000

Say = Callable[[str], None]


class Options(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    commands: int
    conversations: int
    rounds: int
    partitions: int
    seed: int


class Run(Struct, kw_only=True):
    """One run. Shares are of one processor."""

    #: Decided a second, from the first batch in hand to its last offset committed.
    commands: float
    mongo_share: float
    worker_share: float
    #: Seconds of a batch.
    batch_p50: float
    batch_p99: float
    #: Commands of a batch, on average; what is asked of MongoDB for it: calls, and the documents in them, by name.
    batch_commands: float
    calls_per_commit: float
    calls: dict[str, float]
    documents: dict[str, float]


class Talk:
    """Seeded people who say things to each other, and read them; the same arguments give the same commands."""

    def __init__(self, options: Options) -> None:
        self._random = random.Random(options.seed)
        self._at = time.time_ns() // 1_000_000
        self._partitions = options.partitions
        self.pairs = [(self._id(), self._id()) for _ in range(options.conversations)]
        self._last: dict[int, tuple[int, str]] = {}
        #: Commands on each partition.
        self.ends = dict.fromkeys(range(options.partitions), 0)

    def _id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def connections(self) -> list[Connection]:
        """What lets them talk."""
        found = []
        for pair in self.pairs:
            one, other = sorted(pair)
            name = pair_id(one, other)
            found.append(Connection(id=name, seq=1, users=(one, other), state="accepted", by=one, at=self._at))
        return found

    def commands(self, count: int) -> Iterator[tuple[int, MessageCommand]]:
        """Commands and their partitions."""
        for _ in range(count):
            number = self._random.randrange(len(self.pairs))
            command = self._command(number)
            partition = partition_for(command.key, self._partitions)
            if isinstance(command, SendMessage):
                self._last[number] = seq_of(self.ends[partition]), command.to
            self.ends[partition] += 1
            yield partition, command

    def _command(self, number: int) -> MessageCommand:
        self._at += 1
        new, fingerprint = self._id(), self._id()
        if number in self._last and self._random.random() < MARKS:
            seq, actor = self._last.pop(number)
            peer = next(each for each in self.pairs[number] if each != actor)
            return MarkRead(
                id=new, actor=actor, at=self._at, reply_to=ASKER, fingerprint=fingerprint, peer=peer, up_to=seq
            )
        actor, other = self._random.sample(self.pairs[number], 2)
        return SendMessage(
            id=new, actor=actor, at=self._at, reply_to=ASKER, fingerprint=fingerprint, to=other, text=TEXT
        )


def run(options: Options, say: Say) -> list[Run]:
    """Each round on servers of its own."""
    runs = []
    for number in range(options.rounds):
        with servers(options.partitions) as (settings, addresses):
            task = asyncio.run(_backlog(settings, addresses, options))
            runs.append(_measure(settings, addresses, task))
        say(f"round {number + 1}: {runs[-1].commands:,.0f} commands/s")
    return runs


def summed_up(runs: list[Run]) -> Run:
    """The round with the median rate."""
    rate = statistics.median_low(each.commands for each in runs)
    return next(each for each in runs if each.commands == rate)


async def _backlog(settings: Settings, addresses: Addresses, options: Options) -> Task:
    await ensure_topics(addresses.kafka, settings)
    talk = Talk(options)
    await _connect(settings, addresses, talk.connections())
    await _append(addresses.kafka, talk.commands(options.commands))
    return Task(
        bootstrap=addresses.kafka,
        topic=MESSAGE_COMMANDS.name,
        begins=dict.fromkeys(talk.ends, 0),
        ends=talk.ends,
        group="bench-commands",
        changelog="",
        folder=str(settings.data_dir / "bench" / "commands"),
    )


async def _connect(settings: Settings, addresses: Addresses, connections: list[Connection]) -> None:
    db = connect(addresses.mongo, settings.mongo_db)
    try:
        await ensure_indexes(db)
        for start in range(0, len(connections), CHUNK):
            chunk = connections[start : start + CHUNK]
            await MongoTruth(db, within=60.0).save(chunk, new=[ref_of(each) for each in chunk])
    finally:
        await close(db)


async def _append(bootstrap: str, commands: Iterator[tuple[int, MessageCommand]]) -> None:
    items: dict[int, list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]] = {}
    for partition, command in commands:
        items.setdefault(partition, []).append((command.key.encode(), message_commands.encode(command), []))
    producer = BatchProducer(bootstrap, "bench")
    await producer.start()
    try:
        for partition, each in items.items():
            for start in range(0, len(each), CHUNK):
                await producer.append(MESSAGE_COMMANDS.name, partition, each[start : start + CHUNK])
    finally:
        await producer.stop()


def _measure(settings: Settings, addresses: Addresses, task: Task) -> Run:
    record = Mongo(settings).record()
    if record is None:
        raise BenchError("the database of the benchmark is gone")
    command = [*python("bench.contenders.commands"), str(record.pid)]
    log = Path(task.folder).with_suffix(".log")
    with measured(command, task, env=environment(settings, addresses), log=log) as process:
        outcome = process.hear(PATIENCE)
    if isinstance(outcome, Assigned) or outcome.events != task.events:
        raise BenchError(f"the worker hasn't decided all of {task.events} commands: {process.last_words()}")
    return _run_of(outcome)


def _run_of(outcome: Outcome) -> Run:
    effort = msgspec.json.decode(outcome.notes["effort"], type=Effort)
    seconds, batches = outcome.ended - outcome.began, len(effort.batches)
    times = sorted(effort.batches)
    return Run(
        commands=outcome.events / seconds,
        mongo_share=effort.mongo / seconds,
        worker_share=effort.worker / seconds,
        batch_p50=statistics.median(times),
        batch_p99=times[min(batches - 1, int(batches * 0.99))],
        batch_commands=outcome.events / batches,
        calls_per_commit=sum(effort.calls.values()) / batches,
        calls={name: count / batches for name, count in effort.calls.items()},
        documents={name: count / batches for name, count in effort.documents.items()},
    )
