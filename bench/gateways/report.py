"""What a run of `bench gateway` comes to."""

import statistics
from collections.abc import Mapping, Sequence

from msgspec import Struct

#: A generator that takes more of a processor is what was measured.
BUSY = 0.9
#: What is held against what, and the aim.
RATIOS = (
    ("ours_me", "hello", 0.55),
    ("ours_me", "redis_get", 1.5),
    ("ours_presence", "redis_get", 0.8),
    ("ours_history", "redis_get", 0.8),
    ("ours_command", "produce", 0.7),
)
#: p99 is to be so many times p50 at most.
TAIL = 5.0


class Turn(Struct, kw_only=True):
    """One load of one contender. Shares of server and generator are of one processor, that of the machine of all."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    seconds: float
    #: Microseconds of processor time that the server took for a request, whoever else wanted the processors.
    server_us: float
    server_share: float
    generator_share: float
    machine_share: float


class Result(Struct, kw_only=True):
    """The medians of a contender's rounds, or why there are none."""

    requests_per_second: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    #: (highest - lowest) / median of the rounds.
    spread: float | None = None
    server_us: float | None = None
    server_share: float | None = None
    generator_share: float | None = None
    machine_share: float | None = None
    rounds: list[Turn] = []
    failure: str | None = None


class Held(Struct, kw_only=True):
    """A figure and what it is to be: `ratio` at least `aim`, of a tail at most."""

    ratio: float
    aim: float


class Report(Struct, kw_only=True):
    """Everything that a run has found."""

    seconds: float
    rounds: int
    connections: int
    partitions: int
    #: Which generator it was: wrk with its version, or our own.
    generator: str
    #: When it was begun, seconds since 1970.
    at: int
    machine: dict[str, str | int]
    versions: dict[str, str]
    contenders: dict[str, Result]
    ratios: dict[str, Held] = {}
    #: p99 / p50 of each of ours.
    tails: dict[str, Held] = {}
    #: What makes these figures less than they seem.
    warnings: list[str] = []

    def failures(self) -> list[str]:
        """Who couldn't be run, or was wrong."""
        return [f"{name}: {result.failure}" for name, result in self.contenders.items() if result.failure]


def summed_up(turns: Sequence[Turn]) -> Result:
    """The medians of the rounds."""

    def median(field: str) -> float:
        return float(statistics.median(getattr(turn, field) for turn in turns))

    rates = [turn.requests_per_second for turn in turns]
    return Result(
        requests_per_second=median("requests_per_second"),
        p50_ms=median("p50_ms"),
        p99_ms=median("p99_ms"),
        spread=(max(rates) - min(rates)) / median("requests_per_second"),
        server_us=median("server_us"),
        server_share=median("server_share"),
        generator_share=median("generator_share"),
        machine_share=median("machine_share"),
        rounds=list(turns),
    )


def ratios(results: Mapping[str, Result]) -> dict[str, Held]:
    """The ratios of which both sides were run."""
    rates = {name: result.requests_per_second for name, result in results.items() if result.requests_per_second}
    return {
        f"{ours} / {floor}": Held(ratio=rates[ours] / rates[floor], aim=aim)
        for ours, floor, aim in RATIOS
        if ours in rates and floor in rates
    }


def tails(results: Mapping[str, Result]) -> dict[str, Held]:
    """p99 / p50 of each of ours that was run."""
    return {
        name: Held(ratio=result.p99_ms / result.p50_ms, aim=TAIL)
        for name, result in results.items()
        if name.startswith("ours_") and result.p99_ms and result.p50_ms
    }


def busy(results: Mapping[str, Result]) -> list[str]:
    """Where the generator was the bottleneck: the server could do more, and a ratio to its figure flatters."""
    return [
        f"{name}: the generator took {result.generator_share:.0%} of a processor, so that the server could do more, "
        "and ratios to it flatter"
        for name, result in results.items()
        if result.generator_share is not None and result.generator_share > BUSY
    ]
