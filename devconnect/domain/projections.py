"""From an event to what changes in the read models: every update moves forward only, so a replay changes nothing."""

import msgspec
from msgspec import Struct

from devconnect.domain import account_fields
from devconnect.domain.connections import state_after
from devconnect.domain.feed import HideUser, ListUser, TouchUser, UnlistUser
from devconnect.domain.model import RelationState
from devconnect.events import facts as f
from devconnect.events.base import Audience, Role, other_of, pair_of


class PutUser(Struct, frozen=True):
    """Set these fields of a user's record (profile, privacy, tier, role, email and what is known of it, times), text or
    JSON each; none where only the account's seq has moved."""

    user: str
    seq: int
    fields: dict[str, str]


class DelUser(Struct, frozen=True):
    """The account is closed: these fields are what is left of it. Its presence and notifications go, for good."""

    user: str
    seq: int
    fields: dict[str, str]


class PutSession(Struct, frozen=True):
    """The session is open until `expires_at` unless it is renewed, and until `ends_at` at most; it gives `role`."""

    session: str
    user: str
    expires_at: int
    ends_at: int
    role: Role
    seq: int


class MoveSession(Struct, frozen=True):
    """The session, wherever it is open, goes on until `expires_at`."""

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


class SetAudience(Struct, frozen=True):
    """Who sees the user's presence."""

    user: str
    audience: Audience
    seq: int


class PutRelation(Struct, frozen=True):
    """What is between `user` and `other`, as `user` sees it."""

    user: str
    other: str
    state: RelationState
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
    edited_at: int | None = None
    deleted: bool = False


class ReplaceMessage(Struct, frozen=True):
    """What a message is since the change at `seq`; nothing where it isn't held any more."""

    message: AppendMessage
    seq: int


class PutUnread(Struct, frozen=True):
    """The message at `place` is one that `user` hasn't read; `gone`, once it was deleted."""

    conversation: str
    user: str
    place: int
    gone: bool = False


class PutTalk(Struct, frozen=True):
    """The last that `user` and `peer` have said to each other was said at `at`."""

    user: str
    peer: str
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


class MarkNotificationsSeen(Struct, frozen=True):
    """All notifications of the user up to this one were before their eyes."""

    user: str
    up_to: str


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
    | HideUser
    | UnlistUser
    | DelUser
    | PutSession
    | MoveSession
    | EndSession
    | SetPresence
    | SetAudience
    | PutRelation
    | AppendMessage
    | ReplaceMessage
    | PutUnread
    | PutTalk
    | MovePosition
    | MarkNotificationsRead
    | MarkNotificationsSeen
    | AddNotification
)


def project(event: f.AnyEvent) -> tuple[Update, ...]:
    """The updates that an event leads to."""
    match event:
        case f.UserEvent():
            return _user(event)
        case f.ConnectionEvent():
            return _connection(event)
        case f.MessageEvent():
            return _message(event)
        case f.NotificationRaised(listed=False):
            return ()
        case f.NotificationRaised():
            return (AddNotification(event.recipient, event.notification, event.kind, event.about, event.at),)
        case _:
            return ()


def sessions(event: f.AnyEvent) -> tuple[Update, ...]:
    """Only what an event does to sessions and what they may do: done at once by the command agent, so that it holds."""
    match event:
        case f.UserLoggedIn():
            ends_at = event.ends_at or event.expires_at
            return (PutSession(event.session, event.user, event.expires_at, ends_at, event.role, event.seq),)
        case f.SessionRenewed():
            return (MoveSession(event.session, event.user, event.expires_at, event.seq),)
        case f.UserLoggedOut():
            return (EndSession(event.session, event.user, event.seq),)
        case f.RoleChanged():
            return (_put(event),)
        case _:
            return ()


def _user(event: f.UserEvent) -> tuple[Update, ...]:
    match event:
        case f.UserSignedUp():
            return (PutUser(event.user, event.seq, account_fields.opened(event)), _listed(event))
        case f.ProfileChanged():
            return (_put(event), _listed(event))
        case f.PrivacyChanged():
            return _shown(event)
        case f.UserDeleted():
            left = account_fields.closed(event)
            return (DelUser(event.user, event.seq, left), UnlistUser(event.user, event.seq))
        case f.NotificationsRead():
            return (MarkNotificationsRead(event.user, event.notifications, event.at),)
        case f.ChannelEvent():
            return ()
        case f.NotificationsSeen():
            return (MarkNotificationsSeen(event.user, event.up_to),)
        case _:
            return _comings_and_goings(event) or (_put(event),)


def _comings_and_goings(event: f.UserEvent) -> tuple[Update, ...]:
    match event:
        case f.UserLoggedIn():
            return (*sessions(event), TouchUser(event.user, event.at))
        case f.SessionRenewed():
            return sessions(event)
        case f.UserLoggedOut():
            gone = SetPresence(event.user, event.session, 0, event.at, event.seq)
            return (*sessions(event), gone)
        case f.UserCameOnline():
            here = SetPresence(event.user, event.session, event.until, event.at, event.seq)
            return (here, TouchUser(event.user, event.at))
        case f.UserWentOffline():
            return (SetPresence(event.user, event.session, 0, event.at, event.seq),)
        case _:
            return ()


def _shown(event: f.PrivacyChanged) -> tuple[Update, ...]:
    privacy = event.privacy
    return (
        _put(event),
        HideUser(event.user, not privacy.discoverable, event.seq),
        SetAudience(event.user, privacy.presence, event.seq),
    )


def _put(event: f.UserEvent) -> PutUser:
    return PutUser(event.user, event.seq, account_fields.changed(event))


def _listed(event: f.UserSignedUp | f.ProfileChanged) -> ListUser:
    return ListUser(event.user, event.profile.skills, event.at, event.seq)


def _connection(event: f.ConnectionEvent) -> tuple[Update, ...]:
    match event:
        case f.UserBlocked():
            blocked = PutRelation(event.by, event.other, "blocked", event.by, event.at, event.seq)
            barred = PutRelation(event.other, event.by, "barred", event.by, event.at, event.seq)
            # Who blocks the other as well goes on seeing that.
            return (blocked,) if event.mutual else (blocked, barred)
        case f.UserUnblocked(mutual=True):
            return (PutRelation(event.by, event.other, "barred", event.other, event.at, event.seq),)
        case f.UserUnblocked(rejected_by=by) if by:
            return _both_see(event, "rejected", by)
        case f.UserUnblocked():
            return _both_see(event, "removed", event.by)
        case _:
            state = state_after(event)
            return () if state is None else _both_see(event, state, event.by)


def _both_see(event: f.ConnectionEvent, state: RelationState, by: str) -> tuple[Update, ...]:
    return tuple(
        PutRelation(user, other, state, by, event.at, event.seq)
        for user, other in ((event.by, event.other), (event.other, event.by))
    )


def talks(event: f.AnyEvent) -> tuple[PutTalk, ...]:
    """When the two last said something to each other, for the list of each."""
    if not isinstance(event, f.MessageSent):
        return ()
    one, other = pair_of(event.conversation)
    return (PutTalk(one, other, event.at), PutTalk(other, one, event.at))


def _message(event: f.MessageEvent) -> tuple[Update, ...]:
    match event:
        case f.MessageSent():
            said = AppendMessage(
                conversation=event.conversation,
                seq=event.seq,
                previous=event.previous,
                message=event.message,
                sender=event.sender,
                recipient=event.recipient,
                text=event.text,
                at=event.at,
            )
            return (said, PutUnread(event.conversation, event.recipient, event.seq), *talks(event))
        case f.MessageEdited():
            return (ReplaceMessage(_rewritten(event, text=event.text, edited_at=event.at), event.seq),)
        case f.MessageDeleted():
            told = PutUnread(event.conversation, other_of(event.conversation, event.sender), event.of, gone=True)
            return (ReplaceMessage(_rewritten(event, text="", deleted=True), event.seq), told)
        case f.MessageDelivered():
            return (MovePosition(event.conversation, event.user, event.up_to, 0),)
        case f.MessageRead():
            return (MovePosition(event.conversation, event.user, event.up_to, event.up_to),)
        case _:
            return ()


def _rewritten(
    event: f.MessageEdited | f.MessageDeleted, *, text: str, edited_at: int | None = None, deleted: bool = False
) -> AppendMessage:
    return AppendMessage(
        conversation=event.conversation,
        seq=event.of,
        previous=event.previous,
        message=event.message,
        sender=event.sender,
        recipient=other_of(event.conversation, event.sender),
        text=text,
        at=event.said_at,
        edited_at=edited_at,
        deleted=deleted,
    )


def _json(value: Struct) -> str:
    return msgspec.json.encode(value).decode()
