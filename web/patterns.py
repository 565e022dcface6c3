"""Patterns that texts must have, in what Python, ECMAScript and the document's readers all take for the same."""

import re
from collections.abc import Mapping

from devconnect.events.facts import CLOCK

#: Something to see: neither space nor control character.
NOT_BLANK = r"[^\s\u0000-\u001f\u007f-\u009f\ufeff]"
#: The end of a text that is searched: in Python `$` alone is also before a last line feed.
END = r"$(?!\n)"
#: A user id, and up to 200 of them with commas between.
USER_IDS = "^[0-9a-f]{32}(?:,[0-9a-f]{32}){0,199}" + END
#: A header's value that names a request: what can be seen of ASCII.
KEY = "^[!-~]{1,128}$"
#: The same in an event of a client, where an empty one is none.
KEY_OR_NONE = "^[!-~]{0,128}" + END
#: What an answer gave for a later `Read-After`.
MARK = "^[A-Za-z0-9_-]{1,100}$"
#: A notification's id: its time, and what makes it the only one.
NOTIFICATION_ID = "^[0-9]{13}-[!-~]{1,80}" + END

#: What is said of a text that lacks one.
SAID: Mapping[str, str] = {
    NOT_BLANK: "must not be blank",
    CLOCK: "is a time of day such as 22:30",
    KEY_OR_NONE: "has at most 128 visible characters of ASCII",
    NOTIFICATION_ID: "is the id of a notification",
    USER_IDS: "is 1 to 200 user ids, with commas between them",
}

_MATCHING = re.compile(r"^Expected `str` matching regex (?P<pattern>'.*'|\".*\")$", re.S)


def said(what: str) -> str:
    """msgspec's words for a text that doesn't match, in ours."""
    match = _MATCHING.match(what)
    if match is None:
        return what
    return next(
        (text for pattern, text in SAID.items() if repr(pattern) == match["pattern"]), "isn't spelled like that"
    )
