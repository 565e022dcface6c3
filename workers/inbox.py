"""The inbox workers: what people's devices are told goes through here, and nothing else does, so that it is quick."""

from datetime import timedelta

from agents.inbox import FillInboxes
from devconnect.adapters.mongo.inbox import MongoInboxStore
from devconnect.adapters.redis.connect import connect_fast
from devconnect.adapters.redis.inbox import RedisInboxFeed
from devconnect.events.topics import INBOX_EVENTS
from workers.runtime import Worker, main

#: Batches at a time: whoever is told of something isn't held up by what is being kept of others.
LANES = 4
#: Seconds that Redis may take to append a chunk.
REDIS_SECONDS = 2.0


def wire(worker: Worker) -> None:
    """One agent."""
    kept = timedelta(days=worker.settings.inbox_days)
    redis = connect_fast(worker.addresses.redis, deadline=REDIS_SECONDS)
    worker.on_stop(redis.aclose)
    worker.add(
        INBOX_EVENTS,
        FillInboxes(RedisInboxFeed(redis, kept), MongoInboxStore(worker.mongo, kept), worker.metrics),
        lanes=LANES,
    )


if __name__ == "__main__":
    main("inbox", 8015, wire)
