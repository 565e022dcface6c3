"""Who is told of what: from an event to the notification that follows from it."""

from devconnect.domain.model import User
from devconnect.events import facts as f

NEW_REQUEST = "connection_requested"
REQUEST_ACCEPTED = "connection_accepted"
NEW_MESSAGE = "message_received"
WELCOME = "welcome"
WEBHOOK_DISABLED = "webhook_disabled"
#: There are people to meet: once a day, after a log-in. It points to the feed, which says who.
SUGGESTIONS = "suggestions"
#: What isn't read, in one.
DIGEST = "digest"
PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a kind of notification
EMAIL_CHANGED = "email_changed"
#: About the safety of the account: nothing holds these up, and nobody switches them off.
CRITICAL = frozenset((PASSWORD_CHANGED, EMAIL_CHANGED))
#: What a digest counts, in this order, and what that is called there. Of what is critical a mail of its own has told.
DIGESTED = {
    NEW_REQUEST: "requests to connect",
    REQUEST_ACCEPTED: "new connections",
    NEW_MESSAGE: "messages",
}
FEED = "/v1/feed"
DAY_MS = 24 * 3600 * 1000


def notification_id(event: f.AnyEvent) -> str:
    """Unique a recipient, the same in each replay, and sorting by time (then by event id)."""
    return f"{event.at:013d}-{event.id}"


def decide(event: f.AnyEvent) -> f.NotificationRaised | None:
    """The notification that an event calls for, if any. An event calls for one at most."""
    match event:
        case f.UserSignedUp():
            return _raise(event, event.user, WELCOME, {"user": event.user})
        case f.WebhookDisabled():
            return _raise(event, event.user, WEBHOOK_DISABLED, {"user": event.user, "webhook": event.webhook})
        case f.ConnectionRequested():
            return _raise(event, event.other, NEW_REQUEST, {"user": event.by})
        case f.ConnectionAccepted():
            return _raise(event, event.other, REQUEST_ACCEPTED, {"user": event.by})
        case f.MessageSent():
            about = {"user": event.sender, "conversation": event.conversation, "message": event.message}
            return _raise(event, event.recipient, NEW_MESSAGE, about)
        case f.UserLoggedIn():
            return _raise(event, event.user, SUGGESTIONS, {"feed": FEED})
        case f.PasswordChanged():
            return _raise(event, event.user, PASSWORD_CHANGED, {})
        case f.EmailChanged():
            return _raise(event, event.user, EMAIL_CHANGED, {})
        case _:
            return None


def occasion(raised: f.NotificationRaised) -> str | None:
    """What this may be raised for once only, whichever event comes first; None where each event raises its own."""
    if raised.kind != SUGGESTIONS:
        return None
    return f"{raised.recipient}:{raised.kind}:{raised.at // DAY_MS}"


def suits(raised: f.NotificationRaised, recipient: User | None) -> bool:
    """Whether somebody is told of it at all: who has joined within a day is welcomed, and meets people anyway."""
    if raised.kind != SUGGESTIONS:
        return True
    return recipient is not None and not recipient.deleted and raised.at - recipient.created_at >= DAY_MS


def digest(user: str, due: int, counts: dict[str, int], *, listed: bool) -> f.NotificationRaised:
    """The digest that was due then; `counts` says how many of each kind aren't read."""
    return f.NotificationRaised(
        id=f"{user}.{DIGEST}.{due}",
        seq=due,
        at=due,
        notification=f"{due:013d}-{DIGEST}",
        recipient=user,
        kind=DIGEST,
        cause=DIGEST,
        about={kind: str(count) for kind, count in counts.items()},
        listed=listed,
        source=DIGEST,
    )


def _raise(event: f.AnyEvent, recipient: str, kind: str, about: dict[str, str]) -> f.NotificationRaised:
    return f.NotificationRaised(
        id=event.id,
        seq=event.seq,
        at=event.at,
        notification=notification_id(event),
        recipient=recipient,
        kind=kind,
        cause=event.id,
        about=about,
    )
