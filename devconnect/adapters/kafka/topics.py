"""Topics are made here, with the partitions and settings of the registry, and never by accident."""

import asyncio
import time

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from msgspec import Struct

from devconnect.events.topics import REGISTRY, Topic
from devconnect.settings import Settings

#: Copies of each partition, where there are as many brokers.
REPLICAS = 3
#: Seconds that a topic may take to show after it was created.
VISIBLE_SECONDS = 10.0


class TopicsError(Exception):
    """The topics aren't as they must be; the message says which, and what to do."""


class TopicState(Struct, frozen=True, kw_only=True):
    """A topic as the broker has it: `partitions` is 0 when it isn't there."""

    topic: Topic
    partitions: int
    expected: int

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, or None."""
        if self.partitions == 0:
            return f"{self.topic.name} is missing: run `python -m devconnect topics create`"
        if self.partitions != self.expected:
            return (
                f"{self.topic.name} has {self.partitions} partitions where {self.expected} are expected: set "
                f"PARTITIONS={self.partitions}, or start with an empty Kafka"
            )
        return None


async def ensure_topics(bootstrap: str, settings: Settings) -> list[str]:
    """Create the registry's topics that are missing; returns their names. Several may call this at once.

    Raises TopicsError when Kafka can't be reached or an existing topic has another number of partitions.
    """
    admin = await _connected(bootstrap)
    try:
        states = await _states(admin, settings)
        missing = [state for state in states if state.partitions == 0]
        if missing:
            await _create(admin, missing)
            states = await _once_visible(admin, settings)
        _insist(states)
        return [state.topic.name for state in missing]
    finally:
        await admin.close()


async def describe_topics(bootstrap: str, settings: Settings) -> list[TopicState]:
    """The registry's topics as the broker has them."""
    admin = await _connected(bootstrap)
    try:
        return await _states(admin, settings)
    finally:
        await admin.close()


async def check_topics(bootstrap: str, settings: Settings) -> None:
    """Raise TopicsError unless every topic of the registry is as it must be."""
    _insist(await describe_topics(bootstrap, settings))


def _insist(states: list[TopicState]) -> None:
    troubles = [state.trouble for state in states if state.trouble]
    if troubles:
        more = f" (and {len(troubles) - 1} more like it)" if len(troubles) > 1 else ""
        raise TopicsError(troubles[0] + more)


async def _once_visible(admin: AIOKafkaAdminClient, settings: Settings) -> list[TopicState]:
    """The states as soon as every topic shows: a broker learns of what the controller has created a little later."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while True:
        states = await _states(admin, settings)
        if all(state.partitions for state in states) or time.monotonic() > deadline:
            return states
        await asyncio.sleep(0.05)


async def _connected(bootstrap: str) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    try:
        await admin.start()
    except KafkaError as exc:
        await admin.close()
        raise TopicsError(f"Kafka at {bootstrap} can't be reached ({exc}): is it running?") from exc
    return admin


async def _states(admin: AIOKafkaAdminClient, settings: Settings) -> list[TopicState]:
    found = {item["topic"]: len(item["partitions"]) for item in await admin.describe_topics()}
    return [
        TopicState(topic=topic, partitions=found.get(topic.name, 0), expected=topic.partitions or settings.partitions)
        for topic in REGISTRY
    ]


async def _create(admin: AIOKafkaAdminClient, missing: list[TopicState]) -> None:
    brokers = len((await admin.describe_cluster())["brokers"])
    answer = await admin.create_topics(
        [
            NewTopic(
                name=state.topic.name,
                num_partitions=state.expected,
                replication_factor=min(REPLICAS, brokers),
                topic_configs=dict(state.topic.config),
            )
            for state in missing
        ]
    )
    for name, code, *reason in answer.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise TopicsError(f"Kafka didn't create {name}: {for_code(code).__name__} {reason}")
