"""Whether a Kafka cluster can do its work: metadata, the group coordinator, and the making of topics."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from devconnect.stack.part import NotReadyError

_GROUP = "devconnect-readiness"


def check(servers: str, timeout: float) -> None:
    """Asks all three, within `timeout` seconds.

    Raises:
        NotReadyError: with what the cluster did not do.
    """
    try:
        asyncio.run(asyncio.wait_for(_check(servers, int(timeout * 1000)), timeout))
    except TimeoutError:
        raise NotReadyError(f"no answer from {servers} within {timeout:g} s") from None


async def _check(servers: str, patience_ms: int) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=patience_ms)
    step = f"connect to {servers}"
    try:
        await client.start()
        step = "read the group coordinator's offsets"
        await client.list_consumer_group_offsets(_GROUP)
        step = "ask whether a topic could be made"
        probe = NewTopic(f"{_GROUP}-probe", num_partitions=1, replication_factor=1)
        answer = await client.create_topics([probe], validate_only=True)
        for _, code, *rest in answer.topic_errors:
            if code:
                raise NotReadyError(f"can't {step}: error {code} {rest[0] if rest else ''}".rstrip())
    except (KafkaError, OSError) as error:
        raise NotReadyError(f"can't {step}: {error!r}") from None
    finally:
        await client.close()
