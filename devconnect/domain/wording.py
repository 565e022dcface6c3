"""What somebody is told, in one line: what stands on a device's screen."""

from devconnect.domain import notifications as n

_ONE = {
    n.NEW_REQUEST: "{name} would like to connect",
    n.REQUEST_ACCEPTED: "{name} is now a connection of yours",
    n.NEW_MESSAGE: "{name} has written to you",
    n.WELCOME: "Welcome to DevConnect",
    n.WEBHOOK_DISABLED: "A webhook of yours was switched off",
    n.PASSWORD_CHANGED: "Your password was changed",
    n.EMAIL_CHANGED: "Your e-mail address was changed",
    n.SUGGESTIONS: "People whom you may like to meet",
    n.DIGEST: "What you haven't read yet",
}
_MANY = {
    n.NEW_REQUEST: "{count} people would like to connect",
    n.REQUEST_ACCEPTED: "{count} people are now connections of yours",
    n.NEW_MESSAGE: "{count} new messages",
}


def title(kind: str, name: str, count: int) -> str:
    """The line for `count` notifications of a kind, of which one is about somebody of this name ("": nobody)."""
    words = _MANY.get(kind) if count > 1 else None
    return (words or _ONE.get(kind, "Something new at DevConnect")).format(name=name or "Somebody", count=count)
