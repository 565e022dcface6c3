"""What is answered, as types: the OpenAPI document follows from them, and tests hold every answer against it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from devconnect.domain.delivering import EXPLAINED, Delivery, Rule as DeliveryRule, State as DeliveryState
from devconnect.domain.model import RelationState
from devconnect.events.base import Channel, ReportReason, Role, Tier, WebhookTrouble
from devconnect.events.facts import NotificationPreferences, Privacy
from devconnect.ports.reads import MessageView, NotificationView, PositionView, RelationView, UserView
from web.problems import FieldError

Id = Annotated[str, Meta(pattern="^[0-9a-f]{32}$", description="An id that the service gave.")]
Time = Annotated[int, Meta(description="Milliseconds since 1970.")]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1, description="A place: it grows with every message of a conversation.")]


class Answer(Struct, frozen=True, kw_only=True):
    """A JSON object that is answered."""


class Account(Answer, frozen=True):
    """An account as its owner sees it; `seq` grows with every change, and is its ETag."""

    id: Id
    email: str
    email_verified: bool
    name: str
    headline: str
    about: str
    photo_url: str
    skills: tuple[str, ...]
    privacy: Privacy
    notification_preferences: NotificationPreferences
    tier: Tier
    role: Role
    created_at: Time
    updated_at: Time
    seq: Seq


class Card(Answer, frozen=True):
    """A person as the reader may see them; what they don't show is empty, and the address absent."""

    id: Id
    name: str
    headline: str
    about: str
    photo_url: str
    skills: tuple[str, ...]
    created_at: Time
    email: str | UnsetType = UNSET


class FeedCard(Card, frozen=True, kw_only=True):
    """Somebody to meet, and what both know about."""

    shared_skills: tuple[str, ...]


class ConnectionAnswer(Answer, frozen=True):
    """What is between the reader and `user`, since when, and who brought it about."""

    user: Id
    state: RelationState
    by: Id
    at: Time


class Connected(Answer, frozen=True):
    """A person that the reader is connected with."""

    user: Card
    since: Time


class Waiting(Answer, frozen=True):
    """A person between whom and the reader something stands, and since when."""

    user: Card
    at: Time


class Blocked(Answer, frozen=True):
    """Somebody whom the reader has blocked."""

    user: Id
    at: Time


class Message(Answer, frozen=True):
    """A message; the text of one that was `deleted` is empty."""

    id: Id
    conversation: str
    seq: Seq
    sender: Id
    recipient: Id
    text: str
    at: Time
    edited_at: Time | None = None
    deleted: bool = False


class PositionAnswer(Answer, frozen=True):
    """How far somebody has got: the seq of the last message that a device of theirs holds, and that they have read."""

    user: Id
    delivered: Seq
    read: Seq


class History(Answer, frozen=True):
    """Some messages of a conversation; `next` goes on in the direction that was asked for, `previous` in the other."""

    items: tuple[Message, ...]
    next: str | None
    previous: str | None
    positions: tuple[PositionAnswer, ...]


class ConversationAnswer(Answer, frozen=True):
    """A conversation: with whom, the last message, how many of theirs the reader hasn't read (200 stands for more)."""

    user: Card
    last: Message
    unread: int
    positions: tuple[PositionAnswer, ...]


class Moved(Answer, frozen=True):
    """How far the reader has got in the conversation with `peer`, and how many of their messages are not read."""

    peer: Id
    delivered: Seq
    read: Seq
    unread: int


class PresenceAnswer(Answer, frozen=True):
    """Whether a person is here, and when they last were (0: never, or not shown to the reader)."""

    user: Id
    online: bool
    last_seen: Time


class PresenceList(Answer, frozen=True):
    """In the order asked for."""

    items: tuple[PresenceAnswer, ...]


class OwnPresence(Answer, frozen=True):
    """Whether this session's device is here, and until when unless it says so again."""

    online: bool
    until: Time | UnsetType = UNSET


class Notification(Answer, frozen=True):
    """Something that the reader is told."""

    id: str
    kind: str
    about: dict[str, str]
    at: Time
    read: bool
    seen: bool


class Notifications(Answer, frozen=True):
    """Newest first, how many are not read, and how many the reader hasn't even seen."""

    items: tuple[Notification, ...]
    next: str | None
    unread: int
    unseen: int


class NotificationsSeen(Answer, frozen=True):
    """Everything up to this one was seen."""

    seen_up_to: str


class DeliveryAnswer(Answer, frozen=True):
    """What became of a notification by one channel: its state, the rule that decided, and that rule in plain words.

    It is `due` then, while it is held. `into` is the notification that it was told of together with; `why` says what
    went wrong, if anything did.
    """

    channel: Channel
    state: DeliveryState
    rule: DeliveryRule
    explanation: str
    decided_at: Time
    moved_at: Time
    tries: int
    count: int
    due: Time | UnsetType = UNSET
    into: str | UnsetType = UNSET
    why: str | UnsetType = UNSET


class DeliveryList(Answer, frozen=True):
    """One a channel."""

    notification: str
    items: tuple[DeliveryAnswer, ...]


class NotificationsRead(Answer, frozen=True):
    """What is marked as read."""

    read: tuple[str, ...]


class PushKey(Answer, frozen=True):
    """What a browser subscribes with: its `applicationServerKey`."""

    public_key: str


class PushSubscribed(Answer, frozen=True):
    """A browser that takes push messages, while the session that subscribed it is open."""

    id: Id
    endpoint: str
    created_at: Time


class PushSubscriptions(Answer, frozen=True):
    """The newest comes first."""

    items: tuple[PushSubscribed, ...]


class PushUnsubscribed(Answer, frozen=True):
    """This one takes none any more."""

    subscription: Id


class WebhookAdded(Answer, frozen=True):
    """A webhook; its `secret` is told here and nowhere else. The status of the command hasn't got it."""

    id: Id
    url: str
    created_at: Time
    secret: str | UnsetType = UNSET


class Webhook(Answer, frozen=True):
    """A webhook; `disabled` says why it isn't called any more."""

    id: Id
    url: str
    created_at: Time
    disabled: WebhookTrouble | None
    disabled_at: Time | None


class Webhooks(Answer, frozen=True):
    """The newest comes first."""

    items: tuple[Webhook, ...]


class WebhookRemoved(Answer, frozen=True):
    """This one is called no more."""

    webhook: Id


class SessionOpened(Answer, frozen=True):
    """A session: `token` is good until `token_expires_at`, the `renewal_token` gives the next pair before `expires_at`.

    The two are absent where they are in cookies. `ends_at` is the end whatever comes. `device_token` belongs into later
    log-ins from this device: it keeps others from locking it out. The status of a command has none of the three.
    """

    session: Id
    user: Id
    expires_at: Time
    ends_at: Time
    generation: int
    token_expires_at: Time | UnsetType = UNSET
    token: str | UnsetType = UNSET
    renewal_token: str | UnsetType = UNSET
    device_token: str | UnsetType = UNSET


class SessionAnswer(Answer, frozen=True):
    """An open session: its device as it called itself, the network that it was last used from, and when."""

    id: Id
    device: str
    place: str
    created_at: Time
    used_at: Time
    expires_at: Time
    ends_at: Time
    current: bool


class SessionList(Answer, frozen=True):
    """The one used last comes first."""

    items: tuple[SessionAnswer, ...]


class SessionEnded(Answer, frozen=True):
    """This session is over."""

    session: Id


class SessionsEnded(Answer, frozen=True):
    """So many sessions are over."""

    ended: int


class LinkSent(Answer, frozen=True):
    """A link is on its way to `email`; none, where that is `email_verified` already."""

    email: str
    email_verified: bool | UnsetType = UNSET


class EmailConfirmed(Answer, frozen=True):
    """The address is the account's."""

    email: str


class PasswordSet(Answer, frozen=True):
    """The password is set, and every session is over."""

    user: Id


class Deleted(Answer, frozen=True):
    """The account is closed."""

    user: Id


class ReportMade(Answer, frozen=True):
    """The operators are told."""

    report: Id
    user: Id
    reason: ReportReason
    at: Time


class ReportDone(Answer, frozen=True):
    """The operators are done with it."""

    report: Id
    outcome: str
    closed_by: Id
    closed_at: Time


class ReportAnswer(Answer, frozen=True):
    """What somebody told the operators of somebody."""

    id: Id
    by: Id
    user: Id
    reason: ReportReason
    note: str
    at: Time
    closed_at: Time | None = None
    closed_by: Id | None = None
    outcome: str | None = None


class AuditEntry(Answer, frozen=True):
    """A change of somebody's rights; `by` is the operator's id, or "system" for one made on the machine itself."""

    id: str
    by: str
    what: Literal["tier", "role"]
    before: str
    after: str
    reason: str
    at: Time


class TableAnswer(Answer, frozen=True):
    """Rows of an analytics table: the column `key` names a row."""

    table: str
    key: str
    items: tuple[dict[str, str | int], ...]
    next: str | None


class ProblemAnswer(Answer, frozen=True):
    """An RFC 9457 problem: `code` is stable, `detail` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[FieldError, ...] | UnsetType = UNSET


class CommandStatus(Answer, frozen=True):
    """What became of a command: a `result` where it was accepted, a `problem` where it was refused."""

    id: Id
    status: Literal["pending", "accepted", "refused"]
    result: dict[str, Any] | UnsetType = UNSET
    problem: ProblemAnswer | UnsetType = UNSET


class PendingCommand(Answer, frozen=True):
    """A command that Kafka has and nobody has decided yet; `href` tells what becomes of it."""

    id: Id
    status: Literal["pending"]
    href: str


class Accepted(Answer, frozen=True):
    """The answer 202."""

    command: PendingCommand


class SessionPending(SessionOpened, frozen=True, kw_only=True):
    """The answer 202 of what opens a session: its tokens are good as soon as it exists."""

    command: PendingCommand


class WebhookPending(WebhookAdded, frozen=True, kw_only=True):
    """The answer 202 of what adds a webhook: its secret is the same then."""

    id: Id | UnsetType = UNSET  # type: ignore[assignment]  # known once it is decided
    url: str | UnsetType = UNSET  # type: ignore[assignment]  # as above
    created_at: Time | UnsetType = UNSET  # type: ignore[assignment]  # as above
    command: PendingCommand


def account(user: UserView, role: Role) -> Account:
    """A user as they see themselves; `role` is the one that their session has."""
    profile = user.profile
    return Account(
        id=user.id,
        email=user.email,
        email_verified=user.email_verified,
        name=profile.name,
        headline=profile.headline,
        about=profile.about,
        photo_url=profile.photo_url,
        skills=profile.skills,
        privacy=user.privacy,
        notification_preferences=user.notification_preferences,
        tier=user.tier,
        role=role,
        created_at=user.created_at,
        updated_at=user.updated_at,
        seq=user.seq,
    )


def _shown(user: UserView, relation: RelationView | None) -> dict[str, Any]:
    """The fields of a card, as somebody with this relation to the user may see them."""
    audiences = {"everybody"} if relation is None or relation.state != "accepted" else {"everybody", "connections"}
    profile, privacy = user.profile, user.privacy
    return {
        "id": user.id,
        "name": profile.name,
        "headline": profile.headline,
        "about": profile.about if privacy.about in audiences else "",
        "photo_url": profile.photo_url if privacy.photo_url in audiences else "",
        "skills": profile.skills,
        "created_at": user.created_at,
        "email": user.email if privacy.email in audiences else UNSET,
    }


def card(user: UserView, relation: RelationView | None) -> Card:
    """A user as somebody with this relation to them may see them."""
    return Card(**_shown(user, relation))


def feed_card(user: UserView, reader: UserView) -> FeedCard:
    """A stranger, and the skills that both have, in the stranger's order."""
    own = set(reader.profile.skills)
    shared = tuple(skill for skill in user.profile.skills if skill in own)
    return FeedCard(**_shown(user, None), shared_skills=shared)


def message(view: MessageView) -> Message:
    """A message as both people see it."""
    return Message(
        id=view.id,
        conversation=view.conversation,
        seq=view.seq,
        sender=view.sender,
        recipient=view.recipient,
        text=view.text,
        at=view.at,
        edited_at=view.edited_at,
        deleted=view.deleted,
    )


def positions(views: Sequence[PositionView]) -> tuple[PositionAnswer, ...]:
    """How far each of the two has got."""
    return tuple(PositionAnswer(user=view.user, delivered=view.delivered, read=view.read) for view in views)


def notification(view: NotificationView) -> Notification:
    """A notification in its recipient's list."""
    return Notification(
        id=view.id, kind=view.kind, about=view.about, at=view.at, read=view.read, seen=view.seen or view.read
    )


def delivery(made: Delivery) -> DeliveryAnswer:
    """A delivery, as whom it is for may know it."""
    return DeliveryAnswer(
        channel=made.channel,
        state=made.state,
        rule=made.rule,
        explanation=EXPLAINED[made.rule],
        decided_at=made.decided_at,
        moved_at=made.moved_at,
        tries=made.tries,
        count=made.count,
        due=made.due if made.state == "held" else UNSET,
        into=made.into.split(":")[1] if made.into else UNSET,
        why=made.why or UNSET,
    )


def encode(data: Any) -> bytes:
    """JSON."""
    return _ENCODER.encode(data)


_ENCODER = msgspec.json.Encoder()
