"""ports.outbox on MongoDB: a document a parcel, which is listed by when it is due and goes two weeks after its end."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace
from pymongo import UpdateOne

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, Fields, reaching
from devconnect.adapters.mongo.writes import insert_absent
from devconnect.events.base import RequestChannel
from devconnect.ports.outbox import End, Parcel


class MongoOutbox:
    """The parcels of all channels. Every method ends `within` seconds: done, or UnavailableError."""

    def __init__(self, db: Database, *, within: float = 10.0) -> None:
        self._parcels = db[layout.OUTBOX]
        self._failing = db[layout.FAILING]
        self._within = within

    async def put(self, parcels: Sequence[Parcel], *, again: bool = False) -> None:
        """Put them in, but for those that were ever in it; `again`: those that were given up are due once more."""
        by_id = {parcel.id: _fields(parcel) for parcel in parcels}
        if not by_id:
            return
        async with reaching(self._within):
            there = await insert_absent(self._parcels, list(by_id.values()))
            if again and there:
                revived = [
                    UpdateOne({"_id": each, "state": "failed"}, {"$set": _without_id(by_id[each])}) for each in there
                ]
                await self._parcels.bulk_write(revived, ordered=False)

    async def due(self, channel: RequestChannel, now: int, limit: int, busy: Collection[str] = ()) -> list[Parcel]:
        """Parcels that are due, the longest waiting first, none for these targets."""
        wanted: Fields = {"due": {"$gte": f"{channel}:", "$lte": layout.due_key(channel, now, layout.LAST)}}
        if busy:
            wanted["target"] = {"$nin": list(busy)}
        async with reaching(self._within):
            found = await self._parcels.find(wanted, sort=[("due", 1)], limit=limit).to_list(None)
        return [_parcel(fields) for fields in found]

    async def claim(self, parcel: Parcel, until: int) -> Parcel | None:
        """Keep it from everybody else until then, when it is `due` again; None when it isn't due as it was any more."""
        claimed = replace(parcel, due=until)
        changed = await self._change(parcel, {"due": _due(claimed), "due_at": until})
        return claimed if changed else None

    async def later(self, parcel: Parcel, until: int, why: str) -> None:
        """The next try of a claimed parcel is then; `parcel` says how many were made.

        Nothing once somebody else has claimed it.
        """
        changes = {
            "due": _due(replace(parcel, due=until)),
            "due_at": until,
            "tries": parcel.tries,
            "smaller": parcel.smaller,
            "why": why,
        }
        await self._change(parcel, changes)

    async def end(self, parcel: Parcel, how: End, at: int, why: str) -> None:
        """A claimed parcel is done with; what it said goes at once, unless it may be asked for once more.

        Nothing once somebody else has claimed it.
        """
        changes = {"due": None, "state": how, "ended_at": at, "tries": parcel.tries, "why": why}
        if how != "failed":
            changes["request"] = ""
        await self._change(parcel, changes)

    async def _change(self, parcel: Parcel, changes: dict[str, Any]) -> bool:
        """Whether it was due as this says, and so is changed."""
        async with reaching(self._within):
            found = await self._parcels.update_one({"_id": parcel.id, "due": _due(parcel)}, {"$set": changes})
        return found.matched_count == 1

    async def failing_since(self, target: str, at: int) -> int:
        """Since when the target has taken nothing; `at`, where that begins now."""
        gone = datetime.fromtimestamp(at / 1000, UTC) + layout.PARCEL_KEPT
        async with reaching(self._within):
            if not await insert_absent(self._failing, [{"_id": target, "since": at, "expires": gone}]):
                return at
            found = await self._failing.find_one({"_id": target})
            return at if found is None else int(found["since"])

    async def thrives(self, target: str) -> None:
        """The target has taken something."""
        async with reaching(self._within):
            await self._failing.delete_one({"_id": target})


def _due(parcel: Parcel) -> str:
    return layout.due_key(parcel.channel, parcel.due, parcel.id)


def _fields(parcel: Parcel) -> Fields:
    fields: Fields = msgspec.to_builtins(parcel)
    del fields["due"]
    expires = datetime.fromtimestamp(parcel.expires_at / 1000, UTC) + layout.PARCEL_KEPT
    return {
        "_id": fields.pop("id"),
        **fields,
        "due": _due(parcel),
        "due_at": parcel.due,
        "state": "queued",
        "why": "",
        "expires": expires,
    }


def _without_id(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if name != "_id"}


def _parcel(fields: Fields) -> Parcel:
    return msgspec.convert({**fields, "id": fields["_id"], "due": fields["due_at"]}, Parcel, strict=False)
