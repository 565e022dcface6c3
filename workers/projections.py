"""The projection workers: they keep what people read in Redis up to date, and build it anew when it was lost."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from aiokafka.errors import KafkaError

from agents.projections import ProjectEvents, RefreshMarks
from agents.rebuild import RebuildProjections
from agents.windows import Sources
from devconnect.events.topics import EVENT_TOPICS, NOTIFICATION_EVENTS
from devconnect.ports.truth import UnavailableError
from faust_batch.changelog import Chunk, read_to_end
from workers.runtime import Worker, applied_up_to, group_of, main
from workers.windows import KafkaProgress


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
    _wire_marks(worker, rebuild)


def _wire_marks(worker: Worker, rebuild: RebuildProjections) -> None:
    """Readers are told how fresh the read models are, also where nothing happens."""
    progress = KafkaProgress(worker.addresses.kafka)
    sources = [
        Sources(
            topic,
            progress,
            worker.clock,
            decided_by=group_of("commands"),
            folded=partial(applied_up_to, worker, topic.name),
        )
        for topic in EVENT_TOPICS
    ]
    assigned: dict[str, set[int]] = {}
    marks = RefreshMarks(
        sources, lambda topic: assigned.get(topic, set()), lambda: rebuild.complete, worker.projections
    )

    async def run() -> None:
        try:
            await marks.run()
        finally:
            await progress.close()

    worker.on_assigned(assigned.update)
    worker.on_start(lambda: worker.background(asyncio.create_task(run(), name="marks")))


if __name__ == "__main__":
    main("projections", 8012, wire)
