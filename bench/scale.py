"""Scale-out: our stateful contender as one process and as several, all let go at once."""

import asyncio
import statistics
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.contest import Contender, Ground
from bench.recording import Expected
from bench.rig import BenchError, Measured, SilentError, measured
from bench.runs import PATIENCE, Say, task_of
from bench.task import Assigned, Outcome, Task

#: Seconds that a group may take to share the partitions out.
SETTLE = 60.0


class ScaleOut(Struct, kw_only=True):
    """Events a second of one process and of `workers` of them; the ratio is of the medians."""

    workers: int
    one: float
    many: float
    ratio: float
    rounds: list[tuple[float, float]]


def measure(
    ground: Ground, contender: Contender, expected: Expected, *, workers: int, rounds: int, say: Say
) -> ScaleOut:
    """In turn: one process, then several. The clock runs from the first record to the last process's last output."""
    found: list[tuple[float, float]] = []
    for number in range(rounds):
        pair = []
        for count in (1, workers):
            begins = dict.fromkeys(expected.ends, 0)
            task = task_of(ground, f"{contender.name}-{count}-workers-{number}", begins, expected.ends)
            task = msgspec.structs.replace(task, gated=True)
            asyncio.run(contender.prepare(ground, task))
            pair.append(_together(ground, contender, task, count))
            asyncio.run(contender.check(ground, task, expected))
            say(f"round {number + 1}: {count} workers {pair[-1]:,.0f} events/s")
        found.append((pair[0], pair[1]))
    one, many = (statistics.median(rates) for rates in zip(*found, strict=True))
    return ScaleOut(workers=workers, one=one, many=many, ratio=many / one, rounds=found)


def _together(ground: Ground, contender: Contender, task: Task, count: int) -> float:
    with ExitStack() as stack:
        processes = []
        for number in range(count):
            own = msgspec.structs.replace(task, folder=f"{task.folder}-{number}")
            log = Path(own.folder).with_suffix(".log")
            running = measured(contender.command(ground, own), own, env=ground.env(), log=log)
            processes.append(stack.enter_context(running))
        _wait_until_shared(processes, len(task.ends))
        for process in processes:
            process.say(b"go")
        outcomes = [_outcome(process) for process in processes]
    events = sum(outcome.events for outcome in outcomes)
    if events != task.events:
        raise BenchError(f"{count} workers have worked on {events} events, not {task.events}")
    return events / (max(each.ended for each in outcomes) - min(each.began for each in outcomes))


def _wait_until_shared(processes: list[Measured], partitions: int) -> None:
    """Until each process has a part, and all parts together are the whole."""
    parts: dict[int, list[int]] = {}
    deadline = time.monotonic() + SETTLE
    while sorted(chain.from_iterable(parts.values())) != list(range(partitions)) or len(parts) < len(processes):
        if time.monotonic() > deadline:
            raise BenchError(f"the partitions weren't shared out after {SETTLE:g} s")
        for number, process in enumerate(processes):
            try:
                message = process.hear(0.1)
            except SilentError:
                continue
            if isinstance(message, Assigned):
                parts[number] = message.assigned


def _outcome(process: Measured) -> Outcome:
    while True:
        message = process.hear(PATIENCE)
        if isinstance(message, Outcome):
            return message
