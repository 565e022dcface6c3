"""The projection workers: they keep what people read in Redis up to date, and build it anew when it was lost."""

import asyncio
from collections.abc import AsyncIterator

from aiokafka.errors import KafkaError

from agents.projections import ProjectEvents
from agents.rebuild import RebuildProjections
from devconnect.events.topics import EVENT_TOPICS, NOTIFICATION_EVENTS
from devconnect.ports.truth import UnavailableError
from faust_batch.changelog import Chunk, read_to_end
from workers.runtime import Worker, main


def wire(worker: Worker) -> None:
    """One agent an events topic, and the look at whether all is there."""
    for topic in EVENT_TOPICS:
        worker.add(topic, ProjectEvents(topic, worker.projections))

    async def read(topic: str) -> AsyncIterator[Chunk]:
        begin = dict.fromkeys(range(worker.settings.partitions), 0)
        try:
            async for chunk in read_to_end(worker.addresses.kafka, topic, begin):
                yield chunk
        except KafkaError as exc:
            raise UnavailableError(f"{topic} can't be read: {exc!r}") from exc

    rebuild = RebuildProjections((*EVENT_TOPICS, NOTIFICATION_EVENTS), read, worker.projections)
    worker.on_start(lambda: worker.background(asyncio.create_task(rebuild.run(), name="rebuild")))


if __name__ == "__main__":
    main("projections", 8012, wire)
