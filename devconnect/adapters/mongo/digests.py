"""ports.deliveries.Digests on MongoDB: a document a person, listed by when the next is due."""

from collections import Counter
from collections.abc import Mapping, Sequence

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, Fields, reaching
from devconnect.adapters.mongo.writes import put_newer
from devconnect.ports.deliveries import DueDigest, Schedule

#: Notifications of one digest that are counted.
COUNTED = 500


class MongoDigests:
    """When digests are due. Every method ends `within` seconds: done, or UnavailableError."""

    def __init__(self, db: Database, *, within: float = 10.0) -> None:
        self._table = db[layout.DIGESTS]
        self._notifications = db[layout.NOTIFICATIONS]
        self._within = within

    async def schedule(self, schedules: Sequence[Schedule]) -> None:
        """Keep each unless the stored one's `seq` is as high."""
        records = [
            {"_id": each.user, "seq": each.seq, "since": each.since, **_due(each.user, each.at)} for each in schedules
        ]
        async with reaching(self._within):
            await put_newer(self._table, records)

    async def due(self, now: int, limit: int) -> list[DueDigest]:
        """Those that are due by now, the longest waiting first."""
        wanted = {"due": {"$gt": "", "$lt": layout.due_at(now, layout.LAST)}}
        async with reaching(self._within):
            found = await self._table.find(wanted, sort=[("due", 1)], limit=limit).to_list(None)
        return [DueDigest(user=each["_id"], at=int(each["at"]), since=int(each["since"])) for each in found]

    async def unread(self, user: str, since: int, before: int) -> Mapping[str, int]:
        """How many that came meanwhile aren't read, by kind; of the first 500."""
        span = {
            "$gte": layout.notification_key(user, f"{since:013d}"),
            "$lt": layout.notification_key(user, f"{before:013d}"),
        }
        async with reaching(self._within):
            found = await self._notifications.find(
                {"k": span}, ["kind", "unread"], sort=[("k", 1)], limit=COUNTED
            ).to_list(None)
        return Counter(each["kind"] for each in found if each["unread"] is not None)

    async def done(self, digest: DueDigest, following: int | None) -> None:
        """The next is due then, unless another is due by now."""
        changes: Fields = {"since": digest.at, **_due(digest.user, following)}
        async with reaching(self._within):
            await self._table.update_one({"_id": digest.user, "at": digest.at}, {"$set": changes})


def _due(user: str, at: int | None) -> Fields:
    return {"at": at, "due": None if at is None else layout.due_at(at, user)}
