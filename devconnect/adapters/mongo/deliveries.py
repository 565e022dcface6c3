"""ports.deliveries on MongoDB: a document a notification and channel, insert-only; then its state goes forward."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pymongo import UpdateOne

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, Fields, Table, reaching
from devconnect.adapters.mongo.writes import insert_absent, put_newer
from devconnect.domain.delivering import CHANNELS, Delivery, State, Window, delivery_id
from devconnect.events.base import Channel
from devconnect.ports.clock import Clock, SystemClock
from devconnect.ports.deliveries import Advance
from devconnect.ports.truth import UnavailableError

#: What follows what: a state is written over lower ones only.
RANKS: Mapping[State, int] = {
    "held": 10,
    "queued": 20,
    "skipped": 25,
    "failed": 30,
    "sent": 40,
    "delivered": 50,
    "seen": 60,
}
#: What somebody may have before their eyes.
_OPEN: frozenset[State] = frozenset(("queued", "sent", "delivered"))


class MongoDeliveries:
    """The deliveries. Every method ends `within` seconds: done, or UnavailableError."""

    def __init__(self, db: Database, *, within: float = 10.0) -> None:
        self._db = db
        self._table = db[layout.DELIVERIES]
        self._within = within

    async def find(self, ids: Collection[str]) -> Mapping[str, Delivery]:
        """Those of these deliveries that were decided."""
        async with reaching(self._within):
            return {fields["_id"]: _delivery(fields) for fields in await _by_id(self._table, ids)}

    async def decide(self, deliveries: Sequence[Delivery]) -> Mapping[str, Delivery]:
        """Keep these, in order, up to one that was decided before: that is returned, as it is."""
        async with reaching(self._within):
            there = await insert_absent(self._table, [_fields(each) for each in deliveries], ordered=True)
            found = {fields["_id"]: _delivery(fields) for fields in await _by_id(self._table, there)}
        if len(found) < len(there):  # taken, but not by a majority yet
            raise UnavailableError("MongoDB: deliveries that were decided can't be read yet")
        return found

    async def advance(self, moves: Sequence[Advance]) -> None:
        """Say what the channels have done; of a delivery that isn't there nothing."""
        updates = []
        for move in moves:
            rank = RANKS[move.state]
            changes: Fields = {
                "state": move.state,
                "rank": rank,
                "moved_at": move.at,
                "tries": move.tries,
                "why": move.why,
                "held": None,
                "open": move.delivery if move.state in _OPEN else None,
            }
            updates.append(UpdateOne({"_id": move.delivery, "rank": {"$lt": rank}}, {"$set": changes}))
        if updates:
            async with reaching(self._within):
                await self._table.bulk_write(updates)

    async def seen(self, user: str, up_to: str, at: int) -> None:
        """What the user was told of all notifications up to this one is seen."""
        span = {"$gt": f"{user}:", "$lt": f"{user}:{up_to}:{layout.LAST}"}
        async with reaching(self._within):
            await self._table.update_many({"open": span}, {"$set": _seen(at)})

    async def read(self, user: str, notifications: Collection[str], at: int) -> None:
        """What the user was told of these is seen."""
        ids = [delivery_id(user, each, channel) for each in notifications for channel in CHANNELS]
        updates = [UpdateOne({"_id": each, "open": each}, {"$set": _seen(at)}) for each in ids]
        if updates:
            async with reaching(self._within):
                await self._table.bulk_write(updates, ordered=False)

    async def windows(self, ids: Collection[str]) -> Mapping[str, Window]:
        """The windows of these groups, as they were last."""
        async with reaching(self._within):
            found = await _by_id(self._db[layout.DELIVERY_WINDOWS], ids)
        return {fields["_id"]: msgspec.convert({**fields, "id": fields["_id"]}, Window) for fields in found}

    async def put_windows(self, windows: Sequence[Window]) -> None:
        """Keep each unless the stored one's `seq` is as high."""
        records = []
        for window in windows:
            fields: Fields = msgspec.to_builtins(window)
            gone = datetime.fromtimestamp(window.ends / 1000, UTC) + timedelta(days=1)
            records.append({"_id": fields.pop("id"), **fields, "expires": gone})
        if records:
            async with reaching(self._within):
                await put_newer(self._db[layout.DELIVERY_WINDOWS], records)

    async def due(self, now: int, limit: int) -> list[Delivery]:
        """Those that are held, and due by now; the longest waiting first."""
        wanted = {"held": {"$gt": "", "$lt": layout.due_at(now, layout.LAST)}}
        async with reaching(self._within):
            found = await self._table.find(wanted, sort=[("held", 1)], limit=limit).to_list(None)
        return [_delivery(fields) for fields in found]

    async def gathered(self, into: str) -> list[Delivery]:
        """What is counted in this one."""
        async with reaching(self._within):
            return [_delivery(fields) for fields in await self._table.find({"gathered": into}).to_list(None)]

    async def seen_ones(self, notifications: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these (user, notification) that their user has seen or read."""
        keys = [layout.notification_key(*each) for each in notifications]
        async with reaching(self._within):
            marks, listed = await asyncio.gather(
                _by_id(self._db[layout.SEEN], {user for user, _ in notifications}),
                _by_id(self._db[layout.NOTIFICATIONS], keys),
            )
        furthest = {fields["_id"]: fields["up_to"] for fields in marks}
        read = {fields["_id"] for fields in listed if fields["read_at"] is not None}
        return {
            (user, each)
            for user, each in notifications
            if each <= furthest.get(user, "") or layout.notification_key(user, each) in read
        }

    async def let_go(self, delivery: Delivery) -> None:
        """What was held is now as this says, unless it isn't held any more."""
        changes = {name: value for name, value in _fields(delivery).items() if name != "_id"}
        async with reaching(self._within):
            await self._table.update_one({"_id": delivery.id, "state": "held"}, {"$set": changes})


class MongoOccasions:
    """What is raised once for each occasion; it is known for a week which event has done so."""

    def __init__(self, db: Database, *, within: float = 10.0, clock: Clock | None = None) -> None:
        self._table = db[layout.OCCASIONS]
        self._within = within
        self._clock = clock or SystemClock()

    async def claim(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        """By occasion the event that raises it: the wanted one, unless another one has come first."""
        gone = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC) + layout.OCCASION_KEPT
        records = [{"_id": occasion, "event": event, "expires": gone} for occasion, event in wanted.items()]
        async with reaching(self._within):
            there = await insert_absent(self._table, records)
            found = {fields["_id"]: fields["event"] for fields in await _by_id(self._table, there)}
        if len(found) < len(there):
            raise UnavailableError("MongoDB: occasions that were taken can't be read yet")
        return {**wanted, **found}


async def read_deliveries(db: Database, user: str, notification: str) -> list[Delivery]:
    """What was decided of a notification, by channel."""
    ids = [delivery_id(user, notification, channel) for channel in CHANNELS]
    found = {fields["channel"]: fields for fields in await _by_id(db[layout.DELIVERIES], ids)}
    order: list[Channel] = [channel for channel in CHANNELS if channel in found]
    return [_delivery(found[channel]) for channel in order]


async def _by_id(table: Table, ids: Collection[str]) -> list[Fields]:
    if not ids:
        return []
    return await table.find({"_id": {"$in": list(ids)}}, batch_size=len(ids)).to_list(None)


def _seen(at: int) -> Fields:
    changes: dict[str, Any] = {"state": "seen", "rank": RANKS["seen"], "moved_at": at, "open": None}
    return changes


def _fields(delivery: Delivery) -> Fields:
    fields: Fields = msgspec.to_builtins(delivery)
    name: str = fields.pop("id")
    return {
        "_id": name,
        **fields,
        "rank": RANKS[delivery.state],
        "held": layout.due_at(delivery.due, name) if delivery.state == "held" else None,
        "open": name if delivery.state in _OPEN else None,
        "gathered": delivery.into or None,
        "expires": datetime.fromtimestamp(delivery.decided_at / 1000, UTC) + layout.DELIVERY_KEPT,
    }


def _delivery(fields: Fields) -> Delivery:
    return msgspec.convert({**fields, "id": fields["_id"]}, Delivery)
