"""ports.deliveries on MongoDB: a document a delivery, made by whoever has decided on it; moved forward only here."""

from collections.abc import Sequence

from pymongo import UpdateOne

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, reaching
from devconnect.ports.deliveries import Advance, Progress

#: What each state may take the place of.
_BEFORE: dict[Progress, list[str]] = {
    "failed": ["queued"],
    "skipped": ["queued", "failed"],
    "sent": ["queued", "failed", "skipped"],
    "delivered": ["queued", "failed", "skipped", "sent"],
}


class MongoDeliveries:
    """The deliveries by their ids."""

    def __init__(self, db: Database, *, within: float = 10.0) -> None:
        self._table = db[layout.DELIVERIES]
        self._within = within

    async def advance(self, moves: Sequence[Advance]) -> None:
        """Say what the channels have done; of a delivery that isn't there nothing."""
        updates = [
            UpdateOne(
                {"_id": move.delivery, "state": {"$in": _BEFORE[move.state]}},
                {"$set": {"state": move.state, "state_at": move.at, "tries": move.tries, "cause": move.why}},
            )
            for move in moves
        ]
        if updates:
            async with reaching(self._within):
                await self._table.bulk_write(updates, ordered=False)
