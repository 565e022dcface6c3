"""What a table of many keys costs: the stateful contenders, first with few users and then with many."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from bench.contest import Contender, Ground
from bench.recording import Recorder
from bench.rig import BenchError
from bench.runs import Result, Run, Say, once, record, run_of, summed_up, task_of

#: Who keeps state; plain Faust would need minutes to fill its table.
STATEFUL = ("quix", "kafka_streams", "ours_stateful")


class Growth(Struct, kw_only=True):
    """The rates with `base_keys` and with `keys` users, and their ratio, by contender."""

    keys: int
    base_keys: int
    base: dict[str, Result]
    grown: dict[str, Result]
    ratios: dict[str, float]


def compared(base_keys: int, base: dict[str, Result], keys: int, grown: dict[str, Result]) -> Growth:
    """The two side by side."""
    ratios = {
        name: many.events_per_second / few.events_per_second
        for name, many in grown.items()
        if (few := base[name]).events_per_second and many.events_per_second
    }
    return Growth(keys=keys, base_keys=base_keys, base=base, grown=grown, ratios=ratios)


def measure(
    ground: Ground, contenders: Sequence[Contender], recorder: Recorder, *, events: int, rounds: int, say: Say
) -> dict[str, Result]:
    """Every user writes once, which fills the tables. Then come the rounds: new events, and a fresh process each.

    A contender goes on from what its processes before it have kept: ours and Kafka restore it from the changelog, the
    peers find it on their disk. That isn't timed.
    """
    expected = recorder.expected
    begins = dict(expected.ends)
    asyncio.run(record(ground, recorder, recorder.each_once()))
    runs: dict[str, list[Run]] = {}
    failures: dict[str, str] = {}
    for number in range(rounds + 1):
        if number:
            begins = dict(expected.ends)
            asyncio.run(record(ground, recorder, recorder.any(events)))
        for contender in contenders:
            if contender.name in failures:
                continue
            task = task_of(ground, f"{contender.name}-growth", begins, expected.ends)
            try:
                if number == 0:
                    asyncio.run(contender.prepare(ground, task))
                outcome, memory = once(ground, contender, task)
                written = asyncio.run(contender.check(ground, task, expected)) if number == rounds else 0
            except BenchError as error:
                failures[contender.name] = str(error)
                say(f"{contender.name}: {error}")
                continue
            run = run_of(outcome, memory, written)
            what = f"round {number}" if number else "filling"
            say(f"{what}: {contender.name} {run.events_per_second:,.0f} events/s, {memory >> 20} MB")
            if number:
                runs.setdefault(contender.name, []).append(run)
    return {
        contender.name: Result(failure=failures[contender.name])
        if contender.name in failures
        else summed_up(runs[contender.name])
        for contender in contenders
    }
