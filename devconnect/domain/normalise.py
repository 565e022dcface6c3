"""One spelling for what people type: e-mail addresses, names, skills, links. None means: not one of these."""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import urlsplit

#: RFC 5321: a path of 256 with its brackets; a local part of 64.
EMAIL_MAX, LOCAL_MAX = 254, 64
URL_MAX = 500
SKILLS_MAX, SKILL_MAX = 50, 50

_LOCAL = r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
_LABEL = r"(?!-)[^\W_](?:(?:[^\W_]|-)*[^\W_])?"
_EMAIL = re.compile(rf"(?P<local>{_LOCAL})@{_LABEL}(?:\.{_LABEL})+")
_UNSEEN = re.compile(r"[\x00-\x20\x7f]")


def email(text: str) -> str | None:
    """The address as it is stored and compared: NFC, without outer spaces, in lower case."""
    address = unicodedata.normalize("NFC", text.strip().lower())
    if len(address) > EMAIL_MAX:
        return None
    match = _EMAIL.fullmatch(address)
    return address if match and len(match["local"]) <= LOCAL_MAX else None


def line(text: str) -> str:
    """One line: NFC, single spaces, none outside."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def skills(texts: Iterable[str]) -> tuple[str, ...] | None:
    """Lower-case, each once, in the order given; None when there are too many, or one is blank or too long."""
    unique = tuple(dict.fromkeys(line(text).lower() for text in texts))
    if len(unique) > SKILLS_MAX or not all(1 <= len(skill) <= SKILL_MAX for skill in unique):
        return None
    return unique


def link(text: str) -> str | None:
    """An http or https URL with a host, or "" for none."""
    url = text.strip()
    if not url:
        return ""
    if len(url) > URL_MAX or _UNSEEN.search(url):
        return None
    try:
        parts = urlsplit(url)
        ok = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        return url if ok and (parts.port is None or parts.port > 0) else None
    except ValueError:
        return None
