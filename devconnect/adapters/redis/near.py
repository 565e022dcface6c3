"""What was read of Redis and is known to be current: Redis says what changes, on the connection it was read on."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

from devconnect.adapters.redis.calls import Command, run
from devconnect.adapters.redis.wire import Wire
from devconnect.ports import metrics as m
from devconnect.ports.metrics import Metrics, NoMetrics
from devconnect.ports.truth import UnavailableError

#: Keys that are remembered.
CAPACITY = 50_000
#: Seconds between proofs that Redis still tells what changes, and the age of a proof up to which it is believed.
BEAT = 0.25
BELIEVED = 0.5

_CACHING: Command = ("CLIENT", "CACHING", "YES")


class NearCache:
    """Values by their key, forgotten as soon as Redis says that the key has changed (CLIENT TRACKING, OPTIN).

    Nothing is given that is older than `BELIEVED`: a server, or a network, that has stopped says nothing of changes, so
    that silence is no sign of there being none. Every answer proves that whatever had changed when it was asked for has
    been told, since answers and changes come in one order; where nothing is asked, a PING is, every `BEAT`. Together
    with the connection, or with the last proof, goes all that is here. One loop only.
    """

    def __init__(self, wire: Wire, *, metrics: Metrics | None = None, capacity: int = CAPACITY) -> None:
        """The wire mustn't have been used yet."""
        self._wire = wire
        self._metrics = metrics or NoMetrics()
        self._half = max(1, capacity // 2)
        #: Used lately, and before that: when the first is full, the second is dropped, and takes its place.
        self._young: dict[str, Any] = {}
        self._old: dict[str, Any] = {}
        self._expected: dict[str, list[Expectation]] = {}
        self._beat: asyncio.TimerHandle | None = None
        self._hits = self._misses = 0
        #: When Redis was last found again after it had been away (milliseconds since 1970): what it should have been
        #: given meanwhile may still be on its way to it.
        self.back_at = 0
        wire.follow(self)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def at_hand(self, keys: Sequence[str]) -> list[Any] | None:
        """The values of all these keys; None unless each is here, and known to be current."""
        if time.monotonic() - self._wire.proven <= BELIEVED:
            young = self._young
            try:
                found = [young[key] if key in young else self._renewed(key) for key in keys]
            except KeyError:
                pass
            else:
                self._hits += 1
                return found
        self._misses += 1
        return None

    def expect(self, keys: Sequence[str]) -> "Expectation":
        """Be ready to remember these keys: entered before they are asked for, left when their answers were kept."""
        return Expectation(self, self._wire, keys)

    async def read(self, tracked: Sequence[Command], others: Sequence[Command] = ()) -> list[Any]:
        """The answers to both, in one round trip; of the keys of the first it is told when they change."""
        commands = [each for command in tracked for each in (_CACHING, command)]
        answers = await run(self._wire, [*commands, *others])
        return answers[1 : len(commands) : 2] + answers[len(commands) :]

    # -- what the wire calls

    def opened(self) -> None:
        """Whatever is read from now on is tracked."""
        if self._wire.away > BELIEVED:
            self.back_at = time.time_ns() // 1_000_000
        self._beat = asyncio.get_running_loop().call_later(BEAT, self._prove)

    def invalidated(self, keys: Sequence[str] | None) -> None:
        """Forget these, or all. An answer that came before may be on its way to its reader still: nor is that kept."""
        if keys is None:
            self._forget()
            return
        self._metrics.count(m.NEAR_INVALIDATIONS, by=len(keys))
        for key in keys:
            self._young.pop(key, None)
            self._old.pop(key, None)
            for expectation in self._expected.get(key, ()):
                expectation.clean = False

    def lost(self) -> None:
        """Forget all."""
        self._forget()
        self._metrics.count(m.NEAR_LOSSES)
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    # -- keeping

    def keep(self, key: str, value: Any) -> None:
        """For an Expectation."""
        self._old.pop(key, None)
        self._young[key] = value
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}

    def enter(self, expectation: "Expectation") -> None:
        """For an Expectation: from here on it is told of changes."""
        for key in expectation.keys:
            self._expected.setdefault(key, []).append(expectation)

    def leave(self, expectation: "Expectation") -> None:
        """For an Expectation: it is told no more."""
        for key in expectation.keys:
            listed = self._expected[key]
            listed.remove(expectation)
            if not listed:
                del self._expected[key]

    def _renewed(self, key: str) -> Any:
        value = self._old[key]
        self.keep(key, value)
        return value

    def _forget(self) -> None:
        self._young.clear()
        self._old.clear()
        for expectations in self._expected.values():
            for expectation in expectations:
                expectation.clean = False

    def _prove(self) -> None:
        """Ask for a sign of life. Without one in time the wire loses its connection."""
        self._beat = asyncio.get_running_loop().call_later(BEAT, self._prove)
        self._metrics.count(m.NEAR_HITS, by=self._hits)
        self._metrics.count(m.NEAR_MISSES, by=self._misses)
        self._hits = self._misses = 0
        try:
            self._wire.send([("PING",)]).add_done_callback(_taken)
        except UnavailableError:
            return  # too much is waiting; its answers will do as proofs


class Expectation:
    """Values that are about to be read. They are kept only if nothing was said of any of their keys since it began."""

    __slots__ = ("_cache", "_generation", "_wire", "clean", "keys")

    def __init__(self, cache: NearCache, wire: Wire, keys: Sequence[str]) -> None:
        self._cache = cache
        self._wire = wire
        self._generation = wire.generation
        self.keys = keys
        self.clean = True

    def __enter__(self) -> "Expectation":
        self._cache.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.leave(self)

    def keep(self, values: Iterable[Any]) -> bool:
        """Remember the values, one a key, in their order; False where they may be outdated already, and weren't."""
        if not self.clean or self._generation != self._wire.generation:
            return False
        for key, value in zip(self.keys, values, strict=True):
            self._cache.keep(key, value)
        return True


def _taken(future: asyncio.Future[list[Any]]) -> None:
    """What it has failed with is known: the connection is lost."""
    if not future.cancelled():
        future.exception()
