"""The two ways anything is written: insert it unless it is there, or put it over an older one. Both can be repeated."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pymongo import ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from devconnect.adapters.mongo.connect import Fields, Table

#: Documents of one call: few enough for its answer to come within the socket's timeout, on a busy machine too.
CHUNK = 1_000
_DUPLICATE_KEY = 11000


async def insert_absent(table: Table, records: Sequence[Fields], *, ordered: bool = False) -> list[str]:
    """Insert each record whose `_id` isn't there (one record an `_id`); returns the ids that were there before.

    With `ordered` nothing is inserted that follows a record which was there.
    """
    there: list[str] = []
    for start in range(0, len(records), CHUNK):
        chunk = records[start : start + CHUNK]
        try:
            await table.insert_many(chunk, ordered=ordered)
        except BulkWriteError as error:
            there += [chunk[index]["_id"] for index in _duplicates(error)]
            if ordered:
                break
    return there


async def put_newer(table: Table, records: Iterable[Fields], new: Collection[str] = ()) -> None:
    """Write each record unless the stored one's `seq` is as high; of one `_id` the newest counts.

    `new` are the ids that are likely not there yet: nothing but speed depends on it. An insert or a replacement is half
    the work of an upsert on the embedded server, and one that doesn't hit is made up for by an upsert.
    """
    newest = _newest(records)
    lost = set(await insert_absent(table, [record for record in newest if record["_id"] in new]))
    there = [record for record in newest if record["_id"] not in new or record["_id"] in lost]
    for start in range(0, len(there), CHUNK):
        chunk = there[start : start + CHUNK]
        replaced = await table.bulk_write([_in_place_of_older(record) for record in chunk], ordered=False)
        if replaced.matched_count < len(chunk):
            await _upsert_newer(table, chunk)


async def _upsert_newer(table: Table, records: Sequence[Fields]) -> None:
    try:
        await _update(table, [_over_older(record, upsert=True) for record in records])
    except BulkWriteError as error:
        # It is there, as new or newer; or somebody has inserted an older one while this one was on its way.
        there = [records[index] for index in _duplicates(error)]
        await _update(table, [_over_older(record, upsert=False) for record in there])


async def _update(table: Table, updates: Sequence[UpdateOne]) -> None:
    if updates:
        await table.bulk_write(updates, ordered=False)


def _in_place_of_older(record: Fields) -> ReplaceOne[Fields]:
    return ReplaceOne({"_id": record["_id"], "seq": {"$lt": record["seq"]}}, record)


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
