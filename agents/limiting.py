"""An agent's bad records: found, counted against the limits, and what is to become of them."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from agents.slices import Slice
from devconnect.domain.limits import Limits
from devconnect.ports.letters import History, Letters
from faust_batch.batch import Batch, Record

T = TypeVar("T")

Part = tuple[str, int]


class Bad(NamedTuple):
    """A record that can't be used, and why."""

    record: Record
    cause: str


class Case:
    """The bad records of one partition in one call."""

    def __init__(self, first: int, before: Sequence[int], allowed: int, limits: Limits) -> None:
        """`first` is the first offset in hand, `before` the bad ones before it, any number is `allowed` up to one."""
        self._first = first
        self._before = [offset for offset in before if offset > allowed]
        self._allowed = allowed
        self._limits = limits
        self._bad: dict[int, Bad] = {}
        #: The offset at which the partition has to stop, or None.
        self.stop: int | None = None

    def add(self, found: Sequence[Bad]) -> None:
        """These can't be used."""
        self._bad.update((bad.record.offset, bad) for bad in found)
        counted = self._before + sorted(offset for offset in self._bad if offset > self._allowed)
        self.stop = self._limits.exceeded(counted, self._first)

    def before_stop(self, part: Slice[T]) -> Slice[T]:
        """What of a slice may be applied."""
        if self.stop is None or part.records[-1].offset < self.stop:
            return part
        count = sum(record.offset < self.stop for record in part.records)
        return Slice(part.topic, part.partition, part.records[:count], part.values[:count])

    def to_bury(self) -> list[Bad]:
        """The bad records before the stop, in order."""
        return [bad for offset, bad in sorted(self._bad.items()) if self.stop is None or offset < self.stop]

    @property
    def cause(self) -> str:
        """Why the record that is one too many can't be used."""
        return self._bad[self.stop].cause if self.stop is not None else ""


class Stop(NamedTuple):
    """A partition that is held at an offset since too much of it is bad."""

    topic: str
    partition: int
    offset: int
    batch: Batch


class Limiter:
    """What one agent knows of the bad records of its partitions, and which of them it has stopped."""

    def __init__(self, agent: str, limits: Limits, letters: Letters) -> None:
        self._agent = agent
        self._limits = limits
        self._letters = letters
        self._known: dict[Part, History] = {}
        self._stops: dict[Part, Stop] = {}

    def forget(self) -> None:
        """The partitions were assigned anew: somebody else may have buried meanwhile, and nothing is held."""
        self._known.clear()
        self._stops.clear()

    def stops(self) -> list[Stop]:
        """The partitions that are held."""
        return list(self._stops.values())

    async def open(self, topic: str, partition: int, first: int) -> Case:
        """A case for the records from `first` on; UnavailableError when what is buried already can't be read."""
        since = first - self._limits.reach
        history = self._known.get((topic, partition))
        if history is None:
            history = await self._letters.history(self._agent, topic, partition, since, first)
            self._known[topic, partition] = history
        return Case(first, [bad for bad in history.bad if since <= bad < first], history.allowed, self._limits)

    def close(self, topic: str, partition: int, first: int, buried: Sequence[Bad]) -> None:
        """These were buried."""
        history = self._known[topic, partition]
        before = [offset for offset in history.bad if offset < first]
        after = [bad.record.offset for bad in buried]
        self._known[topic, partition] = History((*before, *after)[-self._limits.reach :], history.allowed)

    def stop(self, stop: Stop) -> None:
        """Hold the partition."""
        stop.batch.hold(stop.offset)
        self._stops[stop.topic, stop.partition] = stop

    async def release(self, stop: Stop) -> None:
        """Go on with a partition that is held, by what is allowed now."""
        part = stop.topic, stop.partition
        if self._stops.get(part) is stop:
            await stop.batch.release()
            self._known.pop(part, None)
            self._stops.pop(part, None)
