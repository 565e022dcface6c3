"""The two ways anything is written: insert it unless it is there, or put it over an older one. Both can be repeated."""

from collections.abc import Iterable, Sequence
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from devconnect.adapters.mongo.connect import Fields, Table

_DUPLICATE_KEY = 11000


async def insert_absent(table: Table, records: Sequence[Fields]) -> list[str]:
    """Insert each record whose `_id` isn't there (one record an `_id`); returns the ids that were there before."""
    if not records:
        return []
    try:
        await table.insert_many(records, ordered=False)
    except BulkWriteError as error:
        return [records[index]["_id"] for index in _duplicates(error)]
    return []


async def put_newer(table: Table, records: Iterable[Fields]) -> None:
    """Write each record unless the stored one's `seq` is as high; of one `_id` the newest counts."""
    newest = _newest(records)
    try:
        await _write(table, [_over_older(record, upsert=True) for record in newest])
    except BulkWriteError as error:
        # It is there, as new or newer; or somebody has inserted an older one while this one was on its way.
        there = [newest[index] for index in _duplicates(error)]
        await _write(table, [_over_older(record, upsert=False) for record in there])


async def _write(table: Table, updates: Sequence[UpdateOne]) -> None:
    if updates:
        await table.bulk_write(updates, ordered=False)


def _over_older(record: Fields, *, upsert: bool) -> UpdateOne:
    changes = {name: value for name, value in record.items() if name != "_id"}
    # Not replace_one: with a condition and upsert the embedded server inserts a second document.
    return UpdateOne({"_id": record["_id"], "seq": {"$lt": record["seq"]}}, {"$set": changes}, upsert=upsert)


def _newest(records: Iterable[Fields]) -> list[Fields]:
    found: dict[str, Fields] = {}
    for record in records:
        other = found.get(record["_id"])
        if other is None or record["seq"] >= other["seq"]:
            found[record["_id"]] = record
    return list(found.values())


def _duplicates(error: BulkWriteError) -> list[int]:
    """The places in the bulk of what was there already; anything else that went wrong is raised."""
    details: dict[str, Any] = dict(error.details)
    failed: list[dict[str, Any]] = details.get("writeErrors", [])
    if details.get("writeConcernErrors") or any(each["code"] != _DUPLICATE_KEY for each in failed):
        raise error
    return [each["index"] for each in failed]
