"""Pages of a list, newest first: a range over the list's key, and cursors that name the place in it."""

import base64
import binascii
import re

from devconnect.adapters.mongo.connect import Database, Fields
from devconnect.adapters.mongo.layout import Listing

LIMIT = 200
#: Sorts after every character that a key is made of.
_END = "~"


def cursor_of(listing: Listing, prefix: str, record: Fields) -> str:
    """The opaque text for the place of a record in the list of `prefix`."""
    rest: str = record[listing.key].removeprefix(prefix)
    return base64.urlsafe_b64encode(rest.encode()).decode().rstrip("=")


def place_of(listing: Listing, cursor: str) -> str:
    """What follows the prefix in the key that a cursor stands for; ValueError when it is no cursor of this list."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        rest = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (UnicodeError, binascii.Error):
        raise ValueError("not a cursor") from None
    if not re.fullmatch(listing.rest, rest):
        raise ValueError("not a cursor of this list")
    return rest


async def newest(
    db: Database,
    listing: Listing,
    prefix: str,
    after: str | None,
    *,
    count: int,
    fields: list[str] | None = None,
    only: Fields | None = None,
) -> list[Fields]:
    """Up to `count` records of the list of `prefix`, those that follow the place `after`; `only` such ones."""
    keys = {"$gt": prefix, "$lt": prefix + (_END if after is None else after)}
    query = {listing.key: keys, **(only or {})}
    return await db[listing.collection].find(query, fields, sort=[(listing.key, -1)], limit=count).to_list(None)


async def oldest(db: Database, listing: Listing, prefix: str, after: str | None, *, count: int) -> list[Fields]:
    """The same from the other end."""
    keys = {"$gt": prefix + (after or ""), "$lt": prefix + _END}
    found = db[listing.collection].find({listing.key: keys}, sort=[(listing.key, 1)], limit=count)
    return await found.to_list(None)


async def page(
    db: Database, listing: Listing, prefix: str, cursor: str | None, limit: int, *, only: Fields | None = None
) -> tuple[list[Fields], str | None]:
    """One page and the cursor of the next, None after the last. `limit` is 1 to 200."""
    check_limit(limit)
    after = None if cursor is None else place_of(listing, cursor)
    records = await newest(db, listing, prefix, after, count=limit + 1, only=only)
    if len(records) <= limit:
        return records, None
    return records[:limit], cursor_of(listing, prefix, records[limit - 1])


def check_limit(limit: int) -> None:
    """ValueError unless a page may be that long."""
    if not 1 <= limit <= LIMIT:
        raise ValueError(f"limit is 1 to {LIMIT}, not {limit}")
