"""A mail as the bytes that SMTP carries. Pure; a header that holds a line break can't be made."""

import hashlib
import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

from devconnect.domain import normalise
from devconnect.mail.server import Sender
from devconnect.ports.mail import Mail, RefusedMailError

_LINK = re.compile(r"https?://[\x21-\x3b\x3d\x3f-\x7e]{1,900}")
_ATOM = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)


def recipient(address: str) -> str:
    """The address for an envelope: its domain in ASCII, its local part as it is. RefusedMailError when it is none."""
    if normalise.email(address) is None:
        raise RefusedMailError("this is no address")
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{domain if domain.isascii() else domain.encode('idna').decode()}"
    except UnicodeError:
        raise RefusedMailError("the address has a domain that can't be written in ASCII") from None


def message(mail: Mail, sender: Sender, to: str) -> bytes:
    """The message to `to`, which `recipient` has given; the same for the same mail.

    RefusedMailError when it can't be one.
    """
    found = EmailMessage(policy=SMTP if to.isascii() else SMTPUTF8)
    local, _, domain = to.rpartition("@")
    try:
        found["From"] = Address(sender.name, addr_spec=sender.address)
        found["To"] = Address(username=local, domain=domain)
        found["Subject"] = mail.subject
    except (ValueError, IndexError):
        raise RefusedMailError("an address or the subject can't be a header's") from None
    found["Date"] = datetime.fromtimestamp(mail.at // 1000, UTC)
    found["Message-ID"] = f"<{stem(mail)}@{sender.address.rpartition('@')[2]}>"
    found["Auto-Submitted"] = "auto-generated"
    found.set_content(mail.text, cte="quoted-printable")
    found.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    found.set_boundary("=_" + hashlib.sha256(mail.id.encode()).hexdigest()[:32])
    return _unsubscribing(mail) + found.as_bytes()


def _unsubscribing(mail: Mail) -> bytes:
    """The headers of RFC 8058, on lines as long as they are: folded, a link without a space becomes unreadable."""
    if not mail.unsubscribe:
        return b""
    if not _LINK.fullmatch(mail.unsubscribe):
        raise RefusedMailError("the link can't be a header's")
    lines = f"List-Unsubscribe: <{mail.unsubscribe}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    return lines.encode()


def stem(mail: Mail) -> str:
    """The mail's id, or what stands for it, as a name in a Message-ID or of a file."""
    return mail.id if _ATOM.fullmatch(mail.id) else hashlib.sha256(mail.id.encode()).hexdigest()
