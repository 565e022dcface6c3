"""ports.windows on Kafka: totals in transactions, and how far topics and consumer groups are."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IllegalOperation, KafkaError

from devconnect.domain.windows import Publication
from devconnect.events.codec import CodecError
from devconnect.events.parts import AnyPart, Erased
from devconnect.events.topics import ANALYTICS_EVENTS, ANALYTICS_PARTS, analytics_events, analytics_parts
from devconnect.ports.truth import UnavailableError
from faust_batch.changelog import read_to_end

logger = logging.getLogger(__name__)

#: The same for all workers: who takes it up fences off who had it.
TRANSACTIONAL_ID = "devconnect-windows"
#: Milliseconds after which the broker ends a transaction whose owner is gone: readers wait for it as long.
TRANSACTION_MS = 10_000
#: Seconds for a transaction, for the topic to be read, and for an answer of the broker.
DEADLINE = 20.0
ANSWER_SECONDS = 5.0


class KafkaWindowLog:
    """ports.windows.WindowLog with a transactional producer."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> Sequence[AnyPart]:
        """From here on nobody who opened it before can publish; returns all parts that there are."""
        await self.close()
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=TRANSACTIONAL_ID,
            transactional_id=TRANSACTIONAL_ID,
            transaction_timeout_ms=TRANSACTION_MS,
        )
        try:
            async with asyncio.timeout(DEADLINE):
                # Also ends a transaction that was under way: what is read below is all that ever was published.
                await producer.start()
                parts = await _read(self._bootstrap)
        except BaseException as exc:
            await _discard(producer)
            if isinstance(exc, KafkaError | TimeoutError):
                raise UnavailableError(f"windows can't be merged now: {exc!r}") from exc
            raise
        self._producer = producer
        return parts

    async def publish(self, publication: Publication) -> None:
        """All of it or nothing. After an error nothing is known of it: open again, and look."""
        producer = self._producer
        if producer is None:
            raise UnavailableError("the windows' log isn't open")
        try:
            async with asyncio.timeout(DEADLINE):
                await producer.begin_transaction()
                await _send(producer, publication)
                await producer.commit_transaction()
        except BaseException as exc:
            await self.close()
            # Of what follows the record with which the producer has learned that it was overtaken, it says no more than
            # that there is no transaction.
            if isinstance(exc, KafkaError | IllegalOperation | TimeoutError):
                raise UnavailableError(f"windows can't be published now: {exc!r}") from exc
            raise

    async def close(self) -> None:
        """Let go of it; a transaction that is under way is ended by who opens it next, or by the broker."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _discard(producer)


async def _send(producer: AIOKafkaProducer, publication: Publication) -> None:
    records: list[tuple[str, str, bytes | None]] = [
        (ANALYTICS_EVENTS.name, event.key, analytics_events.encode(event)) for event in publication.events
    ]
    records += [(ANALYTICS_PARTS.name, part.key, analytics_parts.encode(part)) for part in publication.published]
    records += [(ANALYTICS_PARTS.name, key, None) for key in publication.erased]
    sent = []
    for topic, key, value in records:
        partition = 0 if topic == ANALYTICS_PARTS.name else None
        sent.append(await producer.send(topic, key=key.encode(), value=value, partition=partition))
        sent[-1].add_done_callback(_taken)
    await asyncio.gather(*sent)


def _taken(future: asyncio.Future[Any]) -> None:
    """What it has failed with is known by now."""
    if future.done() and not future.cancelled():
        future.exception()


async def _discard(producer: AIOKafkaProducer) -> None:
    """Stop it without what hasn't been sent: nobody waits for that any more."""
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()
        await asyncio.wait([sender], timeout=ANSWER_SECONDS)
        _taken(sender)
    producer._closed = True
    await producer.client.close()


async def _read(bootstrap: str) -> list[AnyPart]:
    """The newest part of each key, to the end that the topic has now."""
    found: dict[bytes, AnyPart] = {}
    async for chunk in read_to_end(bootstrap, ANALYTICS_PARTS.name, {0: 0}, committed=True):
        for record in chunk.records:
            _take(found, record.key or b"", record.value)
    return list(found.values())


def _take(found: dict[bytes, AnyPart], key: bytes, value: bytes | None) -> None:
    try:
        part = analytics_parts.decode(value)
    except CodecError as exc:
        # It is among the dead letters too: the agent that reads the topic has put it there.
        logger.warning("%s in %s is no part of a window: %s", key, ANALYTICS_PARTS.name, exc)
        return
    if isinstance(part, Erased):
        found.pop(key, None)
    else:
        found[key] = part


class KafkaProgress:
    """ports.windows.Progress, on a connection of its own that is made when it is first needed."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._making = asyncio.Lock()

    async def ends(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """The offset after the last record of each partition."""
        tps = [TopicPartition(topic, partition) for partition in partitions]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                consumer, _ = await self._connected()
                return {tp.partition: offset for tp, offset in (await consumer.end_offsets(tps)).items()}
        except (KafkaError, TimeoutError) as exc:
            await self.close()
            raise UnavailableError(f"the end of {topic} can't be learned: {exc!r}") from exc

    async def committed(self, group: str, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        """The offset up to which a consumer group is done with each partition; 0 where it has never been."""
        tps = [TopicPartition(topic, partition) for partition in partitions]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                _, admin = await self._connected()
                found = await admin.list_consumer_group_offsets(group, partitions=tps)
        except (KafkaError, TimeoutError) as exc:
            await self.close()
            raise UnavailableError(f"the offsets of {group} can't be learned: {exc!r}") from exc
        return {tp.partition: max(0, found[tp].offset) if tp in found else 0 for tp in tps}

    async def close(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            await consumer.stop()
        if admin is not None:
            await admin.close()

    async def _connected(self) -> tuple[AIOKafkaConsumer, AIOKafkaAdminClient]:
        async with self._making:
            if self._consumer is None:
                consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
                await _started(consumer, consumer.stop)
                self._consumer = consumer
            if self._admin is None:
                admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
                await _started(admin, admin.close)
                self._admin = admin
            return self._consumer, self._admin


async def _started(client: AIOKafkaConsumer | AIOKafkaAdminClient, stop: Callable[[], Awaitable[None]]) -> None:
    try:
        await client.start()
    except BaseException:
        await stop()
        raise
