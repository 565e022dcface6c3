"""The ends of sessions as every gateway hears of them: the last twenty minutes at its start, and each from then on.

Kept in memory, so that a session that was ended stays so with Redis down, wiped or started anew, and by a token that is
verified without a look at any store.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from devconnect.events.codec import CodecError
from devconnect.events.topics import SESSION_ENDS, session_ends
from devconnect.ports.clock import Clock, SystemClock
from devconnect.ports.gateway import EndedSessions, OnEnd

#: Milliseconds for which an end is remembered: longer than an access token is good for, clocks that differ included.
KEPT_MS = 20 * 60_000
#: Seconds that a connection may take, an answer of the broker, and between two attempts.
CONNECT, ANSWER, PAUSE = 5.0, 2.0, 0.5
#: Seconds between two looks whether all is known that there is; after so many without, it isn't known any more.
LOOK, STALE = 1.0, 5.0
#: Seconds that a start waits until all is known.
FIRST = 3.0

log = logging.getLogger(__name__)


class SessionEnds(EndedSessions):
    """Follows the topic without a group: each gateway hears everything."""

    def __init__(self, bootstrap: str, *, partitions: int, clock: Clock | None = None) -> None:
        self._bootstrap = bootstrap
        self._places = [TopicPartition(SESSION_ENDS.name, number) for number in range(partitions)]
        self._clock = clock or SystemClock()
        self._on_end: OnEnd | None = None
        #: Session -> when its end was written, milliseconds since 1970; in the order in which they were heard of.
        self._ended: dict[str, int] = {}
        #: Where the reading goes on after a connection was lost.
        self._next: dict[TopicPartition, int] = {}
        self._known_at = -math.inf
        self._tried = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None
        self._trouble = ""

    async def start(self) -> None:
        """Begin to follow; returns when all is known that there was, so that nobody is let in before.

        A Kafka that can't be reached isn't waited for, one that hangs is for `FIRST` seconds; each is tried for ever.
        """
        self._follower = asyncio.create_task(self._follow(), name="session-ends")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST):
                await self._tried.wait()

    async def stop(self) -> None:
        """Follow no longer."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait([self._follower])

    def ended(self, session: str) -> bool:
        return session in self._ended

    def tell(self, on_end: OnEnd) -> None:
        self._on_end = on_end

    def age(self) -> float:
        return time.monotonic() - self._known_at

    def current(self) -> bool:
        return self.age() < STALE

    async def _follow(self) -> None:
        while True:
            # In a task of its own: aiokafka lets cancellations out that it has made itself.
            reading = asyncio.create_task(self._read())
            try:
                await asyncio.wait([reading])
            finally:
                reading.cancel()
                await asyncio.wait([reading])
            self._tried.set()
            error = None if reading.cancelled() else reading.exception()
            if error is not None and not isinstance(error, KafkaError | OSError | TimeoutError):
                log.error("%s can't be read", SESSION_ENDS.name, exc_info=error)
            self._note(f"{SESSION_ENDS.name} can't be followed: {type(error).__name__ if error else 'connection lost'}")
            await asyncio.sleep(PAUSE)

    async def _read(self) -> None:
        """Until the connection is lost."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id="devconnect-gateway",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=int(CONNECT * 1000),
            retry_backoff_ms=50,
            fetch_max_wait_ms=250,
        )
        try:
            async with asyncio.timeout(CONNECT):
                await consumer.start()
                consumer.assign(self._places)
                await self._seek(consumer)
            await self._hear(consumer)
        finally:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(consumer.stop(), ANSWER)

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        """Where it was left, or twenty minutes back."""
        since = self._clock.now_ms() - KEPT_MS
        found = await consumer.offsets_for_times(dict.fromkeys(self._places, since))
        ends = await consumer.end_offsets(self._places)
        for place in self._places:
            first = found[place].offset if found.get(place) is not None else ends[place]
            # A topic that was made anew begins anew, whatever was read of it before.
            left = self._next.get(place, first)
            consumer.seek(place, left if first <= left <= ends[place] else first)

    async def _hear(self, consumer: AIOKafkaConsumer) -> None:
        looked = -math.inf
        while True:
            self._take(await consumer.getmany(timeout_ms=int(LOOK * 1000 / 4)))
            if time.monotonic() - looked >= LOOK:
                async with asyncio.timeout(ANSWER):
                    ends = await consumer.end_offsets(self._places)
                    positions = {place: await consumer.position(place) for place in self._places}
                looked = time.monotonic()
                if all(positions[place] >= ends[place] for place in self._places):
                    self._known_at = looked
                    self._tried.set()
                    self._note("")
                self._forget_old()

    def _take(self, batches: Mapping[TopicPartition, Sequence[ConsumerRecord[Any, Any]]]) -> None:
        for place, records in batches.items():
            for record in records:
                self._next[place] = record.offset + 1
                try:
                    end = session_ends.decode(record.value)
                except CodecError as exc:
                    log.warning("%s-%d at %d is no end of a session: %s", *place, record.offset, exc)
                    continue
                if end.session not in self._ended:
                    self._ended[end.session] = record.timestamp
                    if self._on_end is not None:
                        self._on_end(end.session, end.user)

    def _forget_old(self) -> None:
        """The oldest come first, or nearly: some stay a little longer than they must."""
        before = self._clock.now_ms() - KEPT_MS
        while self._ended:
            session = next(iter(self._ended))
            if self._ended[session] >= before:
                break
            del self._ended[session]

    def _note(self, trouble: str) -> None:
        """Say each change once."""
        if trouble != self._trouble:
            log.warning("Kafka: %s", trouble or f"{SESSION_ENDS.name} is followed again")
        self._trouble = trouble
