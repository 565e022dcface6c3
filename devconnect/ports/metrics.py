"""Every metric of the project on one page, and the port that records them."""

from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

from msgspec import Struct

#: Seconds, from a tenth of a millisecond to ten seconds.
LATENCY = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: Records a batch.
BATCH = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0)


class Metric(Struct, frozen=True, kw_only=True):
    """A metric's name without the prefix `devconnect_`, its kind, its help text and the names of its labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# The gateway.
HTTP_REQUESTS = Metric(
    name="http_requests", kind="counter", help="HTTP requests answered.", labels=("method", "route", "status")
)
HTTP_SECONDS = Metric(
    name="http_request_seconds",
    kind="histogram",
    help="Seconds from request to answer.",
    labels=("method", "route"),
    buckets=LATENCY,
)
COMMANDS_SENT = Metric(
    name="commands_sent", kind="counter", help="Commands that Kafka has acknowledged.", labels=("type",)
)
COMMAND_SECONDS = Metric(
    name="command_seconds",
    kind="histogram",
    help="Seconds from a command's acceptance to its result, as the waiting gateway sees it.",
    labels=("type",),
    buckets=LATENCY,
)
COMMANDS_PENDING = Metric(
    name="commands_answered_pending", kind="counter", help="Commands answered 202: no result in time.", labels=("type",)
)
READS_FALLEN_BACK = Metric(
    name="reads_fallen_back", kind="counter", help="Reads that the database answered in place of Redis."
)
RATE_LIMITED = Metric(
    name="rate_limited", kind="counter", help="Requests refused since a quota was used up.", labels=("kind",)
)
ATTEMPTS_REFUSED = Metric(
    name="attempts_refused",
    kind="counter",
    help="Log-ins, sign-ups and the like refused since too many had failed.",
    labels=("action",),
)
LIMITS_LOCAL = Metric(
    name="limits_fallen_back", kind="counter", help="Times that limits were counted by this process in place of Redis."
)
NEAR_HITS = Metric(name="near_cache_hits", kind="counter", help="Reads answered from what the gateway remembers.")
NEAR_MISSES = Metric(
    name="near_cache_misses", kind="counter", help="Reads of which not all was remembered, or known to be current."
)
NEAR_INVALIDATIONS = Metric(
    name="near_cache_invalidations", kind="counter", help="Keys that Redis has said have changed."
)
NEAR_LOSSES = Metric(
    name="near_cache_losses", kind="counter", help="Times that all was forgotten, since the connection was lost."
)

ENDS_AGE = Metric(
    name="session_ends_age_seconds",
    kind="gauge",
    help="Seconds since all ends of sessions that Kafka had were known to this gateway.",
)
SOCKET_USERS = Metric(name="socket_users", kind="gauge", help="People who have sockets on this gateway.")
LEASE_LAPSES = Metric(
    name="gateway_lease_lapses",
    kind="counter",
    help="Times that all who have sockets here were put into Redis again: lapsed, restarted or differs.",
    labels=("reason",),
)
SWEEPS = Metric(name="gateways_swept", kind="counter", help="Gateways that have died whose people this one took away.")
SWEPT_USERS = Metric(
    name="gateway_users_swept", kind="counter", help="People this one took away, online by another gateway or not."
)
WATCH_LOOKS = Metric(
    name="presence_looks", kind="counter", help="Looks at people who are watched, since something of them may differ."
)
WATCH_TOLD = Metric(name="presence_told", kind="counter", help="Changes of people that were told to those who watch.")

SOCKETS_OPENED = Metric(name="sockets_opened", kind="counter", help="Sockets that were let in.")
SOCKETS_CLOSED = Metric(
    name="sockets_closed",
    kind="counter",
    help="Sockets that were let in and are gone, by why: client, lost, slow, ping_timeout and others.",
    labels=("reason",),
)
SOCKETS_REFUSED = Metric(name="sockets_refused", kind="counter", help="Sockets that were not let in.", labels=("code",))

# The fleet.
DELIVERIES = Metric(
    name="deliveries_decided",
    kind="counter",
    help="Notifications decided for a channel, by the rule that did.",
    labels=("channel", "rule"),
)
RECORDS = Metric(name="records_processed", kind="counter", help="Records an agent is done with.", labels=("agent",))
BATCH_RECORDS = Metric(
    name="batch_records", kind="histogram", help="Records a batch.", labels=("agent",), buckets=BATCH
)
BATCH_SECONDS = Metric(
    name="batch_seconds",
    kind="histogram",
    help="Seconds an agent took for a batch.",
    labels=("agent",),
    buckets=LATENCY,
)
RETRIES = Metric(
    name="batch_retries", kind="counter", help="Times a batch waited for a store that was down.", labels=("agent",)
)
DEAD_LETTERS = Metric(
    name="dead_letters", kind="counter", help="Records buried in dead-letters.", labels=("agent", "topic")
)
STOPPED = Metric(
    name="partition_stopped",
    kind="gauge",
    help="1 while an agent has stopped a partition since too much of it is bad, else 0.",
    labels=("agent", "topic", "partition"),
)
DECISIONS = Metric(name="decisions", kind="counter", help="Commands decided.", labels=("type", "outcome"))
INBOX_ENTRIES = Metric(name="inbox_entries", kind="counter", help="Entries put into people's inboxes.")
INBOX_CAUGHT_UP = Metric(
    name="inbox_caught_up",
    kind="counter",
    help="Times that sockets were told what had not been heard at once, read from the stores.",
)
MAILS = Metric(
    name="mails",
    kind="counter",
    help="Mails asked for, by what became of them: sent, too_old, too_many, muted or nobody.",
    labels=("kind", "outcome"),
)
DELIVERIES = Metric(
    name="deliveries",
    kind="counter",
    help="Tries to send a push message or to call a webhook, by what became of them: sent, put_off, shortened, dropped "
    "(nobody there any more) or failed (given up).",
    labels=("channel", "outcome"),
)
EVENT_AGE = Metric(
    name="event_age_seconds",
    kind="histogram",
    help="Seconds from a command's acceptance to its event applied here.",
    labels=("agent",),
    buckets=LATENCY,
)
LAST_COMMIT = Metric(
    name="last_commit_timestamp_seconds",
    kind="gauge",
    help="When offsets were last committed, or it was last seen that no record is left, seconds since 1970.",
)
CONSUMER_LAG = Metric(
    name="consumer_lag_records",
    kind="gauge",
    help="Records not yet processed, up to the end of the partition as another client sees it.",
    labels=("topic", "partition"),
)
LIVE = Metric(name="live", kind="gauge", help="1 while /health/live is well, else 0.")
READY = Metric(name="ready", kind="gauge", help="1 while /health/ready is well, else 0.")
OLDEST = Metric(
    name="oldest_unprocessed_timestamp_seconds",
    kind="gauge",
    help="When the oldest record that isn't processed was written, seconds since 1970; absent when all are.",
    labels=("topic",),
)
ASSIGNED = Metric(name="assigned_partitions", kind="gauge", help="Partitions that this worker has.", labels=("topic",))
GENERATION = Metric(name="group_generation", kind="gauge", help="The generation of the consumer group.")
REBALANCES = Metric(name="rebalances", kind="counter", help="Times that partitions were assigned to this worker.")
TABLE_ROWS = Metric(name="table_rows", kind="gauge", help="Rows of a table held by this worker.", labels=("table",))
RECOVERED = Metric(
    name="table_records_recovered", kind="counter", help="Changelog records read to restore a table.", labels=("table",)
)

# Windows.
WINDOWS_CLOSED = Metric(
    name="windows_closed", kind="counter", help="Windows closed, each for a source partition.", labels=("table",)
)
WINDOWS_PUBLISHED = Metric(
    name="windows_published", kind="counter", help="Windows published to analytics-events.", labels=("table",)
)
PUBLISHED_UNTIL = Metric(
    name="windows_published_until_timestamp_seconds",
    kind="gauge",
    help="All windows up to here are published: seconds since 1970, as the worker that merges windows knows it.",
    labels=("table",),
)
LATE_EVENTS = Metric(
    name="window_late_events",
    kind="counter",
    help="Events that came after their window had been closed: counted in the table, not in what was published.",
    labels=("table",),
)
EXPIRED_EVENTS = Metric(
    name="window_expired_events",
    kind="counter",
    help="Events that came after the table had let go of their window: not counted.",
    labels=("table",),
)
EXPIRED_ROWS = Metric(
    name="window_rows_expired", kind="counter", help="Rows of windows that a table has let go of.", labels=("table",)
)

RESTORED = Metric(
    name="table_restored_ratio",
    kind="gauge",
    help="How much of a table's changelog is read, 0 to 1; agents wait for 1.",
    labels=("table",),
)

ALL: tuple[Metric, ...] = (
    HTTP_REQUESTS,
    HTTP_SECONDS,
    COMMANDS_SENT,
    COMMAND_SECONDS,
    COMMANDS_PENDING,
    READS_FALLEN_BACK,
    RATE_LIMITED,
    ATTEMPTS_REFUSED,
    LIMITS_LOCAL,
    NEAR_HITS,
    NEAR_MISSES,
    NEAR_INVALIDATIONS,
    NEAR_LOSSES,
    ENDS_AGE,
    SOCKETS_OPENED,
    SOCKETS_CLOSED,
    SOCKETS_REFUSED,
    SOCKET_USERS,
    LEASE_LAPSES,
    SWEEPS,
    SWEPT_USERS,
    WATCH_LOOKS,
    WATCH_TOLD,
    RECORDS,
    BATCH_RECORDS,
    BATCH_SECONDS,
    RETRIES,
    DEAD_LETTERS,
    STOPPED,
    DECISIONS,
    INBOX_ENTRIES,
    INBOX_CAUGHT_UP,
    MAILS,
    DELIVERIES,
    EVENT_AGE,
    LAST_COMMIT,
    CONSUMER_LAG,
    LIVE,
    READY,
    OLDEST,
    ASSIGNED,
    GENERATION,
    REBALANCES,
    TABLE_ROWS,
    RECOVERED,
    RESTORED,
    WINDOWS_CLOSED,
    WINDOWS_PUBLISHED,
    PUBLISHED_UNTIL,
    LATE_EVENTS,
    EXPIRED_EVENTS,
    EXPIRED_ROWS,
)


class Metrics(Protocol):
    """Records metrics. `labels` are the values of the metric's labels, in order."""

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add to a counter."""

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Set a gauge."""

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        """Add an observation to a histogram."""

    def counter(self, metric: Metric, *labels: str) -> Callable[[], None]:
        """What adds one to a counter, for paths that are taken very often: keep it. For one thread, always the same."""
        return partial(self.count, metric, *labels)

    def histogram(self, metric: Metric, *labels: str) -> Callable[[float], None]:
        """What adds an observation to a histogram, in the same way."""
        return lambda value: self.observe(metric, *labels, value=value)


class NoMetrics(Metrics):
    """Records nothing: for code that runs where nobody scrapes."""

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Nothing."""

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Nothing."""

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        """Nothing."""
