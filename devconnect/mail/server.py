"""SMTP_URL and MAIL_FROM in their parts."""

import re
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from msgspec import Struct

StartTls = Literal["required", "auto", "never"]

_ADDRESS = r"[^\s<>@,;:\"()\\]+@[^\s<>@,;:\"()\\]+"
_SENDER = re.compile(rf"(?:(?P<name>[^<>@,;:\"()\\]+?)\s*<(?P<named>{_ADDRESS})>|(?P<bare>{_ADDRESS}))", re.ASCII)

#: What SMTP_URL must look like.
EXPECTS = "smtp://[user:password@]host[:port][?starttls=required|auto|never], or smtps://…"


class Server(Struct, frozen=True, kw_only=True):
    """Where mail is handed in. With `tls` it is spoken from the first byte, otherwise as `starttls` says.

    `user` is "" where nobody logs in.
    """

    host: str
    port: int
    tls: bool
    starttls: StartTls
    user: str = ""
    password: str = ""


class Sender(Struct, frozen=True):
    """Whom mail is from: a name, or "", and an address."""

    name: str
    address: str


def parse_server(url: str) -> Server:
    """The server that a URL names; ValueError when it names none. Without a word on STARTTLS it is required."""
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    words = query.pop("starttls", ["required"])
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        raise ValueError("no SMTP server")
    if query or len(words) > 1:
        raise ValueError("what is this about STARTTLS?")
    starttls: StartTls = msgspec.convert(words[0], StartTls)
    if bool(parts.username) != bool(parts.password):
        raise ValueError("a user and no password, or a password and no user")
    tls = parts.scheme == "smtps"
    return Server(
        host=parts.hostname,
        port=parts.port or (465 if tls else 587),
        tls=tls,
        starttls=starttls,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def parse_sender(text: str) -> Sender:
    """Name and address of a sender; ValueError when there is no address, or more than that."""
    found = _SENDER.fullmatch(text)
    if found is None or not text.isprintable():
        raise ValueError("no sender")
    return Sender(found["name"] or "", found["named"] or found["bare"])
