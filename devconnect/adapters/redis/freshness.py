"""ports.freshness on Redis: the marks that projections leave, asked for when somebody waits, and now and then."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.ports.truth import UnavailableError

logger = logging.getLogger(__name__)

#: Seconds between looks for one who waits: the first after the first, then the last for ever.
PAUSES = (0.002, 0.005, 0.010, 0.020)
#: Seconds between looks at all marks.
REFRESH = 0.5

_EPOCH: Command = ("GET", keys.EPOCH)


class RedisFreshness:
    """How far the read models are. `start` it to keep `as_of` up to date, `stop` it at the end."""

    def __init__(self, client: Client, topics: Sequence[str], partitions: int) -> None:
        """`topics` are those of events, each of as many partitions."""
        self._client = client
        self._topics = topics
        self._partitions = partitions
        #: What is known to be applied, and up to when, while the read models are complete.
        self._seqs: dict[tuple[str, int], int] = {}
        self._ats: dict[tuple[str, int], int] = {}
        #: The least of them, once each is known: what every read says.
        self._as_of = 0
        self._waiting: dict[tuple[str, int], _Waiting] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look at the marks from now on; returns after the first look."""
        with suppress(UnavailableError):
            await self.refresh()
        self._task = asyncio.create_task(self._refresh_for_ever(), name="freshness")

    async def stop(self) -> None:
        """Look no more. Who still waits is told that it isn't so."""
        tasks = [task for task in (self._task, *(each.task for each in self._waiting.values())) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def applied(self, topic: str, partition: int) -> int | None:
        """The highest seq of the partition that is in the read models; None while Redis can't say."""
        try:
            return await self._look((topic, partition))
        except UnavailableError:
            return None

    async def wait(self, topic: str, partition: int, seq: int, seconds: float) -> bool:
        """Whether all up to `seq` is in the read models, or comes to be so in time; False at once without Redis."""
        place = (topic, partition)
        if self._seqs.get(place, 0) >= seq:
            return True
        if seconds <= 0:
            return (await self.applied(topic, partition) or 0) >= seq
        waiting = self._waiting.get(place)
        if waiting is None:
            waiting = self._waiting[place] = _Waiting()
            waiting.task = asyncio.create_task(self._poll(place, waiting), name="freshness-poll")
        future = waiting.add(seq)
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            return False

    def as_of(self, partition: int | None = None, topic: str | None = None) -> int:
        """The time up to which the read models hold what has happened, as last heard; 0 for unknown.

        It stays where it was while Redis can't be asked, or isn't complete: it is then the age of no read from there.
        """
        if partition is None and topic is None:
            return self._as_of
        topics = self._topics if topic is None else (topic,)
        partitions = range(self._partitions) if partition is None else (partition,)
        return self._least(topics, partitions)

    def _least(self, topics: Sequence[str], partitions: Sequence[int]) -> int:
        return min((self._ats.get((name, number), 0) for name in topics for number in partitions), default=0)

    async def refresh(self) -> None:
        """Look at all marks. UnavailableError when that can't be done."""
        looks: list[Command] = [("HGETALL", keys.applied(topic)) for topic in self._topics]
        epoch, *found = await run(self._client, [_EPOCH, *looks])
        if epoch is None:
            self._seqs.clear()
            return
        for topic, fields in zip(self._topics, found, strict=True):
            for number in range(self._partitions):
                self._note(self._seqs, (topic, number), fields.get(str(number)))
                self._note(self._ats, (topic, number), fields.get(f"at:{number}"))
        self._as_of = self._least(self._topics, range(self._partitions))

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH)
            try:
                await self.refresh()
            except UnavailableError:
                continue  # whoever reads notices, and says so
            except Exception:
                logger.exception("how fresh the read models are can't be looked up")

    async def _look(self, place: tuple[str, int]) -> int | None:
        """The seq up to which the partition is applied; None while the read models aren't complete."""
        topic, partition = place
        epoch, seq = await run(self._client, [_EPOCH, ("HGET", keys.applied(topic), partition)])
        if epoch is None:
            self._seqs.clear()
            return None
        self._note(self._seqs, place, seq)
        return self._seqs.get(place, 0)

    async def _poll(self, place: tuple[str, int], waiting: "_Waiting") -> None:
        """Look for all who wait for one partition, until nobody does."""
        try:
            while waiting.anybody():
                seq = await self._look(place)
                if seq is None:
                    break
                waiting.settle(seq)
                await waiting.pause()
        except UnavailableError:
            pass
        except Exception:
            logger.exception("what is waited for can't be looked up")
        finally:
            del self._waiting[place]
            waiting.give_up()

    @staticmethod
    def _note(known: dict[tuple[str, int], int], place: tuple[str, int], found: Any) -> None:
        """Marks move forward only; answers may overtake each other."""
        if found is not None:
            known[place] = max(known.get(place, 0), int(found))


class _Waiting:
    """Those who wait for one partition."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self._futures: list[tuple[int, asyncio.Future[bool]]] = []
        self._pauses: Iterator[float] = iter(())
        self._came = asyncio.Event()

    def add(self, seq: int) -> asyncio.Future[bool]:
        """One more. What they wait for is looked for soon, however long the others have waited."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._futures.append((seq, future))
        self._pauses = iter(PAUSES)
        self._came.set()
        return future

    def anybody(self) -> bool:
        """Whether somebody waits still."""
        self._futures = [each for each in self._futures if not each[1].done()]
        return bool(self._futures)

    def settle(self, seq: int) -> None:
        """All up to here is applied."""
        for wanted, future in self._futures:
            if wanted <= seq and not future.done():
                future.set_result(True)

    def give_up(self) -> None:
        """Nothing more will be learned."""
        for _, future in self._futures:
            if not future.done():
                future.set_result(False)

    async def pause(self) -> None:
        """Wait for the next look; who comes meanwhile needn't wait for long."""
        seconds = next(self._pauses, PAUSES[-1])
        self._came.clear()
        if seconds > PAUSES[0]:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._came.wait()
        if self._came.is_set() or seconds <= PAUSES[0]:
            await asyncio.sleep(PAUSES[0])
