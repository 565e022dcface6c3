"""What a run of `bench realtime` comes to."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from bench.sockets.endtoend import EndToEnd

#: A generator that takes more of a processor is what was measured.
BUSY = 0.9
#: Aims, and what they are of.
MEMORY_AIM, PUBLIC_AIM, BARE_AIM, STALL_AIM_MS = 1.3, 4.0, 0.6, 50.0
P50_AIM, P99_AIM = 4.0, 6.0


class Latency(Struct, kw_only=True):
    """From one connection to another, at a steady rate. Shares are of one processor."""

    p50_ms: float
    p99_ms: float
    server_share: float
    generator_share: float


class FanOut(Struct, kw_only=True):
    """To a room. Shares are of one processor; `server_us` is the server's processor time for a delivery."""

    per_second: float
    server_us: float
    server_share: float
    generator_share: float


class Turn(Struct, kw_only=True):
    """One round of one contender."""

    #: Bytes of resident memory that an idle connection takes.
    memory: float
    one_to_one: Latency
    fan_out: FanOut
    #: Sender and recipient on two servers, over Redis.
    across: Latency


class Hold(Struct, kw_only=True):
    """Many connections, idle but for pings."""

    connections: int
    seconds: float
    memory: float
    pings: int
    #: Seconds that it took to open them.
    opened_in: float
    #: None where the server can't say.
    stall_ms: float | None = None
    busiest_ms: float | None = None
    #: The longest stall while they were opened.
    opening_stall_ms: float | None = None


class Result(Struct, kw_only=True):
    """The medians of a contender's rounds, or why there are none."""

    memory: float | None = None
    one_to_one_p50_ms: float | None = None
    one_to_one_p99_ms: float | None = None
    fan_out_per_second: float | None = None
    #: (highest - lowest) / median of the rounds' fan-out.
    spread: float | None = None
    server_us: float | None = None
    generator_share: float | None = None
    across_p50_ms: float | None = None
    across_p99_ms: float | None = None
    held: Hold | None = None
    rounds: list[Turn] = []
    failure: str | None = None
    #: Why it doesn't take part on this machine.
    absent: str | None = None


class Aim(Struct, kw_only=True):
    """A figure, what it is to be (at least or at most), and whether it is."""

    value: float
    bound: Literal["at least", "at most"]
    aim: float
    held: bool


class Report(Struct, kw_only=True):
    """Everything that a run has found."""

    seconds: float
    rounds: int
    #: Connections that were held, those of a round that were idle, those of the room, and messages a second.
    connections: int
    idle: int
    room: int
    rate: float
    #: When it was begun, seconds since 1970.
    at: int
    machine: dict[str, str | int]
    versions: dict[str, str]
    contenders: dict[str, Result]
    end_to_end: EndToEnd | None = None
    #: Why there is no `end_to_end`, where it was asked for.
    end_to_end_failure: str | None = None
    ratios: dict[str, Aim] = {}
    #: What makes these figures less than they seem.
    warnings: list[str] = []

    def failures(self) -> list[str]:
        """Who couldn't be run, or was wrong."""
        found = [f"{name}: {result.failure}" for name, result in self.contenders.items() if result.failure]
        return found + [f"end to end: {self.end_to_end_failure}"] * bool(self.end_to_end_failure)


def summed_up(turns: Sequence[Turn], held: Hold | None) -> Result:
    """The medians of the rounds."""
    rates = [turn.fan_out.per_second for turn in turns]
    return Result(
        memory=statistics.median(turn.memory for turn in turns),
        one_to_one_p50_ms=statistics.median(turn.one_to_one.p50_ms for turn in turns),
        one_to_one_p99_ms=statistics.median(turn.one_to_one.p99_ms for turn in turns),
        fan_out_per_second=statistics.median(rates),
        spread=(max(rates) - min(rates)) / statistics.median(rates),
        server_us=statistics.median(turn.fan_out.server_us for turn in turns),
        generator_share=statistics.median(turn.fan_out.generator_share for turn in turns),
        across_p50_ms=statistics.median(turn.across.p50_ms for turn in turns),
        across_p99_ms=statistics.median(turn.across.p99_ms for turn in turns),
        held=held,
        rounds=list(turns),
    )


def at_least(value: float, aim: float) -> Aim:
    """A figure that is to be so high."""
    return Aim(value=value, bound="at least", aim=aim, held=value >= aim)


def at_most(value: float, aim: float) -> Aim:
    """A figure that is to be so low."""
    return Aim(value=value, bound="at most", aim=aim, held=value <= aim)


def ratios(results: Mapping[str, Result], end_to_end: EndToEnd | None) -> dict[str, Aim]:
    """The aims of which both sides were run."""
    found: dict[str, Aim] = {}
    ours, peer = results.get("ours", Result()), results.get("centrifuge", Result())
    if ours.memory is not None and peer.memory:
        found["memory: ours / centrifuge"] = at_most(ours.memory / peer.memory, MEMORY_AIM)
    for name, aim in (("socketio", PUBLIC_AIM), ("socketio_plain", PUBLIC_AIM), ("aiohttp", BARE_AIM)):
        other = results.get(name, Result()).fan_out_per_second
        if ours.fan_out_per_second is not None and other:
            found[f"fan-out: ours / {name}"] = at_least(ours.fan_out_per_second / other, aim)
    if ours.held is not None and ours.held.stall_ms is not None:
        found["ours: longest stall, ms"] = at_most(ours.held.stall_ms, STALL_AIM_MS)
    for name, sampled in (end_to_end.sampled if end_to_end is not None else {}).items():
        found[f"end to end, {name}: p50 / round trip"] = at_most(sampled.p50_ratio, P50_AIM)
        found[f"end to end, {name}: p99 / round trip"] = at_most(sampled.p99_ratio, P99_AIM)
    return found


def busy(results: Mapping[str, Result]) -> list[str]:
    """Where the generator was the bottleneck: the server could do more, and a ratio to its figure flatters."""
    return [
        f"{name}: the generator took {result.generator_share:.0%} of a processor at the fan-out, so that the server "
        "could do more, and ratios to it flatter"
        for name, result in results.items()
        if result.generator_share is not None and result.generator_share > BUSY
    ]
