"""The state that commands are decided on, and the decision itself: frozen documents, each read by its id.

Every document carries the `seq` that made it; a store writes a document only over an older one. The documents of one
kind are changed by commands of one partition only (sign-up draws a user id in the partition of the e-mail), so that
`seq` is one clock for each of them.
"""

from typing import Any, Literal

from msgspec import Struct

from devconnect.events.base import ReportReason, Role, Tier, WebhookTrouble
from devconnect.events.facts import AnyEvent, NotificationPreferences, Privacy, Profile

Kind = Literal["user", "logins", "channels", "connection", "conversation", "message", "report", "audit"]


class Document(Struct, frozen=True, kw_only=True):
    """A document of the truth: its id and the place of the command that made it so."""

    id: str
    seq: int


class Ticket(Struct, frozen=True, kw_only=True):
    """A link that was sent to `email` and is good once: `id` is that of the command that asked for it."""

    id: str
    email: str
    expires_at: int


class User(Document, frozen=True, kw_only=True):
    """An account. Times are in milliseconds since 1970, here and below.

    `verification` and `reset` are the links that were sent last and not followed yet. Of one that is `deleted` nothing
    is left but its id.
    """

    email: str
    profile: Profile
    tier: Tier
    role: Role
    created_at: int
    updated_at: int
    email_verified: bool = False
    privacy: Privacy = Privacy()
    notification_preferences: NotificationPreferences = NotificationPreferences()
    verification: Ticket | None = None
    reset: Ticket | None = None
    deleted: bool = False


class Login(Struct, frozen=True, kw_only=True):
    """An open session: it ends at `expires_at` unless it is renewed, and at `ends_at` whatever comes.

    Only the renewal token of `generation` renews it. `role` is the role that it was opened with: it never gives more.
    """

    device: str
    place: str
    created_at: int
    used_at: int
    expires_at: int
    ends_at: int
    generation: int = 0
    role: Role = "member"


class Logins(Document, frozen=True, kw_only=True):
    """The open sessions of a user (`id` is theirs) by session id; one that isn't in here is over."""

    sessions: dict[str, Login]


class PushSubscription(Struct, frozen=True, kw_only=True):
    """A browser that takes push messages at `endpoint`, encrypted with its two keys, while its `session` is open."""

    endpoint: str
    p256dh: str
    auth: str
    session: str
    created_at: int


class Webhook(Struct, frozen=True, kw_only=True):
    """A server that is called at `url`, unless it was switched off; its secret follows from its id."""

    url: str
    created_at: int
    disabled_at: int | None = None
    disabled_for: WebhookTrouble | None = None


class Channels(Document, frozen=True, kw_only=True):
    """Where a user (`id` is theirs) is told of things besides their list and by mail; by ids of the subscriptions."""

    push: dict[str, PushSubscription]
    webhooks: dict[str, Webhook]

    def called(self) -> list[str]:
        """The webhooks that aren't switched off."""
        return [name for name, one in self.webhooks.items() if one.disabled_at is None]


#: What is between two people; "removed" is what was taken back or ended, "none" what never was.
ConnectionState = Literal["none", "requested", "ignored", "accepted", "rejected", "removed"]
#: The same as one of the two has it: who has blocked the other is told so, who was blocked is only barred.
RelationState = Literal["none", "requested", "ignored", "accepted", "rejected", "removed", "blocked", "barred"]


class Connection(Document, frozen=True, kw_only=True):
    """What is between two people; `id` is their pair id, `by` who brought this state about, at `at`.

    `blocked_by` holds who of the two blocks the other, and since when; `reports` the id of the open report by who
    made it.
    """

    users: tuple[str, str]
    state: ConnectionState
    by: str
    at: int
    blocked_by: dict[str, int] = {}
    reports: dict[str, str] = {}


class Position(Struct, frozen=True, kw_only=True):
    """How far one person's devices and eyes are: the seq of the last message delivered and read, 0 for none."""

    delivered: int = 0
    read: int = 0


#: Unread messages that are known of each of a conversation's two people.
UNREAD_KEPT = 200


class Conversation(Document, frozen=True, kw_only=True):
    """What two connected people say; `id` is their pair id, `last` the seq of the last message.

    `unread` holds the places of what each has been told and hasn't read, the newest `UNREAD_KEPT` of them.
    """

    users: tuple[str, str]
    last: int
    last_at: int
    count: int
    positions: dict[str, Position]
    unread: dict[str, tuple[int, ...]] = {}


class Message(Document, frozen=True, kw_only=True):
    """One message. `id` is `message_key`, so that a conversation is a range of ids; `message` is the command's id.

    `previous` is the place of the one before it, `edits` the ids of the commands that have edited it. `seq` is its own
    place until it is edited or deleted.
    """

    message: str
    conversation: str
    sender: str
    recipient: str
    text: str
    at: int
    previous: int = 0
    edited_at: int | None = None
    edits: tuple[str, ...] = ()
    deleted: bool = False

    @property
    def place(self) -> int:
        """Where it stands in its conversation."""
        return place_of(self.id)

    @property
    def commands(self) -> tuple[str, ...]:
        """The ids of the commands that have given it a text."""
        return (self.message, *self.edits)


class Report(Document, frozen=True, kw_only=True):
    """What `by` told the operators of `user`; `id` is the command's. Open until an operator says the `outcome`."""

    by: str
    user: str
    reason: ReportReason
    note: str
    at: int
    closed_at: int | None = None
    closed_by: str | None = None
    outcome: str | None = None


class Audit(Document, frozen=True, kw_only=True):
    """A change of somebody's rights: `id` is the event's, `what` is tier or role. Follows from its event alone."""

    user: str
    by: str
    what: Literal["tier", "role"]
    before: str
    after: str
    reason: str
    at: int


AnyDocument = User | Logins | Channels | Connection | Conversation | Message | Report | Audit


class Ref(Struct, frozen=True):
    """Names a document: its kind and its id."""

    kind: Kind
    id: str


def ref_of(document: AnyDocument) -> Ref:
    """The name of a document."""
    return Ref(_KINDS[type(document)], document.id)


_KINDS: dict[type, Kind] = {
    User: "user",
    Logins: "logins",
    Channels: "channels",
    Connection: "connection",
    Conversation: "conversation",
    Message: "message",
    Report: "report",
    Audit: "audit",
}

#: The documents that commands are decided on, by name; those that don't exist are absent.
Snapshot = dict[Ref, AnyDocument]


def message_key(conversation: str, seq: int) -> str:
    """The id of the message at `seq`: ids of one conversation sort as its messages do."""
    return f"{conversation}:{seq:016d}"


def place_of(key: str) -> int:
    """The place that a `message_key` ends in."""
    return int(key.rpartition(":")[2])


class Reservation(Struct, frozen=True):
    """An e-mail address is one person's: who takes it first holds it, and since the command at `seq` for certain."""

    email: str
    user: str
    seq: int


class Secret(Struct, frozen=True):
    """The hash of a user's password, as the command at `seq` has set it; "" opens nothing."""

    user: str
    seq: int
    password_hash: str


class Problem(Struct, frozen=True):
    """Why a command was refused: a stable code, and what to do about it."""

    code: str
    detail: str


class Decision(Struct, frozen=True, kw_only=True):
    """What became of a command: either a result or a problem, and the events that follow.

    A problem has events only where the attempt itself calls for them: a renewal token that is used again ends its
    session. Made once, stored under the command's id before any effect, and carried out from there in each replay.
    `command` is the command's type; `topic`, `partition` and `seq` are its place. `last` is the seq of its last event,
    0 where nothing has happened.
    """

    id: str
    command: str
    topic: str
    partition: int
    seq: int
    actor: str
    fingerprint: str
    at: int
    result: dict[str, Any] | None = None
    problem: Problem | None = None
    events: tuple[AnyEvent, ...] = ()
    last: int = 0


class Place(Struct, frozen=True):
    """Where a command stands: topic, partition and offset."""

    topic: str
    partition: int
    offset: int
