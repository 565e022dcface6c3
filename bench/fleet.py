"""`bench fleet`: the contenders on the same recorded events, each in a fresh process and in turn."""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from bench.contest import Contender, Ground
from bench.entrants import contenders
from bench.recording import PACE_MS, TOPIC, Recorder
from bench.rig import BenchError, measured, servers
from bench.task import Assigned, Outcome, Task
from devconnect.adapters.kafka.topics import ensure_topics
from faust_batch.producer import BatchProducer

#: Seconds that one run may take.
PATIENCE = 600.0

Say = Callable[[str], None]


class Options(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    events: int
    keys: int
    rounds: int
    partitions: int
    workers: int
    seed: int
    only: tuple[str, ...]


class Run(Struct, kw_only=True):
    """One run of one contender."""

    events_per_second: float
    seconds: float
    #: Events a second over the second half of the records: what is left of a slow start.
    second_half: float
    #: Bytes of resident memory at the end.
    memory: int
    #: Records that it has written to its changelog.
    changelog_records: int


class Result(Struct, kw_only=True):
    """All runs of one contender, or why there are none."""

    events_per_second: float | None = None
    #: (highest - lowest) / median of the rounds.
    spread: float | None = None
    second_half: float | None = None
    memory: int | None = None
    rounds: list[Run] = []
    #: Why it doesn't take part on this machine.
    absent: str | None = None
    #: Why it was taken out: it died, or what it had at the end was wrong.
    failure: str | None = None


def summed_up(runs: list[Run]) -> Result:
    """The median of the rounds."""
    rates = [run.events_per_second for run in runs]
    median = statistics.median(rates)
    return Result(
        events_per_second=median,
        spread=(max(rates) - min(rates)) / median,
        second_half=statistics.median(run.second_half for run in runs),
        memory=round(statistics.median(run.memory for run in runs)),
        rounds=runs,
    )


class Contest:
    """The rounds over one recording."""

    def __init__(self, ground: Ground, recorder: Recorder, options: Options, say: Say) -> None:
        self._ground = ground
        self._recorder = recorder
        self._options = options
        self._say = say
        self._failures: dict[str, str] = {}
        self._runs: dict[str, list[Run]] = {}

    async def go(self, contenders: Sequence[Contender]) -> dict[str, Result]:
        """The results by name."""
        for number in range(self._options.rounds):
            for contender in contenders:
                if contender.name not in self._failures:
                    await self._turn(contender, number)
        return {
            contender.name: Result(failure=self._failures[contender.name])
            if contender.name in self._failures
            else summed_up(self._runs[contender.name])
            for contender in contenders
        }

    async def _turn(self, contender: Contender, number: int) -> None:
        try:
            run = await self._run(contender, number)
        except BenchError as error:
            self._failures[contender.name] = str(error)
            self._say(f"{contender.name}: {error}")
        else:
            self._runs.setdefault(contender.name, []).append(run)
            self._say(f"round {number + 1}: {contender.name} {run.events_per_second:,.0f} events/s")

    async def _run(self, contender: Contender, number: int) -> Run:
        expected = self._recorder.expected
        task = task_of(
            self._ground, contender, f"{contender.name}-{number}", dict.fromkeys(expected.ends, 0), expected.ends
        )
        await contender.prepare(self._ground, task)
        outcome, memory = await asyncio.to_thread(once, self._ground, contender, task)
        if outcome.events != task.events:
            raise BenchError(f"it has worked on {outcome.events} events, not {task.events}")
        written = await contender.check(self._ground, task, expected)
        return run_of(outcome, memory, written)


def task_of(ground: Ground, contender: Contender, label: str, begins: dict[int, int], ends: dict[int, int]) -> Task:
    """The task of a run; `label` names its group and all that it keeps."""
    group = f"bench-{label.replace('_', '-')}"
    return Task(
        bootstrap=ground.addresses.kafka,
        topic=TOPIC,
        begins=begins,
        ends=dict(ends),
        group=group,
        changelog=f"{group}-changelog",
        folder=str(ground.settings.data_dir / "bench" / label),
    )


def run_of(outcome: Outcome, memory: int, written: int) -> Run:
    """What an outcome comes to."""
    seconds = outcome.ended - outcome.began
    return Run(
        events_per_second=outcome.events / seconds,
        seconds=seconds,
        second_half=outcome.events / 2 / (outcome.ended - outcome.half),
        memory=memory,
        changelog_records=written,
    )


def once(ground: Ground, contender: Contender, task: Task) -> tuple[Outcome, int]:
    """One process from start to end: its outcome, and its memory when all was done."""
    log = Path(task.folder).with_suffix(".log")
    with measured(contender.command(ground, task), task, env=ground.env(), log=log) as process:
        outcome = process.hear(PATIENCE)
        if isinstance(outcome, Assigned):
            raise BenchError("it waits for a word that it wasn't promised")
        return outcome, process.memory()


def choose(ground: Ground, only: Sequence[str], say: Say) -> tuple[list[Contender], dict[str, str]]:
    """Who takes part, and why the others that were asked for don't."""
    ready: list[Contender] = []
    absent: dict[str, str] = {}
    for contender in contenders():
        if only and contender.name not in only:
            continue
        try:
            contender.make_ready(ground)
        except BenchError as error:
            absent[contender.name] = str(error)
            say(f"{contender.name} doesn't take part: {error}")
        else:
            ready.append(contender)
    return ready, absent


async def record(ground: Ground, options: Options) -> Recorder:
    """Make the topics, and write the events that all contenders read."""
    await ensure_topics(ground.addresses.kafka, ground.settings)
    began_at = time.time_ns() // 1_000_000 - options.events * PACE_MS
    recorder = Recorder(options.keys, options.partitions, seed=options.seed, began_at=began_at)
    producer = BatchProducer(ground.addresses.kafka, "bench")
    await producer.start()
    try:
        await recorder.append(producer, recorder.any(options.events))
    finally:
        await producer.stop()
    return recorder


def run(options: Options, say: Say) -> dict[str, Result]:
    """The whole benchmark on servers of its own."""
    with servers(options.partitions) as (settings, addresses):
        return asyncio.run(contest(Ground(settings, addresses), options, say))


async def contest(ground: Ground, options: Options, say: Say) -> dict[str, Result]:
    """Record, then run the rounds."""
    ready, absent = choose(ground, options.only, say)
    say(f"recording {options.events:,} events of {options.keys:,} users")
    recorder = await record(ground, options)
    results = await Contest(ground, recorder, options, say).go(ready)
    return {**results, **{name: Result(absent=why) for name, why in absent.items()}}
