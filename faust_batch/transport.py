"""Faust's aiokafka driver with the delivery and the commit accounting of whole batches."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from faust_batch.batch import Batch
from faust_batch.fetching import hand_out_parsed
from faust_batch.ledger import OffsetLedger, Ticket
from faust_batch.membership import Guard, instance_id

logger = logging.getLogger(__name__)

#: How long the broker may hold back an empty fetch; a record of a partition that isn't in the fetch waits for it.
FETCH_MAX_WAIT_MS = 100
#: Bytes that the broker hands over at once also to who lets records gather.
LINGER_BYTES = 256 * 1024


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to Kafka: fetches come back sooner, and a failed commit is tried again, not fatal."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        if transport.linger_seconds:
            consumer._fetch_max_wait_ms = round(transport.linger_seconds * 1000)
            consumer._fetch_min_bytes = LINGER_BYTES
        # By range, the same partition of every topic comes to the same worker: a table's sources stay together.
        consumer._partition_assignment_strategy = (RangePartitionAssignor,)
        if consumer._group_instance_id:
            consumer._group_instance_id = instance_id(consumer._group_instance_id, transport.topics)
        return consumer

    async def on_start(self) -> None:
        """Connect; from here on an error that the consumer can't go on after ends the worker."""
        await super().on_start()
        consumer = self._ensure_consumer()
        hand_out_parsed(consumer)
        Guard(consumer, self._failed)

    def _failed(self, error: BaseException) -> None:
        logger.error("the consumer can't go on: %s", error)
        asyncio.run_coroutine_threadsafe(self.app.crash(error), self.parent_loop)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the committed offset of every partition, and where there is none to the first record."""
        found: Mapping[TP, int] = await self.call_thread(self._seek_to_committed)
        return found

    async def _seek_to_committed(self) -> Mapping[TP, int]:
        consumer = self._ensure_consumer()
        found: Mapping[TP, int] = await consumer.seek_to_committed()
        # aiokafka leaves these where they are, past what was fetched and thrown away.
        if fresh := [tp for tp, offset in found.items() if not offset]:
            await consumer.seek_to_beginning(*fresh)
        return found

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        assigned = self.assignment()
        wanted = {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items() if tp in assigned}
        if not wanted:
            return False
        try:
            await consumer.commit(wanted)
        except (CommitFailedError, IllegalStateError) as exc:
            logger.info("offsets not committed, the group is rebalancing: %s", exc)
            return False
        except KafkaError as exc:
            logger.warning("offsets not committed, trying again: %r", exc)
            return False
        return True


class BatchConsumer(driver.Consumer):
    """Yields one message a partition batch, and commits only what a `Batch` was acknowledged for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger: OffsetLedger[TP] = OffsetLedger()
        #: Grows with each seek: what was fetched before one mustn't be delivered after it.
        self._seeks = 0
        #: When offsets were last committed or there was nothing to commit, seconds since 1970.
        self.committed_at = time.time()
        #: Partitions that are read no further until they are released or assigned anew.
        self._held: set[TP] = set()

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- delivery

    async def getmany(
        self,
        timeout: float,  # noqa: ASYNC109  # Faust's interface: it is called with one
    ) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message a partition, its value the `Batch`."""
        before = (self._seeks, self.app.consumer_generation_id)
        records, active = await self._wait_next_records(timeout)
        if records is None or self.should_stop:
            return
        if not self.flow_active or before != (self._seeks, self.app.consumer_generation_id):
            await self._start_over()
            return
        for tp, found in records.items():
            if not self.flow_active or before != (self._seeks, self.app.consumer_generation_id):
                return
            if tp not in self._held and (active is None or tp in active or tp in self._buffered_partitions):
                message = self._batch_message(tp, found)
                if message is not None:
                    yield tp, message

    async def _start_over(self) -> None:
        """What was just fetched belongs to another time: go back to what is committed."""
        try:
            await self.perform_seek()
        except Exception as exc:  # any failure here ends in the next rebalance, which seeks again
            logger.warning("can't seek to the committed offsets yet: %r", exc)

    def _batch_message(self, tp: TP, found: list[Any]) -> ConsumerMessage | None:
        position = self.ledger.position(tp)
        records = found if position is None else [record for record in found if record.offset >= position]
        if not records:
            return None
        ticket = self.ledger.hand_out(tp, records[-1].offset + 1, records[0].timestamp)
        return self._message_of(
            tp,
            Batch(
                tp.topic,
                tp.partition,
                records,
                acknowledge=lambda: self._acknowledge(tp, ticket),
                is_current=lambda: self.ledger.is_open(tp, ticket),
                hold=lambda offset: self._hold(tp, ticket, offset),
                release=lambda: self._release(tp),
            ),
        )

    def _message_of(self, tp: TP, batch: Batch) -> ConsumerMessage:
        first = batch.records[0]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            first.offset,
            first.timestamp / 1000,
            None,
            (),
            None,
            batch,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _hold(self, tp: TP, ticket: Ticket, offset: int) -> None:
        if self.ledger.hold(tp, ticket, offset):
            self._held.add(TP(tp.topic, tp.partition))

    async def _release(self, tp: TP) -> None:
        if tp in self._held:
            # The next fetch may come from behind the place: all partitions start over from what is committed.
            await self.commit()
            await self.perform_seek()
            self._held.discard(tp)
            super()._get_active_partitions().add(TP(tp.topic, tp.partition))

    def _get_active_partitions(self) -> set[TP]:
        active: set[TP] = super()._get_active_partitions()
        active -= self._held
        return active

    def _acknowledge(self, tp: TP, ticket: Ticket) -> None:
        self.ledger.acknowledge(tp, ticket)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Faust's fetch loop, without its account of gaps: it counts a batch as done before it is processed."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=1.0):
                    await self.wait_first(self.callback(message), self.suspend_flow.wait())
                await self.sleep(0)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise

    # -- accounting

    def ack(self, message: Any) -> bool:
        """Faust is through with the message; whether the batch is done, `Batch.acknowledge` says."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def perform_seek(self) -> None:
        """Go back to the committed offset of every partition."""
        self._seeks += 1
        offsets = await self.seek_to_committed()
        self._seeks += 1
        for tp, offset in offsets.items():
            self.ledger.reset(TP(tp.topic, tp.partition), offset if offset is not None and offset >= 0 else None)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is done, then forget the partitions."""
        await self.commit()
        self.ledger.forget(revoked)
        self._held -= revoked
        await super().on_partitions_revoked(revoked)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what the ledger says may be; the arguments of Faust's interface have no meaning here."""
        offsets = self.ledger.committable()
        if not offsets or not await self._commit(offsets):
            return False
        for tp, offset in offsets.items():
            self.ledger.committed(tp, offset)
        self.committed_at = time.time()
        return True

    # -- what the outside may know

    def held(self) -> set[TP]:
        """The partitions that an agent has stopped: they are read no further."""
        return set(self._held)

    def note_idle(self) -> None:
        """Somebody has seen that every record there is has been processed."""
        if not self.ledger.committable():
            self.committed_at = time.time()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own watchdog knows nothing of batches; `liveness.Lookout` says more."""


class BatchTransport(driver.Transport):
    """The aiokafka transport with a `BatchConsumer`. `topics` are those that agents read."""

    Consumer = BatchConsumer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.topics: set[str] = set()
        #: Seconds for which the broker lets records gather before it hands them over.
        self.linger_seconds = 0.0


def assigned_partitions(tps: Iterable[TP], topics: Iterable[str]) -> dict[str, set[int]]:
    """The partitions of each of these topics among `tps`."""
    wanted = set(topics)
    found: dict[str, set[int]] = {}
    for tp in tps:
        if tp.topic in wanted:
            found.setdefault(tp.topic, set()).add(tp.partition)
    return found
