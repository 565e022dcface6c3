"""One run of one contender, and what several of them come to."""

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from bench.contest import Contender, Ground
from bench.recording import TOPIC, Recorder
from bench.rig import BenchError, measured
from bench.task import Assigned, Outcome, Task
from devconnect.events.facts import MessageSent
from faust_batch.producer import BatchProducer

#: Seconds that one run may take.
PATIENCE = 600.0

Say = Callable[[str], None]


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
    notes: dict[str, str] = {}


class Result(Struct, kw_only=True):
    """All runs of one contender, or why there are none."""

    events_per_second: float | None = None
    #: (highest - lowest) / median of the rounds.
    spread: float | None = None
    second_half: float | None = None
    memory: int | None = None
    rounds: list[Run] = []
    #: What it says of itself: its versions.
    notes: dict[str, str] = {}
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
        notes=runs[-1].notes,
    )


def task_of(ground: Ground, label: str, begins: dict[int, int], ends: dict[int, int]) -> Task:
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
        notes=outcome.notes,
    )


def once(ground: Ground, contender: Contender, task: Task) -> tuple[Outcome, int]:
    """One process from start to end: its outcome, and its memory when all was done."""
    log = Path(task.folder).with_suffix(".log")
    with measured(contender.command(ground, task), task, env=ground.env(), log=log) as process:
        outcome = process.hear(PATIENCE)
        if isinstance(outcome, Assigned):
            raise BenchError("it waits for a word that it wasn't promised")
        return outcome, process.memory()


async def record(ground: Ground, recorder: Recorder, events: Iterator[tuple[int, MessageSent]]) -> None:
    """Write events that all contenders read."""
    producer = BatchProducer(ground.addresses.kafka, "bench")
    await producer.start()
    try:
        await recorder.append(producer, events)
    finally:
        await producer.stop()
