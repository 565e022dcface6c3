"""Every topic on one page: its name, what it carries, its key, who writes it, who reads it, how long it is kept."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from devconnect.events import commands, facts
from devconnect.events.codec import Codec
from devconnect.events.inbox import InboxEntry
from devconnect.events.parts import PartCodec

DAY_MS = 24 * 3600 * 1000


class Topic(Struct, frozen=True, kw_only=True):
    """One topic as the project creates it. `partitions` is None for as many as the setting PARTITIONS says.

    Topics whose partitions must line up (a command and its events, a source and its table) leave it None.
    """

    name: str
    key: str
    written_by: str
    read_by: str
    config: Mapping[str, str]
    codec: Codec[Any] | None = None
    partitions: int | None = None

    def encode(self, value: Any) -> bytes:
        """The value as this topic carries it; TypeError for a topic whose records are not encoded here."""
        if self.codec is None:
            raise TypeError(f"{self.name} has no codec")
        return self.codec.encode(value)


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}


#: Kept for ever: the facts are what every projection and table can be built from again.
FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1"}
#: A changelog keeps the newest record of each key.
COMPACTED = {"cleanup.policy": "compact", "segment.ms": str(DAY_MS)}

user_commands: Codec[commands.UserCommand] = Codec(commands.UserCommand)
connection_commands: Codec[commands.ConnectionCommand] = Codec(commands.ConnectionCommand)
message_commands: Codec[commands.MessageCommand] = Codec(commands.MessageCommand)
user_events: Codec[facts.AnyUserEvent] = Codec(facts.AnyUserEvent)
connection_events: Codec[facts.AnyConnectionEvent] = Codec(facts.AnyConnectionEvent)
message_events: Codec[facts.AnyMessageEvent] = Codec(facts.AnyMessageEvent)
notification_events: Codec[facts.NotificationRaised] = Codec(facts.NotificationRaised)
analytics_events: Codec[facts.WindowClosed] = Codec(facts.WindowClosed)
session_ends: Codec[facts.SessionEnded] = Codec(facts.SessionEnded)
mail_requests: Codec[facts.MailRequested] = Codec(facts.MailRequested)
inbox_events: Codec[InboxEntry] = Codec(InboxEntry)
delivery_requests: Codec[facts.DeliveryRequested] = Codec(facts.DeliveryRequested)
analytics_parts = PartCodec()

USER_COMMANDS = Topic(
    name="user-commands",
    key="user id (sign-up: normalised e-mail)",
    written_by="gateway, notifications (for browsers and webhooks that are gone)",
    read_by="commands",
    config=_kept(7),
    codec=user_commands,
)
CONNECTION_COMMANDS = Topic(
    name="connection-commands",
    key="pair id",
    written_by="gateway, commands (for deleted accounts)",
    read_by="commands",
    config=_kept(7),
    codec=connection_commands,
)
MESSAGE_COMMANDS = Topic(
    name="message-commands",
    key="conversation id (a pair id)",
    written_by="gateway",
    read_by="commands",
    config=_kept(7),
    codec=message_commands,
)
USER_EVENTS = Topic(
    name="user-events",
    key="user id, on the partition of the command",
    written_by="commands",
    read_by="projections, notifications, analytics, commands (what becomes of deleted accounts elsewhere)",
    config=FOR_EVER,
    codec=user_events,
)
CONNECTION_EVENTS = Topic(
    name="connection-events",
    key="pair id, on the partition of the command",
    written_by="commands",
    read_by="projections, notifications, analytics",
    config=FOR_EVER,
    codec=connection_events,
)
MESSAGE_EVENTS = Topic(
    name="message-events",
    key="conversation id, on the partition of the command",
    written_by="commands",
    read_by="projections, notifications, analytics",
    config=FOR_EVER,
    codec=message_events,
)
NOTIFICATION_EVENTS = Topic(
    name="notification-events",
    key="recipient's user id",
    written_by="notifications",
    read_by="notifications (delivery), projections (when lists are built anew)",
    config=FOR_EVER,
    codec=notification_events,
)
SESSION_ENDS = Topic(
    name="session-ends",
    key="session id, on the partition of the command",
    written_by="commands",
    read_by="every gateway: all of it, without a group",
    # Longer than any access token is good for.
    config={"cleanup.policy": "delete", "retention.ms": str(3600 * 1000), "segment.ms": str(600 * 1000)},
    codec=session_ends,
)
INBOX_EVENTS = Topic(
    name="inbox-events",
    key="recipient's user id",
    written_by="commands (beside the events), notifications",
    read_by="inbox",
    config=_kept(7),
    codec=inbox_events,
)
MAIL_REQUESTS = Topic(
    name="mail-requests",
    key="recipient's user id",
    written_by="notifications",
    read_by="notifications (mail)",
    config=_kept(7),
    codec=mail_requests,
)
PUSH_REQUESTS = Topic(
    name="push-requests",
    key="recipient's user id",
    written_by="notifications",
    read_by="notifications (push)",
    config=_kept(7),
    codec=delivery_requests,
)
WEBHOOK_REQUESTS = Topic(
    name="webhook-requests",
    key="recipient's user id",
    written_by="notifications",
    read_by="notifications (webhooks)",
    config=_kept(7),
    codec=delivery_requests,
)
ANALYTICS_EVENTS = Topic(
    name="analytics-events",
    key="table and window",
    written_by="analytics",
    read_by="anyone downstream, read_committed: each closed window is there once",
    config=_kept(30),
    codec=analytics_events,
)
ANALYTICS_PARTS = Topic(
    name="analytics-parts",
    key="table, window, source partition and closing",
    written_by="analytics",
    read_by="analytics (one worker: it merges and publishes windows)",
    config=COMPACTED,
    codec=analytics_parts,
    partitions=1,
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    key="as the source",
    written_by="any agent",
    read_by="operators",
    # Room for the largest record that a source takes, and for the headers that say why it is here.
    config={**_kept(90), "max.message.bytes": str(2 * 1024 * 1024)},
)

COMMAND_TO_EVENT = {
    USER_COMMANDS.name: USER_EVENTS,
    CONNECTION_COMMANDS.name: CONNECTION_EVENTS,
    MESSAGE_COMMANDS.name: MESSAGE_EVENTS,
}
EVENT_TOPICS = (USER_EVENTS, CONNECTION_EVENTS, MESSAGE_EVENTS)


def changelog(table: str) -> Topic:
    """The topic that a table is restored from: as many partitions as its sources."""
    return Topic(
        name=f"table-{table}-changelog",
        key="the table's key",
        written_by="analytics",
        read_by="analytics, `python -m devconnect tables`",
        config=COMPACTED,
    )


#: The analytics tables, each with a changelog topic of its own.
TABLES = ("events_by_type", "user_activity", "messages_per_minute", "active_users", "daily_totals")

REGISTRY: tuple[Topic, ...] = (
    USER_COMMANDS,
    CONNECTION_COMMANDS,
    MESSAGE_COMMANDS,
    *EVENT_TOPICS,
    NOTIFICATION_EVENTS,
    SESSION_ENDS,
    INBOX_EVENTS,
    MAIL_REQUESTS,
    PUSH_REQUESTS,
    WEBHOOK_REQUESTS,
    ANALYTICS_EVENTS,
    ANALYTICS_PARTS,
    DEAD_LETTERS,
    *(changelog(table) for table in TABLES),
)


def topic_of(command: commands.AnyCommand) -> Topic:
    """The topic that a command travels on."""
    if isinstance(command, commands.ConnectionCommand):
        return CONNECTION_COMMANDS
    if isinstance(command, commands.MessageCommand):
        return MESSAGE_COMMANDS
    return USER_COMMANDS
