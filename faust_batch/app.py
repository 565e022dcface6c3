"""A `faust.App` on the batch transport, with the settings that make a worker quick and safe, and its agents."""

import gc
from pathlib import Path
from typing import Any

import faust
from faust.serializers.schemas import Schema
from yarl import URL

from faust_batch.gather import Gatherer, Handler
from faust_batch.transport import BatchTransport

#: Records a fetch hands over at most, over all partitions.
MAX_RECORDS = 20_000
#: Batches that wait in front of one agent before its partitions are paused.
MAX_WAITING = 4
#: Seconds between commits.
COMMIT_SECONDS = 0.25
#: Seconds without a heartbeat after which the group gives a process's partitions to others.
SESSION_SECONDS = 10.0
#: Seconds between heartbeats: so late at most hears a process that the group is rebalancing.
HEARTBEAT_SECONDS = 1.0
#: Seconds that the broker may take to answer, and the group to rebalance; never less than the session.
REQUEST_SECONDS = 20.0


def quiet_collector() -> None:
    """Let the cycle collector look seldom, and never at what is there now: batches come and go without cycles.

    For a process's start, once its modules are loaded.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


class PassThrough(Schema):
    """The value is a `Batch` already: nothing to decode."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The key as it is."""
        return message.key

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:
        """The value as it is."""
        return message.value


class BatchApp(faust.App):
    """A Faust app that remembers what it crashed of first: what follows from that hides it otherwise."""

    failure: BaseException | None = None

    async def crash(self, reason: BaseException) -> None:
        """Stop the worker, loudly."""
        self.failure = self.failure or reason
        await super().crash(reason)


def create_app(
    name: str,
    bootstrap: str,
    datadir: str,
    *,
    instance: str | None = None,
    session_seconds: float = SESSION_SECONDS,
    linger_seconds: float = 0.0,
) -> BatchApp:
    """A worker of the consumer group `name`. `bootstrap` is "host:port[,host:port]".

    With `instance`, a name that no other process of the group has, it is a static member: when it is back within
    `session_seconds` it has its partitions again, and the others notice nothing.

    With `linger_seconds` the broker lets records gather for so long, unless there are many, before it hands them over:
    in few batches, to a worker that nobody waits for.

    Its web server is off: it would be open to all. Faust's own tables aren't used, so there is no leader and there
    are no standbys. Processing is at least once; the effects of what runs on it must stand a repetition.
    """
    Path(datadir).mkdir(parents=True, exist_ok=True)
    app = BatchApp(
        name,
        broker=[URL(f"kafka://{server}") for server in bootstrap.split(",")],
        datadir=datadir,
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        stream_buffer_maxsize=MAX_WAITING,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        broker_commit_interval=COMMIT_SECONDS,
        broker_max_poll_records=MAX_RECORDS,
        broker_session_timeout=session_seconds,
        broker_heartbeat_interval=HEARTBEAT_SECONDS,
        broker_request_timeout=max(REQUEST_SECONDS, session_seconds),
        broker_rebalance_timeout=REQUEST_SECONDS,
        consumer_group_instance_id=instance,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=1024 * 1024,
        worker_redirect_stdouts=False,
    )
    app.transport = BatchTransport(app.conf.broker_consumer, app)
    app.transport.linger_seconds = linger_seconds
    return app


def _partitions(app: faust.App, topic: str) -> list[Any]:
    """The partitions of a topic that this process has now."""
    return [tp for tp in app.consumer.assignment() if tp.topic == topic]


def agent(app: faust.App, topic: str, handle: Handler, *, lanes: int = 1) -> None:
    """Let `handle` have the batches of `topic`, all that have gathered at once; what it returns from is acknowledged.

    With more `lanes` than one it is called for other partitions while it is at work on some.

    `handle` must deal with its own errors: one that it raises leaves its batches unacknowledged and stops the worker,
    loudly, rather than pass them by. RevokedError leaves them to the partition's next owner.
    """
    channel = app.topic(topic, schema=PassThrough())
    app.transport.topics.add(topic)

    def full() -> None:
        for tp in _partitions(app, topic):
            app.consumer.on_buffer_full(tp)

    def room() -> None:
        for tp in _partitions(app, topic):
            app.consumer.on_buffer_drop(tp)

    async def process(stream: Any) -> None:
        gatherer = Gatherer(handle, app.crash, lanes=lanes, full=full, room=room)
        try:
            async for event in stream.noack().events():
                await gatherer.put(event.value)
                event.ack()
        finally:
            await gatherer.stop()

    process.__name__ = topic
    app.agent(channel, name=f"{app.conf.id}.{topic}")(process)
