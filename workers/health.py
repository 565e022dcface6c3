"""What a worker tells of itself: whether it lives, whether it is ready, and where its consumer stands."""

from collections.abc import Callable, Hashable
from typing import Any

from devconnect.adapters.prometheus import PrometheusMetrics
from devconnect.ports import metrics as m
from faust_batch.liveness import Lookout
from faust_batch.transport import assigned_partitions

#: Names what is asked about, with None where it is well and the trouble where it isn't.
Checks = dict[str, str | None]


class Health:
    """A worker's own look at itself, from its start on. `limit` is how many seconds a consumer may stand still."""

    def __init__(self, app: Any, bootstrap: str, metrics: PrometheusMetrics, limit: float) -> None:
        self._app = app
        self._metrics = metrics
        self._limit = limit
        self.lookout = Lookout(app, bootstrap, stirs=self._stir)
        self._stirs: list[Callable[[], Hashable]] = []

    def stirs_with(self, call: Callable[[], Hashable]) -> None:
        """The worker is at work, and not stuck, while what this gives changes."""
        self._stirs.append(call)

    def _stir(self) -> Hashable:
        # A store that is down is waited for, and asked again and again: starting anew would change nothing.
        return (self._metrics.total(m.RETRIES), *(call() for call in self._stirs))

    def live(self) -> Checks:
        """A restart would help where one of these has a trouble."""
        return {"consumer": self.lookout.trouble(self._limit)}

    def ready(self) -> Checks:
        """Whether the consumer is in its group, and Kafka there."""
        joined = self._app.tables.recovery.completed.is_set() and not self._app.rebalancing
        return {
            "consumer": self.live()["consumer"] if joined else "joining its group",
            "kafka": f"not reachable: {self.lookout.blind}" if self.lookout.blind else None,
        }

    def refresh(self) -> None:
        """Set the gauges of the consumer."""
        consumer, metrics = self._app.consumer, self._metrics
        topics = self._app.transport.topics
        assigned = assigned_partitions(consumer.assignment(), topics)
        metrics.set(m.LAST_COMMIT, to=consumer.committed_at)
        metrics.set(m.GENERATION, to=self._app.consumer_generation_id or 0)
        metrics.replace(m.CONSUMER_LAG, {(tp.topic, str(tp.partition)): lag for tp, lag in self.lookout.lags().items()})
        metrics.replace(m.OLDEST, {(topic,): oldest for topic, oldest in self.lookout.oldest().items()})
        metrics.replace(m.ASSIGNED, {(topic,): len(assigned.get(topic, ())) for topic in topics})
