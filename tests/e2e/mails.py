"""The mails of a system that has no mail server: what somebody was sent, and the links in it."""

import re

from tests.contract.smtp_fixtures import parsed, words
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

_LINK = re.compile(r"/(verify-email|reset-password)#token=(\S+)")


def mails(system: System, address: str) -> list[str]:
    """What the mails to an address say."""
    found = [parsed(file.read_bytes()) for file in (system.data_dir / "mail").glob("*.eml")]
    return words(mail for mail in found if mail["To"] == address)


def links(system: System, address: str, page: str) -> set[str]:
    """The tokens of all links to a page that were sent to an address."""
    return {token for text in mails(system, address) for where, token in _LINK.findall(text) if where == page}


def new_link(system: System, address: str, page: str, before: set[str] | None = None) -> str:
    """Waits for a link that wasn't there before, the only one, and returns its token."""
    known = before or set()
    [token] = wait_until(lambda: links(system, address, page) - known, PATIENCE, f"a link to {page}")
    return token
