"""`bench realtime`: what sockets cost, how soon a message is there, how many are delivered; ours and others."""

import asyncio
import platform
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

import uvloop
from msgspec import Struct

from bench.gateways.entrants import gateway
from bench.gateways.server import serving as gateway_serving
from bench.machine import machine
from bench.rig import BenchError, own_folder, servers, valkey, workers
from bench.runs import Say
from bench.sockets import endtoend
from bench.sockets.entrants import NAMES, Entrant, entrant
from bench.sockets.load import Load, loading
from bench.sockets.orders import Close, Done, Fan, Idle, Open, Order, Steady
from bench.sockets.report import FanOut, Hold, Latency, Report, Result, Turn, busy, ratios, summed_up
from bench.sockets.server import Server, serving
from devconnect.adapters.kafka.topics import ensure_topics
from devconnect.stack.ports import LOOPBACK

#: Idle connections of a round, whose memory is taken; connections of the room; of those who write to each other.
IDLE, ROOM, TALKERS = 2_000, 500, 100
#: Messages a second one to one, and messages to the room that are under way at a time.
RATE, WINDOW = 200.0, 8
#: Connections before those that count: what a server loads and makes once isn't what a connection takes.
FIRST = 50
#: Seconds until the memory of new connections is taken at most, and that many are held: each is pinged once.
SETTLE, HELD = 1.5, 30.0
#: Files that a process has open beside its connections.
FILES = 200
#: Name of the part that is no contender, for `only`; topics' partitions and samples for it.
END_TO_END, PARTITIONS, SAMPLES = "end_to_end", 4, 500
#: Distributions whose versions the report names.
PACKAGES = ("aiohttp", "aiokafka", "python-engineio", "python-socketio", "redis", "uvloop")


class Options(Struct, frozen=True, kw_only=True):
    """What was asked for; `connections` is how many are held, 0 for none."""

    seconds: float
    rounds: int
    connections: int
    only: tuple[str, ...]

    @property
    def room(self) -> int:
        """Connections of the room: few connections make a small one."""
        return min(ROOM, max(10, self.connections)) if self.connections else ROOM

    @property
    def idle(self) -> int:
        """Connections of a round that are idle."""
        return min(IDLE, max(10, self.connections)) if self.connections else IDLE

    @property
    def settle(self) -> float:
        """Seconds until the memory of new connections is taken."""
        return min(SETTLE, self.seconds)

    @property
    def held(self) -> float:
        """Seconds that connections are held; a short run isn't held up by it."""
        return HELD if self.seconds >= 1 else self.seconds


def run(options: Options, say: Say) -> Report:
    """The whole benchmark, on servers of its own."""
    at, names = int(time.time()), [name for name in NAMES if not options.only or name in options.only]
    make_room(max(options.connections, 2 * options.idle, options.room))
    results: dict[str, Result] = {}
    if names:
        with own_folder() as folder, valkey(folder) as redis:
            contest = Contest(folder, redis, options, say)
            contest.go(names)
            results = contest.results(names)
    found, failure = None, None
    if not options.only or END_TO_END in options.only:
        try:
            found = _end_to_end(options, say)
        except BenchError as error:
            failure = str(error)
            say(f"end to end: {error}")
    return Report(
        seconds=options.seconds,
        rounds=options.rounds,
        connections=options.connections,
        idle=options.idle,
        room=options.room,
        rate=RATE,
        at=at,
        machine=machine(),
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        contenders=results,
        end_to_end=found,
        end_to_end_failure=failure,
        ratios=ratios(results, found),
        warnings=busy(results),
    )


def make_room(connections: int) -> None:
    """Let this process, and so those that it starts, have so many files open; BenchError where they may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchError(
            f"{connections:,} connections need {wanted:,} open files, and {hard:,} are allowed (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end_to_end(options: Options, say: Say) -> endtoend.EndToEnd:
    """With the whole system running: workers and a gateway as they are."""
    say("end to end: starting the system")
    samples = round(min(SAMPLES, max(10.0, SAMPLES * options.seconds / 5)))
    with servers(PARTITIONS) as (settings, addresses):
        asyncio.run(ensure_topics(addresses.kafka, settings))
        with (
            workers(settings, addresses),
            gateway_serving(gateway("gateway"), settings, addresses) as server,
        ):
            server.wait()
            say("end to end: from POST to the recipient's socket, and bare round trips")
            return uvloop.run(endtoend.measure(addresses, f"http://{LOOPBACK}:{server.port}", samples))


class Contest:
    """The contenders and the rounds. Servers are fresh in each round: memory that was used once isn't new again."""

    def __init__(self, folder: Path, redis: str, options: Options, say: Say) -> None:
        self._folder, self._redis, self._options, self._say = folder, redis, options, say
        self._absent: dict[str, str] = {}
        self._failures: dict[str, str] = {}
        self._turns: dict[str, list[Turn]] = {}
        self._held: dict[str, Hold] = {}

    def go(self, names: list[str]) -> None:
        """The rounds, and then many connections for each in turn."""
        ready = [found for name in names if (found := self._ready(name)) is not None]
        for number in range(self._options.rounds):
            for each in ready:
                self._try(each, partial(self._round, each, number))
        if self._options.connections:
            for each in ready:
                self._try(each, partial(self._hold, each))

    def _ready(self, name: str) -> Entrant | None:
        try:
            return entrant(name)
        except BenchError as error:
            self._absent[name] = str(error)
            self._say(f"{name} doesn't take part: {error}")
            return None

    def _try(self, each: Entrant, what: Callable[[], None]) -> None:
        if each.name in self._failures:
            return
        try:
            what()
        except BenchError as error:
            self._failures[each.name] = str(error)
            self._say(f"{each.name}: {error}")

    def results(self, names: list[str]) -> dict[str, Result]:
        """The results by name."""
        return {name: self._result(name) for name in names}

    def _result(self, name: str) -> Result:
        if name in self._absent:
            return Result(absent=self._absent[name])
        if name not in self._turns:
            return Result(failure=self._failures.get(name))
        found = summed_up(self._turns[name], self._held.get(name))
        found.failure = self._failures.get(name)
        return found

    def _round(self, each: Entrant, number: int) -> None:
        with self._fresh(each) as (server, load):
            memory = self._memory(server, load)
            one_to_one = self._latency([server], load)
            fan_out = self._fan_out(server, load)
        with ExitStack() as stack:
            pair = [stack.enter_context(serving(each, self._folder, self._redis)) for _ in range(2)]
            across = self._latency(pair, stack.enter_context(loading(self._folder)))
        turn = Turn(memory=memory, one_to_one=one_to_one, fan_out=fan_out, across=across)
        self._turns.setdefault(each.name, []).append(turn)
        self._say(
            f"round {number + 1}: {each.name} {memory / 1024:.1f} KB a connection, {one_to_one.p50_ms:.2f} ms, "
            f"{fan_out.per_second:,.0f} deliveries/s"
        )

    @contextmanager
    def _fresh(self, each: Entrant) -> Iterator[tuple[Server, Load]]:
        """A server that has had a few connections already, and nobody connected."""
        with serving(each, self._folder) as server, loading(self._folder) as load:
            load.do(_opening([server], FIRST))
            load.do(Steady(rate=RATE, seconds=min(0.5, self._options.seconds)))
            load.do(Close())
            server.calm_down()
            yield server, load

    def _memory(self, server: Server, load: Load) -> float:
        """Bytes a connection: that of more of them, when some have filled what was left free by the server's start."""
        count = self._options.idle
        load.do(_opening([server], count // 2))
        load.do(Idle(seconds=self._options.settle))
        before = server.memory()
        load.do(_opening([server], count))
        load.do(Idle(seconds=self._options.settle))
        found = (server.memory() - before) / count
        load.do(Close())
        server.calm_down()
        return found

    def _latency(self, several: list[Server], load: Load) -> Latency:
        """From the first to the last of these servers and back; both have connections in turn."""
        load.do(_opening(several, TALKERS))
        order = Steady(rate=RATE, seconds=max(self._options.seconds, 0.5))
        done, server, _ = _metered(several, load, order)
        load.do(Close())
        return Latency(
            p50_ms=done.p50_ms,
            p99_ms=done.p99_ms,
            server_share=server / done.seconds,
            generator_share=done.processor / done.seconds,
        )

    def _fan_out(self, server: Server, load: Load) -> FanOut:
        load.do(_opening([server], self._options.room, "room"))
        done, busy_for, passed = _metered([server], load, Fan(seconds=self._options.seconds, window=WINDOW))
        load.do(Close())
        share, rate = busy_for / passed, done.deliveries / done.seconds
        return FanOut(
            per_second=rate,
            server_us=share / rate * 1e6,
            server_share=share,
            generator_share=done.processor / done.seconds,
        )

    def _hold(self, each: Entrant) -> None:
        count, seconds = self._options.connections, self._options.held
        with self._fresh(each) as (server, load):
            before = server.memory()
            server.stall()
            opened = load.do(_opening([server], count))
            opening = server.stall()
            done = load.do(Idle(seconds=seconds))
            stall, memory = server.stall(), (server.memory() - before) / count
        self._held[each.name] = Hold(
            connections=count,
            seconds=seconds,
            memory=memory,
            pings=done.pings,
            opened_in=opened.seconds,
            stall_ms=stall.longest_ms if stall else None,
            busiest_ms=stall.busiest_ms if stall else None,
            opening_stall_ms=opening.longest_ms if opening else None,
        )
        longest = f"longest stall {stall.longest_ms:.1f} ms" if stall else "stalls not measured"
        self._say(f"{count:,} connections: {each.name} {memory / 1024:.1f} KB each, {longest}")


def _opening(several: list[Server], count: int, room: str = "") -> Open:
    first = several[0].entrant
    ports = tuple(server.port for server in several)
    return Open(count=count, ports=ports, dialect=first.dialect, deflate=first.deflate, room=room)


def _metered(several: list[Server], load: Load, order: Order) -> tuple[Done, float, float]:
    """What came of an order, the servers' processor seconds meanwhile, and the seconds that it took in all."""
    began, before = time.monotonic(), sum(server.processor() for server in several)
    done = load.do(order)
    return done, sum(server.processor() for server in several) - before, time.monotonic() - began
