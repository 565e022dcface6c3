"""Whether a consumer gets on: where it stands, held against its partitions as another client sees them.

A consumer that has silently stopped looks idle from within: nothing in hand, nothing to commit, no record that comes.
So a client of its own asks for the ends of the partitions every few seconds, and where something is left that the
consumer doesn't take, for the first record there: what is left may be no record (transaction markers, what compaction
took).
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping, Set as AbstractSet
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

#: Seconds between two looks, and seconds that one may take.
LOOK_SECONDS = 2.0
PATIENCE_SECONDS = 10.0
#: Seconds in which the first record that is left must have been found.
PEEK_SECONDS = 3.0


class Standing(NamedTuple):
    """Where a consumer is in one partition; the offsets are each of the next record.

    `position` is what is handed out up to, `done` what is processed up to; -1 where nothing is known yet.
    """

    position: int
    done: int
    in_hand: bool
    end: int

    @property
    def behind(self) -> bool:
        """Whether anything is left to do."""
        return self.in_hand or self.position < self.end


class First(NamedTuple):
    """The first record that isn't handed out, and when it was written, in seconds since 1970."""

    offset: int
    timestamp: float


class Movement:
    """Since when which partition stands still though something is left to do there. Pure."""

    def __init__(self) -> None:
        self._last: dict[TP, Standing] = {}
        self._since: dict[TP, float] = {}

    def note(self, standings: Mapping[TP, Standing], now: float, excused: AbstractSet[TP] = frozenset()) -> None:
        """What is found at `now` (seconds, of any clock); partitions that aren't named are somebody else's."""
        moved = {tp for tp, standing in standings.items() if self._moved(tp, standing)}
        # An agent takes the batches of its topic in turn: none of them stands still while it gets on with others.
        busy = {tp.topic for tp in moved}
        self._since = {
            tp: now
            if not standing.behind or tp in moved or tp in excused or (standing.in_hand and tp.topic in busy)
            else self._since.get(tp, now)
            for tp, standing in standings.items()
        }
        self._last = dict(standings)

    def still(self, now: float) -> dict[TP, float]:
        """For how many seconds each partition has stood still, by `now`."""
        return {tp: now - since for tp, since in self._since.items()}

    def _moved(self, tp: TP, standing: Standing) -> bool:
        last = self._last.get(tp)
        return last is None or (last.position, last.done) != (standing.position, standing.done)


class Lookout:
    """Looks at an app's consumer as long as `run` runs.

    `stirs` is asked at each look: when what it gives changes, the worker is at something else than its partitions, such
    as restoring a table or waiting for a store.
    """

    def __init__(
        self,
        app: Any,
        bootstrap: str,
        *,
        stirs: Callable[[], Hashable] = lambda: None,
    ) -> None:
        self._app = app
        self._bootstrap = bootstrap
        self._stirs = stirs
        self._stir: Hashable = None
        self._movement = Movement()
        self._standings: dict[TP, Standing] = {}
        self._firsts: dict[TP, First] = {}
        #: Up to where a partition was found to hold no record after the consumer's position.
        self._empty: dict[TP, int] = {}
        self._looked_at = self._joined_at = self._committed_at = time.monotonic()
        self._committed: float = 0.0
        #: Why the last look saw nothing; None when it did.
        self.blind: str | None = "not looked yet"

    # -- what is told

    def trouble(self, limit: float) -> str | None:
        """What has stood still for longer than `limit` seconds, or is dead; None when all is well."""
        if self._is_started() and not self._app.consumer._thread._thread.is_alive():
            return "the consumer's thread has ended"
        # What counts is the time between looks that saw something: none of these clocks runs while Kafka is away.
        now = self._looked_at
        if now - self._joined_at > limit:
            return f"not in its group for {now - self._joined_at:.0f} s"
        if now - self._committed_at > limit:
            return f"batches are done and nothing was committed for {now - self._committed_at:.0f} s"
        still = {tp: seconds for tp, seconds in self._movement.still(now).items() if seconds > limit}
        if not still:
            return None
        tp = max(still, key=lambda each: still[each])
        standing = self._standings[tp]
        more = f" (and {len(still) - 1} more partitions)" if len(still) > 1 else ""
        return (
            f"{tp.topic}-{tp.partition} stands still at {max(standing.done, 0)} for {still[tp]:.0f} s, "
            f"its end is {standing.end}{more}"
        )

    def lags(self) -> dict[TP, int]:
        """Records not yet processed, by partition, of those that were there at the last look."""
        ledger = self._app.consumer.ledger
        lags = {}
        for tp, standing in self._standings.items():
            first = self._firsts.get(tp)
            done = ledger.front(tp)
            if done is None:
                done = first.offset if first else 0
            lags[tp] = max(0, standing.end - done) if standing.behind else 0
        return lags

    def oldest(self) -> dict[str, float]:
        """When the oldest record that isn't processed was written, by topic, seconds since 1970; none where all are."""
        found: dict[str, float] = {}
        firsts = [(tp, first.timestamp) for tp, first in self._firsts.items()]
        in_hand = [(tp, milliseconds / 1000) for tp, milliseconds in self._app.consumer.ledger.oldest().items()]
        for tp, timestamp in firsts + in_hand:
            found[tp.topic] = min(found.get(tp.topic, timestamp), timestamp)
        return found

    # -- the looks

    async def run(self) -> None:
        """Look until cancelled."""
        client: AIOKafkaConsumer | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        client = client or await self._connect()
                        if self._is_started():
                            await self._look(client)
                except (KafkaError, TimeoutError) as exc:
                    self._see_nothing(exc)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            if client is not None:
                await client.stop()

    async def _connect(self) -> AIOKafkaConsumer:
        client = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=1,
            max_partition_fetch_bytes=1,
        )
        try:
            await client.start()
        except BaseException:
            await client.stop()
            raise
        return client

    async def _look(self, client: AIOKafkaConsumer) -> None:
        assigned = {TP(tp.topic, tp.partition) for tp in self._app.consumer.assignment()}
        # Also where there is none to ask about: whether Kafka answers says whose fault a standstill is.
        asked = assigned or {TP(topic, 0) for topic in self._app.transport.topics}
        ends = await client.end_offsets([TopicPartition(*tp) for tp in asked])
        standings = self._take_stock(assigned, {TP(*tp): end for tp, end in ends.items()})
        left = {
            tp: standing
            for tp, standing in standings.items()
            if not standing.in_hand and standing.behind and standing == self._standings.get(tp)
        }
        if left:
            self._note_firsts(left, await self._peek(client, left))
            standings = self._take_stock(assigned, {tp: each.end for tp, each in standings.items()})
        self._firsts = {tp: first for tp, first in self._firsts.items() if tp in left}
        self._note(standings, time.monotonic())

    def _take_stock(self, assigned: AbstractSet[TP], ends: Mapping[TP, int]) -> dict[TP, Standing]:
        ledger = self._app.consumer.ledger
        found = {}
        for tp in assigned & ends.keys():
            position, done = ledger.position(tp), ledger.front(tp)
            in_hand = ledger.in_hand(tp)
            end = ends[tp]
            if self._empty.get(tp) == end and not in_hand:
                position = end
            found[tp] = Standing(
                end if end == 0 else -1 if position is None else position, -1 if done is None else done, in_hand, end
            )
        return found

    async def _peek(self, client: AIOKafkaConsumer, left: Mapping[TP, Standing]) -> dict[TP, First | None]:
        """The first record after each position; None where there is none up to the end."""
        places = {TopicPartition(*tp): standing for tp, standing in left.items()}
        found: dict[TP, First | None] = {}
        deadline = time.monotonic() + PEEK_SECONDS
        client.assign(list(places))
        try:
            for tp, standing in places.items():
                client.seek(tp, max(standing.position, 0))
            while len(found) < len(places) and time.monotonic() < deadline:
                pending = [tp for tp in places if TP(*tp) not in found]
                for tp, records in (await client.getmany(*pending, timeout_ms=200)).items():
                    found[TP(*tp)] = First(records[0].offset, records[0].timestamp / 1000)
                for tp in pending:
                    if await client.position(tp) >= places[tp].end:
                        found.setdefault(TP(*tp), None)
        finally:
            client.unsubscribe()
        return found

    def _note_firsts(self, left: Mapping[TP, Standing], found: Mapping[TP, First | None]) -> None:
        for tp, first in found.items():
            if first is None:
                self._empty[tp] = left[tp].end
            else:
                self._firsts[tp] = first

    def _note(self, standings: dict[TP, Standing], now: float) -> None:
        self._looked_at = now
        consumer = self._app.consumer
        stir, before = self._stirs(), self._stir
        stirred = stir != before or self.blind is not None
        self.blind = None
        self._stir, self._standings = stir, standings
        held = consumer.held()
        self._movement.note(standings, now, standings.keys() if stirred else held)
        if stirred or self._is_joined():
            self._joined_at = now
        if self._is_joined() and not any(standing.behind for tp, standing in standings.items() if tp not in held):
            consumer.note_idle()
        if stirred or not consumer.ledger.committable() or consumer.committed_at != self._committed:
            self._committed, self._committed_at = consumer.committed_at, now

    def _see_nothing(self, why: BaseException) -> None:
        """Kafka can't be reached: nobody could get on, and a restart would change nothing."""
        self.blind = repr(why)
        self._looked_at = self._joined_at = self._committed_at = now = time.monotonic()
        self._movement.note(self._standings, now, self._standings.keys())

    def _is_started(self) -> bool:
        thread = self._app.consumer._thread
        return thread._thread is not None and thread._consumer is not None

    def _is_joined(self) -> bool:
        return not self._app.rebalancing and bool(self._app.tables.recovery.completed.is_set())
