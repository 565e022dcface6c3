"""Handing mail to a server, and knowing what was handed over."""

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

from devconnect.ports.truth import UnavailableError


class Mail(Struct, frozen=True, kw_only=True):
    """A mail to one person, worded. Its Message-ID follows from `id`, its Date is `at` (milliseconds since 1970).

    `unsubscribe` is a link that ends mails of its kind by a POST; "" for a mail that can't be done without.
    """

    id: str
    to: str
    subject: str
    text: str
    html: str
    at: int
    unsubscribe: str = ""


class RefusedMailError(ValueError):
    """This mail is taken by no server, ever; the text says why, without the address."""


class PutOffError(UnavailableError):
    """The server is well, and doesn't take mail for this recipient now."""


class Mailer(Protocol):
    """Sends mail."""

    async def send(self, mail: Mail) -> None:
        """Returns when a server has taken the mail; repeated, it may be sent twice.

        Raises UnavailableError when nothing can be sent now, PutOffError when this can't be, and RefusedMailError when
        this never can.
        """


class SentMails(Protocol):
    """What was sent to whom. Every method raises UnavailableError when that can't be known, or noted, now."""

    async def sent(self, ids: Collection[str]) -> set[str]:
        """Those of these mails that were sent."""

    async def recent(self, kind: str, to: str, since: int, most: int) -> int:
        """How many mails of a kind were sent to an address since then, counted up to `most`."""

    async def note(self, mail: str, kind: str, to: str, at: int) -> None:
        """A mail was sent; the first note of it stays."""
