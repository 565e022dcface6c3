"""Every event, in the past tense. Command agents emit them, everybody else only reads them."""

from typing import Annotated

from msgspec import Meta, Struct

from devconnect.events.base import (
    Audience,
    DigestPeriod,
    EndReason,
    Event,
    PushEnd,
    ReportReason,
    RequestChannel,
    Role,
    Tier,
    Urgency,
    WebhookTrouble,
    pair_id,
)


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a person says of themselves."""

    name: str
    headline: str = ""
    about: str = ""
    photo_url: str = ""
    skills: tuple[str, ...] = ()


class Privacy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Who sees what of a person besides themselves; `discoverable` people are in feeds."""

    email: Audience = "nobody"
    about: Audience = "everybody"
    photo_url: Audience = "everybody"
    presence: Audience = "connections"
    discoverable: bool = True


class Switches(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """By which channels somebody is told of one kind of thing."""

    in_app: bool = True
    push: bool = True
    email: bool = False
    webhook: bool = True


class KindSwitches(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The same for each kind that can be switched: what is about the account's safety can't."""

    connection_requested: Switches = Switches(email=True)
    connection_accepted: Switches = Switches()
    message_received: Switches = Switches()
    welcome: Switches = Switches(push=False)
    suggestions: Switches = Switches(push=False, webhook=False)
    digest: Switches = Switches(in_app=False, push=False, email=True, webhook=False)


#: A time of day; of this length, since a line break may stand before a `$`.
CLOCK = "^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"
CLOCK_LENGTH = 5


class QuietHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """From `start` to `end` each day, "HH:MM" of the person's clock; past midnight where `end` is the earlier one."""

    start: Annotated[str, Meta(description="HH:MM", pattern=CLOCK, max_length=CLOCK_LENGTH, examples=["22:30"])]
    end: Annotated[str, Meta(description="HH:MM", pattern=CLOCK, max_length=CLOCK_LENGTH, examples=["07:00"])]


class Digest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """How often somebody is told, in one, of what they haven't read: at this hour of their day, weekly on Mondays."""

    every: DigestPeriod = "off"
    hour: Annotated[int, Meta(description="0 to 23", ge=0, le=23, examples=[8])] = 8


class NotificationPreferences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """How a person wants to be told of things; `time_zone` is an IANA name, by which hours are meant."""

    kinds: KindSwitches = KindSwitches()
    time_zone: Annotated[str, Meta(description="An IANA name.", examples=["Europe/Berlin"])] = "UTC"
    quiet_hours: Annotated[QuietHours | None, Meta(description="When nothing makes a sound; null for never.")] = None
    digest: Digest = Digest()


class UserEvent(Event, frozen=True):
    """Something that happened to one user."""

    user: str

    @property
    def key(self) -> str:
        return self.user


class UserSignedUp(UserEvent, frozen=True, tag="user.signed_up"):
    """An account was opened."""

    email: str
    profile: Profile
    tier: Tier
    role: Role


class UserLoggedIn(UserEvent, frozen=True, tag="user.logged_in"):
    """A session was opened; it ends by itself at `expires_at` unless it is renewed, and at `ends_at` whatever comes.

    `role` is the role that it was opened with, `place` the network that it was opened from.
    """

    session: str
    expires_at: int
    device: str = ""
    place: str = ""
    ends_at: int = 0
    role: Role = "member"


class SessionRenewed(UserEvent, frozen=True, tag="user.session_renewed"):
    """A session goes on until `expires_at`; only the renewal token of this `generation` renews it again."""

    session: str
    expires_at: int
    generation: int
    place: str = ""


class UserLoggedOut(UserEvent, frozen=True, tag="user.logged_out"):
    """A session was ended; its token is worth nothing from here on."""

    session: str
    reason: EndReason = "log_out"


class PasswordChanged(UserEvent, frozen=True, tag="user.password_changed"):
    """The password is another one, known to nobody but its owner; `reset` by a link."""

    reset: bool = False


class PasswordResetRequested(UserEvent, frozen=True, tag="user.password_reset_requested"):
    """A link that sets a new password goes to `email`; it is good once, until `expires_at`."""

    ticket: str
    email: str
    expires_at: int


class EmailVerificationRequested(UserEvent, frozen=True, tag="user.email_verification_requested"):
    """A link that proves that `email` is theirs goes there; it is good once, until `expires_at`."""

    ticket: str
    email: str
    expires_at: int


class EmailVerified(UserEvent, frozen=True, tag="user.email_verified"):
    """The address is theirs."""

    email: str


class EmailChanged(UserEvent, frozen=True, tag="user.email_changed"):
    """The address is now `email`, which is theirs, and no longer `before`."""

    email: str
    before: str


class PrivacyChanged(UserEvent, frozen=True, tag="user.privacy_changed"):
    """Who sees what is now this, whole."""

    privacy: Privacy


class NotificationPreferencesChanged(UserEvent, frozen=True, tag="user.notification_preferences_changed"):
    """How they want to be told of things is now this, whole."""

    preferences: NotificationPreferences


class UserDeleted(UserEvent, frozen=True, tag="user.deleted"):
    """The account is closed and its data gone; `email` may be taken by somebody else."""

    email: str


class ProfileChanged(UserEvent, frozen=True, tag="user.profile_changed"):
    """The profile is now this, whole."""

    profile: Profile


class TierChanged(UserEvent, frozen=True, tag="user.tier_changed"):
    """The membership tier is now this, and was `before`: `by` (a user id, or "system") has set it."""

    tier: Tier
    by: str = "system"
    reason: str = ""
    before: Tier | None = None


class RoleChanged(UserEvent, frozen=True, tag="user.role_changed"):
    """The role is now this, and was `before`: `by` (a user id, or "system") has set it."""

    role: Role
    by: str = "system"
    reason: str = ""
    before: Role | None = None


class UserCameOnline(UserEvent, frozen=True, tag="user.came_online"):
    """One device of the user is here until `until`."""

    session: str
    until: int


class UserWentOffline(UserEvent, frozen=True, tag="user.went_offline"):
    """One device of the user is gone."""

    session: str


class NotificationsRead(UserEvent, frozen=True, tag="user.notifications_read"):
    """These notifications of the user are read."""

    notifications: tuple[str, ...]


class ChannelEvent(UserEvent, frozen=True):
    """Something about where a user is told of things; nobody else sees anything of it."""


class PushSubscribed(ChannelEvent, frozen=True, tag="user.push_subscribed"):
    """A browser takes push messages, in the place of the one that had the same `endpoint`."""

    subscription: str
    endpoint: str
    p256dh: str
    auth: str
    session: str


class PushUnsubscribed(ChannelEvent, frozen=True, tag="user.push_unsubscribed"):
    """A browser takes none any more."""

    subscription: str
    reason: PushEnd


class WebhookAdded(ChannelEvent, frozen=True, tag="user.webhook_added"):
    """A server is called."""

    webhook: str
    url: str


class WebhookRemoved(ChannelEvent, frozen=True, tag="user.webhook_removed"):
    """A server is called no more."""

    webhook: str


class WebhookDisabled(ChannelEvent, frozen=True, tag="user.webhook_disabled"):
    """A server is called no more until it is added again, since it takes nothing."""

    webhook: str
    reason: WebhookTrouble


class NotificationsSeen(UserEvent, frozen=True, tag="user.notifications_seen"):
    """All notifications of the user up to `up_to`, one's id, were before their eyes; not all of them were read."""

    up_to: str


class ConnectionEvent(Event, frozen=True):
    """Something that `by` did to the pair of `by` and `other`."""

    by: str
    other: str

    @property
    def key(self) -> str:
        return pair_id(self.by, self.other)


class ConnectionRequested(ConnectionEvent, frozen=True, tag="connection.requested"):
    """`by` would like to connect with `other`."""


class ConnectionIgnored(ConnectionEvent, frozen=True, tag="connection.ignored"):
    """`by` has passed `other` by; `other` is not told."""


class ConnectionAccepted(ConnectionEvent, frozen=True, tag="connection.accepted"):
    """`by` took up the request of `other`: the two are connected."""


class ConnectionRejected(ConnectionEvent, frozen=True, tag="connection.rejected"):
    """`by` turned down the request of `other`."""


class ConnectionRemoved(ConnectionEvent, frozen=True, tag="connection.removed"):
    """`by` ended the connection with `other`."""


class RequestWithdrawn(ConnectionEvent, frozen=True, tag="connection.withdrawn"):
    """`by` took back the request to `other`."""


class UserBlocked(ConnectionEvent, frozen=True, tag="connection.blocked"):
    """`by` wants nothing of `other`, who is not told. `mutual`: `other` had blocked `by` already."""

    mutual: bool = False


class UserUnblocked(ConnectionEvent, frozen=True, tag="connection.unblocked"):
    """`by` no longer blocks `other`.

    `mutual`: `other` still blocks `by`. `rejected_by` is who had turned the other down before, which holds on; "" where
    nobody had.
    """

    mutual: bool = False
    rejected_by: str = ""


class UserReported(ConnectionEvent, frozen=True, tag="connection.reported"):
    """`by` has told the operators of `other`; `report` is the command's id."""

    report: str
    reason: ReportReason
    note: str = ""


class ReportClosed(ConnectionEvent, frozen=True, tag="connection.report_closed"):
    """The operator `operator` is done with what `by` told of `other`."""

    report: str
    operator: str
    outcome: str


class MessageEvent(Event, frozen=True):
    """Something that happened in one conversation (a pair id)."""

    conversation: str

    @property
    def key(self) -> str:
        return self.conversation


class MessageSent(MessageEvent, frozen=True, tag="message.sent"):
    """A message was said. Its place in the conversation is its `seq`; `previous` is the place before it, or 0."""

    message: str
    sender: str
    recipient: str
    text: str
    previous: int


class MessageEdited(MessageEvent, frozen=True, tag="message.edited"):
    """The message at `of` (a message's seq), whose id is `message`, says `text` now.

    It was said at `said_at`, after the one at `previous`: so that whoever keeps it can do so anew from this alone.
    """

    of: int
    message: str
    sender: str
    text: str
    said_at: int = 0
    previous: int = 0


class MessageDeleted(MessageEvent, frozen=True, tag="message.deleted"):
    """The message at `of` says nothing any more, to either. The rest is as in MessageEdited."""

    of: int
    message: str
    sender: str
    said_at: int = 0
    previous: int = 0


class MessageDelivered(MessageEvent, frozen=True, tag="message.delivered"):
    """A device of `user` holds all that was said to them up to `up_to`, a message's seq."""

    user: str
    up_to: int


class MessageRead(MessageEvent, frozen=True, tag="message.read"):
    """`user` has read all that was said to them up to `up_to`, a message's seq."""

    user: str
    up_to: int


class NotificationRaised(Event, frozen=True, tag="notification.raised"):
    """Somebody is to be told of something.

    `notification` sorts by time and is unique a recipient; it follows from the event that caused it, so a replay
    raises the same one. `about` names what it is about: a user, and for a message its conversation and id; of a digest,
    how many of each kind. It isn't `listed` where its recipient wants none of the kind in their list. `source` names
    the topic and partition of the event behind it (domain.inbox.source_of): of one source `seq` only grows.
    """

    notification: str
    recipient: str
    kind: str
    cause: str
    about: dict[str, str]
    source: str = ""
    listed: bool = True

    @property
    def key(self) -> str:
        return self.recipient


class SessionEnded(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="session.ended", gc=False
):
    """A session is over, told to every gateway at once; whoever holds a token of it is turned away from here on."""

    session: str
    user: str
    at: int
    v: int = 1

    @property
    def key(self) -> str:
        """One a session."""
        return self.session


class MailRequested(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="mail.requested"
):
    """An e-mail is to be sent: `kind` names its template.

    `id` follows from the event that caused it. `ticket` and `expires_at` are those of its link, which is signed where
    the mail is written, so that no link is in Kafka. One that tells of a `notification`, or of `count` of them, has
    the id of its delivery, the notification's kind and `about`, and no link that expires: then `expires_at` is when it
    is no news any more.
    """

    id: str
    kind: str
    user: str
    to: str
    at: int
    ticket: str = ""
    expires_at: int = 0
    about: dict[str, str] = {}
    notification: str = ""
    count: int = 1
    v: int = 1

    @property
    def key(self) -> str:
        """One recipient's mail is sent in order."""
        return self.user


class DeliveryRequested(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="delivery.requested"
):
    """A person is to be told of a notification by a channel, once for each `id` (the delivery's).

    `count` are told of in one, of which `notification`, `kind` and `about` name one. `at` is when it happened. It is
    worth nothing after `expires_at`. `group` is what those are called of which a device shows the last only; "" where
    each stands for itself.
    """

    id: str
    user: str
    channel: RequestChannel
    notification: str
    kind: str
    at: int
    expires_at: int
    about: dict[str, str] = {}
    count: int = 1
    group: str = ""
    urgency: Urgency = "normal"
    v: int = 1

    @property
    def key(self) -> str:
        """One recipient's are told in order."""
        return self.user


class WindowClosed(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="window.closed"
):
    """The totals of one window of an analytics table, published once, when all of it had been counted.

    `window` is its start, `size` its length and `at` the time of publishing, in milliseconds; `values` has a number for
    each column. What came later than the grace period is in the table, and not in here.
    """

    table: str
    window: int
    size: int
    at: int
    values: dict[str, int]
    v: int = 1

    @property
    def key(self) -> str:
        """One a window."""
        return f"{self.table}|{self.window}"


AnyUserEvent = (
    UserSignedUp
    | UserLoggedIn
    | SessionRenewed
    | UserLoggedOut
    | PasswordChanged
    | PasswordResetRequested
    | EmailVerificationRequested
    | EmailVerified
    | EmailChanged
    | ProfileChanged
    | PrivacyChanged
    | NotificationPreferencesChanged
    | TierChanged
    | RoleChanged
    | UserCameOnline
    | UserWentOffline
    | NotificationsRead
    | PushSubscribed
    | PushUnsubscribed
    | WebhookAdded
    | WebhookRemoved
    | WebhookDisabled
    | NotificationsSeen
    | UserDeleted
)
AnyConnectionEvent = (
    ConnectionRequested
    | ConnectionIgnored
    | ConnectionAccepted
    | ConnectionRejected
    | ConnectionRemoved
    | RequestWithdrawn
    | UserBlocked
    | UserUnblocked
    | UserReported
    | ReportClosed
)
AnyMessageEvent = MessageSent | MessageEdited | MessageDeleted | MessageDelivered | MessageRead
AnyEvent = AnyUserEvent | AnyConnectionEvent | AnyMessageEvent | NotificationRaised
