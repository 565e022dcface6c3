"""From a request to a mail: its words, from templates, and its link, signed here and nowhere kept."""

from datetime import UTC, datetime
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from devconnect.domain import notifications as n
from devconnect.domain.mail import EMAIL_CHANGED, NOTIFYING, PASSWORD_CHANGED, RESET_PASSWORD, VERIFY_EMAIL
from devconnect.events.facts import MailRequested
from devconnect.links import Links, Purpose
from devconnect.ports.mail import Mail


class Kind(NamedTuple):
    """A kind of mail: what stands above it, and what its link is good for."""

    subject: str
    purpose: Purpose | None = None


#: How long a link that unsubscribes is good: mails are read late.
UNSUBSCRIBE_MS = 365 * 86_400_000

#: Subjects hold nothing that somebody has typed.
KINDS: dict[str, Kind] = {
    VERIFY_EMAIL: Kind("Confirm your e-mail address", "verify-email"),
    RESET_PASSWORD: Kind("Choose a new password", "reset-password"),
    PASSWORD_CHANGED: Kind("Your password was changed"),
    EMAIL_CHANGED: Kind("Your e-mail address was changed"),
    n.NEW_REQUEST: Kind("Somebody would like to connect"),
    n.REQUEST_ACCEPTED: Kind("You have a new connection"),
    n.NEW_MESSAGE: Kind("You have a new message"),
    n.WELCOME: Kind("Welcome"),
    n.WEBHOOK_DISABLED: Kind("A webhook of yours was switched off"),
    n.SUGGESTIONS: Kind("People whom you may like to meet"),
    n.DIGEST: Kind("What you haven't read yet"),
}


class Composer:
    """Words mails. `public_url` is where their links lead to, without a slash at the end."""

    def __init__(self, links: Links, public_url: str) -> None:
        self._links = links
        self._public_url = public_url
        self._templates = Environment(
            loader=PackageLoader("devconnect.mail"),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def compose(self, request: MailRequested, *, to: str, name: str, at: int, other: str = "") -> Mail:
        """The mail to `to`, written at `at`, which greets with `name` unless that is "", and may name an `other`.

        ValueError when no mail is of that kind.
        """
        kind = KINDS.get(request.kind)
        if kind is None:
            raise ValueError(f"no mail is called {request.kind}")
        unsubscribe = self._unsubscribe(request, to) if request.kind in NOTIFYING else ""
        words = {
            "name": name,
            "subject": kind.subject,
            "address": to,
            "site": self._public_url,
            "link": self._link(request, kind.purpose, to) if kind.purpose else "",
            "until": _time(request.expires_at) if kind.purpose else "",
            "other": other or "Somebody",
            "count": request.count,
            "about": request.about,
            "digested": n.DIGESTED,
            "unsubscribe": unsubscribe,
        }
        return Mail(
            id=request.id,
            to=to,
            subject=f"{kind.subject} – DevConnect",
            text=self._templates.get_template(f"{request.kind}.txt").render(words),
            html=self._templates.get_template(f"{request.kind}.html").render(words),
            at=at,
            unsubscribe=unsubscribe,
        )

    def _unsubscribe(self, request: MailRequested, to: str) -> str:
        """Behind a ?, since a mail program posts to it by itself; it is good for nothing else."""
        token = self._links.sign(
            "unsubscribe", user=request.user, ticket=request.kind, email=to, expires_at=request.at + UNSUBSCRIBE_MS
        )
        return f"{self._public_url}/unsubscribe?token={token}"

    def _link(self, request: MailRequested, purpose: Purpose, to: str) -> str:
        """The token is behind the #, which browsers keep to themselves: it is in no server's log and no Referer."""
        token = self._links.sign(
            purpose, user=request.user, ticket=request.ticket, email=to, expires_at=request.expires_at
        )
        return f"{self._public_url}/{purpose}#token={token}"


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%-d %B %Y, %H:%M UTC")
