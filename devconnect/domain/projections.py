"""From an event to what changes in the read models: every update moves forward only, so a replay changes nothing."""

import msgspec
from msgspec import Struct

from devconnect.domain.connections import state_after
from devconnect.domain.feed import ListUser, TouchUser
from devconnect.domain.model import ConnectionState
from devconnect.events import facts as f


class PutUser(Struct, frozen=True):
    """Set these fields of a user's record (profile fields, tier, role, email, created_at), text or JSON each."""

    user: str
    seq: int
    fields: dict[str, str]


class PutSession(Struct, frozen=True):
    """The session is open until `expires_at`."""

    session: str
    user: str
    expires_at: int
    seq: int


class EndSession(Struct, frozen=True):
    """The session is over, for good."""

    session: str
    user: str
    seq: int


class SetPresence(Struct, frozen=True):
    """A device of the user is here until `until` (0: gone); the user was last seen at `at`."""

    user: str
    session: str
    until: int
    at: int
    seq: int


class PutRelation(Struct, frozen=True):
    """What is between `user` and `other`, as `user` sees it."""

    user: str
    other: str
    state: ConnectionState
    by: str
    at: int
    seq: int


class AppendMessage(Struct, frozen=True):
    """A message and the place of the one before it in its conversation (0: the first)."""

    conversation: str
    seq: int
    previous: int
    message: str
    sender: str
    recipient: str
    text: str
    at: int


class MovePosition(Struct, frozen=True):
    """How far `user` has got in a conversation; 0 leaves a mark where it is."""

    conversation: str
    user: str
    delivered: int
    read: int


class MarkNotificationsRead(Struct, frozen=True):
    """These notifications of the user are read."""

    user: str
    notifications: tuple[str, ...]
    at: int


class AddNotification(Struct, frozen=True):
    """A notification for the list of its recipient."""

    user: str
    notification: str
    kind: str
    about: dict[str, str]
    at: int


Update = (
    PutUser
    | ListUser
    | TouchUser
    | PutSession
    | EndSession
    | SetPresence
    | PutRelation
    | AppendMessage
    | MovePosition
    | MarkNotificationsRead
    | AddNotification
)


def project(event: f.AnyEvent) -> tuple[Update, ...]:
    """The updates that an event leads to."""
    match event:
        case f.UserEvent():
            return _user(event)
        case f.ConnectionEvent():
            return _connection(event)
        case f.MessageSent():
            return (
                AppendMessage(
                    conversation=event.conversation,
                    seq=event.seq,
                    previous=event.previous,
                    message=event.message,
                    sender=event.sender,
                    recipient=event.recipient,
                    text=event.text,
                    at=event.at,
                ),
            )
        case f.MessageDelivered():
            return (MovePosition(event.conversation, event.user, event.up_to, 0),)
        case f.MessageRead():
            return (MovePosition(event.conversation, event.user, event.up_to, event.up_to),)
        case f.NotificationRaised():
            return (AddNotification(event.recipient, event.notification, event.kind, event.about, event.at),)
        case _:
            return ()


def sessions(event: f.AnyEvent) -> tuple[Update, ...]:
    """Only what an event does to sessions: done at once by the command agent, so that a log-out holds at once."""
    match event:
        case f.UserLoggedIn():
            return (PutSession(event.session, event.user, event.expires_at, event.seq),)
        case f.UserLoggedOut():
            return (EndSession(event.session, event.user, event.seq),)
        case _:
            return ()


def _user(event: f.UserEvent) -> tuple[Update, ...]:
    match event:
        case f.UserSignedUp():
            fields = {
                "email": event.email,
                "tier": event.tier,
                "role": event.role,
                "created_at": str(event.at),
                "profile": _json(event.profile),
            }
            return (PutUser(event.user, event.seq, fields), _listed(event))
        case f.ProfileChanged():
            return (PutUser(event.user, event.seq, {"profile": _json(event.profile)}), _listed(event))
        case f.TierChanged():
            return (PutUser(event.user, event.seq, {"tier": event.tier}),)
        case f.RoleChanged():
            return (PutUser(event.user, event.seq, {"role": event.role}),)
        case f.UserLoggedIn():
            return (*sessions(event), TouchUser(event.user, event.at))
        case f.UserLoggedOut():
            gone = SetPresence(event.user, event.session, 0, event.at, event.seq)
            return (*sessions(event), gone)
        case f.UserCameOnline():
            here = SetPresence(event.user, event.session, event.until, event.at, event.seq)
            return (here, TouchUser(event.user, event.at))
        case f.UserWentOffline():
            return (SetPresence(event.user, event.session, 0, event.at, event.seq),)
        case f.NotificationsRead():
            return (MarkNotificationsRead(event.user, event.notifications, event.at),)
        case _:
            return ()


def _listed(event: f.UserSignedUp | f.ProfileChanged) -> ListUser:
    return ListUser(event.user, event.profile.skills, event.at, event.seq)


def _connection(event: f.ConnectionEvent) -> tuple[Update, ...]:
    state = state_after(event)
    return tuple(
        PutRelation(user, other, state, event.by, event.at, event.seq)
        for user, other in ((event.by, event.other), (event.other, event.by))
    )


def _json(value: Struct) -> str:
    return msgspec.json.encode(value).decode()
