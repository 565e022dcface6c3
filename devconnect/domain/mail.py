"""Who is written to, and of what: from an event to the mail that it asks for."""

from devconnect.domain import notifications as n
from devconnect.domain.model import User
from devconnect.events import facts as f
from devconnect.events.base import Event

VERIFY_EMAIL = "verify_email"
RESET_PASSWORD = "reset_password"  # noqa: S105  # a kind of mail
PASSWORD_CHANGED = "password_changed"  # noqa: S105  # a kind of mail
EMAIL_CHANGED = "email_changed"
#: Mails that can be done without: each kind can be unsubscribed from, and goes to proven addresses only.
NOTIFYING = (n.NEW_REQUEST, n.REQUEST_ACCEPTED, n.NEW_MESSAGE, n.WELCOME, n.SUGGESTIONS, n.DIGEST)

HOUR_MS = 3_600_000
#: Milliseconds after which a mail without a link is no news any more.
NEWS_MS = 72 * HOUR_MS
#: Mails of one kind that one address gets within an hour, whoever asks for them.
MOST_AN_HOUR = 5


def decide(event: Event) -> f.MailRequested | None:
    """The mail that an event asks for, if any. An event asks for one at most."""
    match event:
        case f.EmailVerificationRequested():
            return _request(event, VERIFY_EMAIL, event.email, ticket=event.ticket, expires_at=event.expires_at)
        case f.PasswordResetRequested():
            return _request(event, RESET_PASSWORD, event.email, ticket=event.ticket, expires_at=event.expires_at)
        case f.PasswordChanged():
            # The event doesn't name the address: it is looked up when the mail is written.
            return _request(event, PASSWORD_CHANGED, "")
        case f.EmailChanged():
            return _request(event, EMAIL_CHANGED, event.before)
        case _:
            return None


def good_until(request: f.MailRequested) -> int:
    """When it is too late to send it: its link is over, or it is no news any more."""
    return request.expires_at or request.at + NEWS_MS


def _request(event: f.UserEvent, kind: str, to: str, *, ticket: str = "", expires_at: int = 0) -> f.MailRequested:
    return f.MailRequested(
        id=f"{event.id}-{kind}",
        kind=kind,
        user=event.user,
        to=to,
        at=event.at,
        ticket=ticket,
        expires_at=expires_at,
    )


def recipient(request: f.MailRequested, user: User | None) -> str:
    """The address that a mail goes to; "" when there is nobody to write to."""
    if user is not None and user.deleted:
        return ""
    if request.kind in NOTIFYING and (user is None or not user.email_verified):
        return ""
    return request.to or (user.email if user is not None else "")


def greeting(to: str, user: User | None) -> str:
    """The name that a mail greets with; "" while it isn't known that who reads it is the one who chose the name.

    Otherwise whoever signs up with a stranger's address and an advertisement for a name would have us send it.
    """
    if user is None or not user.email_verified or user.email != to:
        return ""
    return user.profile.name
