"""The gateway's producer: one acknowledged command at a time, and a quick no when Kafka can't be had."""

import asyncio
import contextlib
import logging
from functools import lru_cache

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from devconnect.adapters.kafka.murmur import murmur2
from devconnect.adapters.kafka.topics import TopicsError, TopicState
from devconnect.deadlines import Within
from devconnect.events.topics import CONNECTION_COMMANDS, MESSAGE_COMMANDS, USER_COMMANDS
from devconnect.ports.gateway import Commands
from devconnect.ports.truth import UnavailableError

TOPICS = (USER_COMMANDS, CONNECTION_COMMANDS, MESSAGE_COMMANDS)
#: Seconds that Kafka has to acknowledge a command.
DEADLINE = 0.85
#: Seconds that a command waits for a connection that was just lost.
GRACE = 0.1
#: Seconds that an attempt to connect may take, and between two attempts.
CONNECT, PAUSE = 3.0, 0.5

log = logging.getLogger(__name__)


@lru_cache(20_000)
def partition_for(key: str, partitions: int) -> int:
    """The partition of a key as Kafka's own clients choose it: murmur2."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


class KafkaCommands(Commands):
    """An idempotent producer that is given up, not waited for, when it doesn't get its acknowledgement.

    aiokafka's own producer keeps what it couldn't send, and sends it when Kafka is back: long after its asker was told
    no. So a producer that missed a deadline is discarded with all that it holds, and another one takes its place.
    """

    def __init__(self, bootstrap: str, *, partitions: int) -> None:
        """`bootstrap` as Kafka clients take it; `partitions` is how many each topic of commands must have."""
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._producer: AIOKafkaProducer | None = None
        self._up, self._lost = asyncio.Event(), asyncio.Event()
        self._in_time = Within(DEADLINE)
        self._trouble: str | None = "not connected yet"
        self._may_be_back = False
        self._keeper: asyncio.Task[None] | None = None
        self._discards: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect, and keep connected from here on: a Kafka that can't be reached now is tried again and again.

        Raises TopicsError when a topic of commands isn't there, or has not as many partitions as it must.
        """
        try:
            await self._connect()
        except (KafkaError, OSError, TimeoutError) as exc:
            self._note(f"not reachable at {self._bootstrap}: {type(exc).__name__}")
            self._lost.set()
        self._keeper = asyncio.create_task(self._keep_connected(), name="kafka-keeper")

    async def stop(self) -> None:
        """Wait shortly for what is on its way, then close."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        producer, self._producer = self._producer, None
        self._up.clear()
        self._trouble = "stopped"
        if producer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(producer.flush(), DEADLINE)
            await _discard(producer)
        if self._discards:
            await asyncio.wait(self._discards)

    def partition_of(self, key: str) -> int:
        return partition_for(key, self._partitions)

    async def send(self, topic: str, key: str, value: bytes) -> int:
        producer = self._producer or await self._connected()
        try:
            with self._in_time():
                on_its_way = await producer.send(topic, value, key=key.encode(), partition=self.partition_of(key))
                return int((await on_its_way).offset)
        except (KafkaError, TimeoutError) as exc:
            self._lose(producer, f"no acknowledgement in time: {type(exc).__name__}")
            raise UnavailableError("Kafka has not acknowledged the command in time") from exc

    async def ready(self) -> str | None:
        """None when Kafka answers and takes commands, else why not."""
        producer = self._producer
        if producer is None:
            return self._trouble
        try:
            async with asyncio.timeout(DEADLINE):
                await self._check(producer)
        except TopicsError as exc:
            return str(exc)
        except (KafkaError, OSError, TimeoutError) as exc:
            return f"not reachable: {type(exc).__name__}"
        return None

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None and self._may_be_back:
            await asyncio.wait([waiter := asyncio.create_task(self._up.wait())], timeout=GRACE)
            waiter.cancel()
        if self._producer is None:
            raise UnavailableError(f"Kafka: {self._trouble}")
        return self._producer

    async def _keep_connected(self) -> None:
        while True:
            await self._lost.wait()
            try:
                await self._connect()
            except (KafkaError, OSError, TimeoutError, TopicsError) as exc:
                reason = str(exc) if isinstance(exc, TopicsError) else f"not reachable: {type(exc).__name__}"
                self._note(reason)
                await asyncio.sleep(PAUSE)

    async def _connect(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id="devconnect-gateway",
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            request_timeout_ms=int(CONNECT * 1000),
            retry_backoff_ms=50,
        )
        try:
            async with asyncio.timeout(CONNECT):
                await producer.start()
                await self._check(producer)
                await producer.client.set_topics([topic.name for topic in TOPICS])
                await producer._txn_manager.wait_for_pid()
        except BaseException:
            await _discard(producer)
            raise
        if self._lost.is_set():
            log.warning("Kafka takes commands again")
        self._lost.clear()
        self._producer, self._trouble = producer, None
        self._up.set()

    async def _check(self, producer: AIOKafkaProducer) -> None:
        """Ask the broker for its topics (which creates none), and insist on those of commands."""
        cluster = await producer.client.fetch_all_metadata()
        states = [
            TopicState(
                topic=topic,
                partitions=len(cluster.partitions_for_topic(topic.name) or ()),
                expected=self._partitions,
            )
            for topic in TOPICS
        ]
        troubles = [state.trouble for state in states if state.trouble]
        if troubles:
            raise TopicsError("; ".join(troubles))

    def _lose(self, producer: AIOKafkaProducer, reason: str) -> None:
        """Give this producer up, unless another command has done so already."""
        if producer is not self._producer:
            return
        log.warning("Kafka: %s; connecting again", reason)
        self._producer, self._trouble, self._may_be_back = None, reason, True
        self._up.clear()
        self._lost.set()
        _silence(producer)
        task = asyncio.create_task(_discard(producer))
        self._discards.add(task)
        task.add_done_callback(self._discards.discard)

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("Kafka: %s", trouble)
        self._trouble, self._may_be_back = trouble, False


def _silence(producer: AIOKafkaProducer) -> None:
    """Nothing more is sent from here on; requests on the wire still end."""
    producer._closed = True
    if producer._sender.sender_task is not None:
        producer._sender.sender_task.cancel()


async def _discard(producer: AIOKafkaProducer) -> None:
    """Close without the flush that `stop` waits for: what wasn't acknowledged must not be sent any more.

    Requests on the wire are given a moment for their answers.
    """
    sender = producer._sender.sender_task
    for _ in range(3):
        _silence(producer)
        if sender is None or sender.done():
            break
        await asyncio.wait([sender], timeout=DEADLINE / 2)
    await producer.client.close()
