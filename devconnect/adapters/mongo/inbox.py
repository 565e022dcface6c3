"""ports.inbox.InboxStore on MongoDB, and the far half of ports.inbox.Inbox: days of entries."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import UpdateOne

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, Fields, reaching
from devconnect.adapters.mongo.writes import CHUNK, insert_absent
from devconnect.domain.inbox import Head, Item
from devconnect.ports.clock import Clock, SystemClock
from devconnect.ports.inbox import Kept

#: Cursors are below.
_BEYOND = 10**16 - 1
#: Begins the field of a source. A field within a field wouldn't do: inserted by an upsert, the embedded server keeps it
#: under its whole dotted name.
_SOURCE = "source_"


class MongoInboxStore:
    """Keeps entries for a while. Every method ends `within` seconds: done, or UnavailableError."""

    def __init__(self, db: Database, kept: timedelta, *, within: float = 10.0, clock: Clock | None = None) -> None:
        self._heads = db[layout.INBOXES]
        self._items = db[layout.INBOX_ITEMS]
        self._kept = kept
        self._within = within
        self._clock = clock or SystemClock()

    async def heads(self, users: Collection[str]) -> Mapping[str, Head]:
        """How far each of these inboxes is; the head of an empty one for those that were never written."""
        async with reaching(self._within):
            found = await self._heads.find({"_id": {"$in": list(users)}}).to_list(None)
        known = {fields["_id"]: _head(fields) for fields in found}
        return {user: known.get(user, Head()) for user in users}

    async def keep(self, kept: Sequence[Kept]) -> None:
        """Keep the entries, then how far their inboxes are: what isn't kept for sure is given again."""
        expires = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC) + self._kept
        records = {(record := _record(each, expires))["_id"]: record for each in kept}
        async with reaching(self._within):
            await insert_absent(self._items, list(records.values()))
            moves = _moves(kept)
            for start in range(0, len(moves), CHUNK):
                await self._heads.bulk_write(moves[start : start + CHUNK], ordered=False)

    async def renew(self, users: Collection[str]) -> None:
        """Begin these inboxes anew in another epoch; what was in them before is told no more."""
        heads = await self.heads(users)
        async with reaching(self._within):
            # One that somebody else has renewed meanwhile is in that epoch already.
            await self._heads.bulk_write(
                [
                    UpdateOne({"_id": user, "epoch": head.epoch}, {"$set": {"epoch": head.epoch + 1, "head": 0}})
                    for user, head in heads.items()
                ],
                ordered=False,
            )


class MongoInboxReads:
    """What is kept of inboxes. Every method ends `within` seconds, with UnavailableError at the latest."""

    def __init__(self, db: Database, *, within: float = 2.0) -> None:
        self._heads = db[layout.INBOXES]
        self._items = db[layout.INBOX_ITEMS]
        self._within = within

    async def after(self, user: str, cursor: int, limit: int) -> tuple[int, int, list[Item]]:
        """Epoch, head and up to `limit` of what is kept after a cursor, in order; not all of it need be there yet."""
        async with reaching(self._within):
            head = _head(await self._heads.find_one({"_id": user}) or {})
            return head.epoch, head.cursor, await self._between(user, head.epoch, cursor, limit, 1)

    async def newest(self, user: str, epoch: int, limit: int) -> list[Item]:
        """The last of what is kept, in order."""
        async with reaching(self._within):
            return (await self._between(user, epoch, 0, limit, -1))[::-1]

    async def _between(self, user: str, epoch: int, cursor: int, limit: int, way: int) -> list[Item]:
        first, last = layout.inbox_key(user, epoch, cursor), layout.inbox_key(user, epoch, _BEYOND)
        found = self._items.find({"k": {"$gt": first, "$lte": last}}).sort("k", way).limit(limit)
        return [_item(fields) for fields in await found.to_list(None)]


def _head(fields: Mapping[str, Any]) -> Head:
    sources = {name[len(_SOURCE) :]: seq for name, seq in fields.items() if name.startswith(_SOURCE)}
    return Head(fields.get("epoch", 1), fields.get("head", 0), sources)


def _item(fields: Mapping[str, Any]) -> Item:
    cursor = int(fields["k"].rpartition(":")[2])
    return Item(cursor, fields["previous"], fields["kind"], fields["text"].encode())


def _record(kept: Kept, expires: datetime) -> Fields:
    entry, cursor = kept.placed.entry, kept.placed.cursor
    return {
        "_id": layout.inbox_item_id(entry.recipient, entry.source, entry.seq),
        "k": layout.inbox_key(entry.recipient, kept.epoch, cursor),
        "previous": kept.previous,
        "kind": entry.kind,
        "text": kept.text,
        "expires": expires,
    }


def _moves(kept: Sequence[Kept]) -> list[UpdateOne]:
    """One a person. An inbox that has come to another epoch meanwhile isn't moved."""
    highest: dict[str, dict[str, int]] = {}
    epochs: dict[str, int] = {}
    for each in kept:
        entry = each.placed.entry
        own = highest.setdefault(entry.recipient, {})
        epochs[entry.recipient] = each.epoch
        for field, value in (("head", each.placed.cursor), (_SOURCE + entry.source, entry.seq)):
            own[field] = max(own.get(field, 0), value)
    return [_move(user, epochs[user], own) for user, own in highest.items()]


def _move(user: str, epoch: int, highest: Mapping[str, int]) -> UpdateOne:
    if epoch == 1:
        return UpdateOne({"_id": user}, {"$max": {"epoch": 1, **highest}}, upsert=True)
    return UpdateOne({"_id": user, "epoch": epoch}, {"$max": dict(highest)})
