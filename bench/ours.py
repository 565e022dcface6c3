"""Our own entrants of `bench fleet`: the table of the peers' state, and the real workers."""

from redis import Redis

from bench import changelogs
from bench.contenders.stateful import SeenCodec
from bench.contest import Contender, Ground
from bench.recording import Expected
from bench.task import Task
from devconnect.adapters.redis import history, keys
from devconnect.adapters.redis.connect import connect
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.cli.tables import read_table
from devconnect.domain import analytics


class Stateful(Contender):
    """Ours with the per-user state."""

    async def prepare(self, ground: Ground, task: Task) -> None:
        await changelogs.create(ground.addresses.kafka, task.changelog, ground.partitions)

    async def check(self, ground: Ground, task: Task, expected: Expected) -> int:
        return await changelogs.check(ground.addresses.kafka, task.changelog, ground.partitions, read_seen, expected)


class Analytics(Contender):
    """The analytics workers as they are: all tables with their changelogs, and the views in Redis."""

    async def prepare(self, ground: Ground, task: Task) -> None:
        await changelogs.empty(ground.addresses.kafka, ground.settings)
        with Redis.from_url(ground.addresses.redis) as client:
            client.flushall()

    async def check(self, ground: Ground, task: Task, expected: Expected) -> int:
        rows = await read_table(ground.addresses.kafka, ground.partitions, analytics.USER_ACTIVITY)
        sent = {str(row["user"]): row["messages_sent"] for row in rows if row["messages_sent"]}
        changelogs.differ(sent, expected.sent, "messages_sent of")
        types = await read_table(ground.addresses.kafka, ground.partitions, analytics.EVENTS_BY_TYPE)
        counted = {str(row["type"]): row["count"] for row in types}
        changelogs.differ(counted, {"message.sent": expected.events}, "the count of")
        return await changelogs.records(ground.addresses.kafka, ground.partitions)


class Projections(Contender):
    """The projection workers as they are: the tail of each conversation in Redis."""

    async def prepare(self, ground: Ground, task: Task) -> None:
        client = connect(ground.addresses.redis)
        try:
            await client.flushall()
            read_models = RedisProjections(client)
            await read_models.complete()
            await read_models.declare_complete()  # else the worker would build them anew, beside its work
        finally:
            await client.aclose()

    async def check(self, ground: Ground, task: Task, expected: Expected) -> int:
        found: dict[str, str] = {}
        with Redis.from_url(ground.addresses.redis) as client:
            pipe = client.pipeline(transaction=False)
            for conversation in expected.tails:
                pipe.zrange(keys.messages(conversation), -1, -1)
            for conversation, tail in zip(expected.tails, pipe.execute(), strict=True):
                if tail:
                    found[conversation] = history.decode(tail[0]).id
        changelogs.differ(found, expected.tails, "the last message of")
        return 0


def read_seen(key: bytes, value: bytes) -> tuple[str, int, int]:
    """A row of `bench.contenders.stateful`."""
    events, last_at, _ = SeenCodec().decode(value)
    return key.decode(), events, last_at
