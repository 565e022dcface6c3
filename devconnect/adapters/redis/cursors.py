"""Cursors: the place in a list as an opaque text, the same for this store and for the database behind it."""

import base64
import binascii
import re

LIMIT = 200

#: What a cursor of each list stands for.
DATED = r"\d{13}:.+"
MESSAGE = r"\d{16}"
NOTIFICATION = r"\d{13}-.+"
BUCKET = r"\d{1,9}:.+"
WINDOW = r".+"
RANKED = r"ranked:\d{1,16}:\d{1,4}|active:\d{1,16}:(?:\+inf|\d{1,15}(?:\.\d{1,6})?):.*"


def encode(place: str) -> str:
    """The opaque text for a place."""
    return base64.urlsafe_b64encode(place.encode()).rstrip(b"=").decode()


def decode(cursor: str, pattern: str) -> str:
    """The place that a cursor stands for; ValueError when it is no cursor of the list whose places look like that."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (UnicodeError, binascii.Error):
        raise ValueError("not a cursor") from None
    if not re.fullmatch(pattern, place, re.ASCII | re.DOTALL):
        raise ValueError("not a cursor of this list")
    return place


def is_cursor(cursor: str, pattern: str) -> bool:
    """Whether it stands for a place of the list whose places look like that."""
    try:
        decode(cursor, pattern)
    except ValueError:
        return False
    return True


def check_limit(limit: int) -> None:
    """ValueError unless a page may be that long."""
    if not 1 <= limit <= LIMIT:
        raise ValueError(f"limit is 1 to {LIMIT}, not {limit}")
