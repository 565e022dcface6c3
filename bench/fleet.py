"""`bench fleet`: the contenders on the same recorded events, each in a fresh process and in turn."""

import asyncio
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version

from msgspec import Struct

from bench import growth as growing, recovery as recovering, scale as scaling
from bench.contest import Contender, Ground
from bench.entrants import contenders
from bench.machine import machine
from bench.recording import PACE_MS, Recorder
from bench.rig import BenchError, servers
from bench.runs import Result, Run, Say, once, record, run_of, summed_up, task_of
from devconnect.adapters.kafka.topics import ensure_topics
from devconnect.stack.kafka_jars import VERSION

#: Users of the rates that growth is held against.
BASE_KEYS = 5_000
#: Keys of the changelog that is restored, unless growth has more.
RECOVERY_KEYS = 200_000
#: Distributions whose versions the report names.
PACKAGES = ("faust-streaming", "mode-streaming", "aiokafka", "msgspec", "uvloop")


class Options(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    events: int
    keys: int
    rounds: int
    partitions: int
    workers: int
    seed: int
    only: tuple[str, ...]
    #: Measure recovery too.
    recovery: bool


class Report(Struct, kw_only=True):
    """Everything that a run has found; what wasn't asked for is None."""

    events: int
    keys: int
    partitions: int
    seed: int
    rounds: int
    #: When it was begun, seconds since 1970.
    at: int
    machine: dict[str, str | int]
    versions: dict[str, str]
    contenders: dict[str, Result]
    ratios: dict[str, float] = {}
    growth: growing.Growth | None = None
    scale_out: scaling.ScaleOut | None = None
    recovery: recovering.Recovery | None = None

    def failures(self) -> list[str]:
        """Who was wrong, or died."""
        found = {**self.contenders}
        if self.growth is not None:
            for size, results in ((self.growth.base_keys, self.growth.base), (self.growth.keys, self.growth.grown)):
                found.update({f"{name} at {size} keys": result for name, result in results.items()})
        return [f"{name}: {result.failure}" for name, result in found.items() if result.failure]


#: What is held against what: (ratio, contender, the others, of which the fastest counts).
RATIOS = (
    ("ours_stateless / raw", "ours_stateless", ("raw",)),
    ("ours_stateful / fastest peer", "ours_stateful", ("quix", "kafka_streams")),
    ("ours_analytics / fastest peer", "ours_analytics", ("quix", "kafka_streams")),
    ("ours_stateful / faust", "ours_stateful", ("faust",)),
)


def ratios(results: dict[str, Result]) -> dict[str, float]:
    """The ratios of which both sides were run."""
    rates = {name: result.events_per_second for name, result in results.items() if result.events_per_second}
    found = {}
    for name, ours, others in RATIOS:
        against = [rates[other] for other in others if other in rates]
        if ours in rates and against:
            found[name] = rates[ours] / max(against)
    return found


class Contest:
    """The rounds over one recording."""

    def __init__(self, ground: Ground, recorder: Recorder, options: Options, say: Say) -> None:
        self._ground = ground
        self._recorder = recorder
        self._options = options
        self._say = say
        self._failures: dict[str, str] = {}
        self._runs: dict[str, list[Run]] = {}

    def go(self, contenders: Sequence[Contender]) -> dict[str, Result]:
        """The results by name."""
        for number in range(self._options.rounds):
            for contender in contenders:
                if contender.name not in self._failures:
                    self._turn(contender, number)
        return {
            contender.name: Result(failure=self._failures[contender.name])
            if contender.name in self._failures
            else summed_up(self._runs[contender.name])
            for contender in contenders
        }

    def _turn(self, contender: Contender, number: int) -> None:
        try:
            run = self._run(contender, number)
        except BenchError as error:
            self._failures[contender.name] = str(error)
            self._say(f"{contender.name}: {error}")
        else:
            self._runs.setdefault(contender.name, []).append(run)
            self._say(f"round {number + 1}: {contender.name} {run.events_per_second:,.0f} events/s")

    def _run(self, contender: Contender, number: int) -> Run:
        expected = self._recorder.expected
        task = task_of(self._ground, f"{contender.name}-{number}", dict.fromkeys(expected.ends, 0), expected.ends)
        asyncio.run(contender.prepare(self._ground, task))
        outcome, memory = once(self._ground, contender, task)
        if outcome.events != task.events:
            raise BenchError(f"it has worked on {outcome.events} events, not {task.events}")
        written = asyncio.run(contender.check(self._ground, task, expected))
        return run_of(outcome, memory, written)


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


def run(options: Options, say: Say) -> Report:
    """The whole benchmark, on servers of its own."""
    at, base_keys = int(time.time()), min(options.keys, BASE_KEYS)
    with servers(options.partitions) as (settings, addresses):
        ground = Ground(settings, addresses)
        ready, absent = choose(ground, options.only, say)
        say(f"recording {options.events:,} events of {base_keys:,} users")
        recorder = _recorder(ground, options, base_keys)
        asyncio.run(record(ground, recorder, recorder.any(options.events)))
        results = Contest(ground, recorder, options, say).go(ready)
        scaled = _scale_out(ground, ready, recorder, options, say)
        restored = None
        if options.recovery:
            keys = max(RECOVERY_KEYS, options.keys)
            restored = recovering.measure(ground, keys, options.rounds, options.seed, say)
    results |= {name: Result(absent=why) for name, why in absent.items()}
    return Report(
        events=options.events,
        keys=base_keys,
        partitions=options.partitions,
        seed=options.seed,
        rounds=options.rounds,
        at=at,
        machine=machine(),
        versions=_versions(results),
        contenders=results,
        ratios=ratios(results),
        growth=_growth(options, base_keys, say) if options.keys > base_keys else None,
        scale_out=scaled,
        recovery=restored,
    )


def _recorder(ground: Ground, options: Options, keys: int, *, tails: bool = True) -> Recorder:
    """A recorder on topics that are there."""
    asyncio.run(ensure_topics(ground.addresses.kafka, ground.settings))
    began_at = time.time_ns() // 1_000_000 - options.events * PACE_MS
    return Recorder(keys, options.partitions, seed=options.seed, began_at=began_at, tails=tails)


def _scale_out(
    ground: Ground, ready: Sequence[Contender], recorder: Recorder, options: Options, say: Say
) -> scaling.ScaleOut | None:
    stateful = next((contender for contender in ready if contender.name == "ours_stateful"), None)
    if options.workers == 1 or stateful is None:
        return None
    return scaling.measure(ground, stateful, recorder.expected, workers=options.workers, rounds=options.rounds, say=say)


def _growth(options: Options, base_keys: int, say: Say) -> growing.Growth:
    """Each number of keys on servers of its own: the topics are those of the real agents, and start empty."""
    found: list[dict[str, Result]] = []
    for keys in (base_keys, options.keys):
        with servers(options.partitions) as (settings, addresses):
            ground = Ground(settings, addresses)
            say(f"growth: {keys:,} users")
            names = [name for name in growing.STATEFUL if not options.only or name in options.only]
            ready, _ = choose(ground, names, say) if names else ([], {})
            recorder = _recorder(ground, options, keys, tails=False)
            found.append(
                growing.measure(ground, ready, recorder, events=options.events, rounds=options.rounds, say=say)
            )
    return growing.compared(base_keys, found[0], options.keys, found[1])


def _versions(results: dict[str, Result]) -> dict[str, str]:
    found = {name: version(name) for name in PACKAGES}
    for result in results.values():
        found.update(result.notes)
    return {"python": platform.python_version(), "kafka": VERSION, **found}
