"""Who is told of what: from an event to the notification that follows from it."""

from devconnect.events import facts as f

NEW_REQUEST = "connection_requested"
REQUEST_ACCEPTED = "connection_accepted"
NEW_MESSAGE = "message_received"
WELCOME = "welcome"
WEBHOOK_DISABLED = "webhook_disabled"


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
        case _:
            return None


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
