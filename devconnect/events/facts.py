"""Every event, in the past tense. Command agents emit them, everybody else only reads them."""

from msgspec import Struct

from devconnect.events.base import Event, Role, Tier, pair_id


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a person says of themselves."""

    name: str
    headline: str = ""
    about: str = ""
    photo_url: str = ""
    skills: tuple[str, ...] = ()


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
    """A session was opened; it ends by itself at `expires_at`."""

    session: str
    expires_at: int
    device: str = ""


class UserLoggedOut(UserEvent, frozen=True, tag="user.logged_out"):
    """A session was ended; its token is worth nothing from here on."""

    session: str


class ProfileChanged(UserEvent, frozen=True, tag="user.profile_changed"):
    """The profile is now this, whole."""

    profile: Profile


class TierChanged(UserEvent, frozen=True, tag="user.tier_changed"):
    """The membership tier is now this."""

    tier: Tier


class RoleChanged(UserEvent, frozen=True, tag="user.role_changed"):
    """The role is now this."""

    role: Role


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
    raises the same one. `about` names what it is about: a user, and for a message its conversation and id.
    """

    notification: str
    recipient: str
    kind: str
    cause: str
    about: dict[str, str]

    @property
    def key(self) -> str:
        return self.recipient


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
    | UserLoggedOut
    | ProfileChanged
    | TierChanged
    | RoleChanged
    | UserCameOnline
    | UserWentOffline
    | NotificationsRead
)
AnyConnectionEvent = (
    ConnectionRequested | ConnectionIgnored | ConnectionAccepted | ConnectionRejected | ConnectionRemoved
)
AnyMessageEvent = MessageSent | MessageDelivered | MessageRead
AnyEvent = AnyUserEvent | AnyConnectionEvent | AnyMessageEvent | NotificationRaised
