"""Writing Kafka batches: many records a request, acknowledged by all replicas before the call returns."""

import asyncio
import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

logger = logging.getLogger(__name__)

#: Key, value and headers of a record to write.
Item = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]

#: Bytes of records a Kafka batch.
BATCH_BYTES = 256 * 1024
#: Seconds between tries while the broker can't be reached.
RETRY_SECONDS = 0.5


class BatchProducer:
    """An idempotent producer that appends lists of records to a partition, in order.

    `append` is at-least-once: it returns only when the broker has all records, and repeats the whole list when it
    can't know, so the readers must take a record twice without harm.
    """

    def __init__(self, bootstrap: str, client_id: str, *, request_timeout_ms: int = 10_000) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._timeout_ms = request_timeout_ms
        self._producer: AIOKafkaProducer | None = None
        self._renewal = asyncio.Lock()

    async def start(self) -> None:
        """Connect; raises KafkaError when the broker can't be reached."""
        self._producer = await self._connected()

    async def stop(self) -> None:
        """Flush and disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def append(self, topic: str, partition: int, items: Sequence[Item]) -> int:
        """Append the records; returns the offset of the last. Tries until it is done or the task is cancelled."""
        if not items:
            raise ValueError("nothing to append")
        while True:
            producer = self._producer
            if producer is None:
                raise RuntimeError("the producer isn't started")
            try:
                return await self._append(producer, topic, partition, items)
            except KafkaError as exc:
                logger.warning("%s-%s: %d records not acknowledged, repeating: %r", topic, partition, len(items), exc)
                await asyncio.sleep(RETRY_SECONDS)
                if not getattr(exc, "retriable", False):
                    await self._renew(producer)

    async def _append(self, producer: AIOKafkaProducer, topic: str, partition: int, items: Sequence[Item]) -> int:
        waiting = []
        builder = producer.create_batch()
        for key, value, headers in items:
            if builder.append(key=key, value=value, timestamp=None, headers=headers) is None:
                waiting.append(await producer.send_batch(builder, topic, partition=partition))
                builder = producer.create_batch()
                builder.append(key=key, value=value, timestamp=None, headers=headers)
        waiting.append(await producer.send_batch(builder, topic, partition=partition))
        results = await asyncio.gather(*waiting)
        last: int = results[-1].offset + builder.record_count() - 1
        return last

    async def _renew(self, failed: AIOKafkaProducer) -> None:
        """A producer after a fatal error is of no use: take a new one, unless somebody has."""
        async with self._renewal:
            current = self._producer
            if current is None or current is not failed:
                return
            try:
                self._producer = await self._connected()
            except KafkaError as exc:
                logger.warning("the broker can't be reached: %r", exc)
                return
            await current.stop()

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=self._timeout_ms,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer
