"""Fills people's inboxes: at once for whoever is connected, and for days for whoever comes back."""

from collections.abc import Iterator, Sequence

from agents.processing import Slice
from devconnect.events.inbox import InboxEntry
from devconnect.events.topics import inbox_events
from devconnect.ports import metrics as m
from devconnect.ports.inbox import InboxFeed, InboxStore, Kept, Placed, ResetError, UnseededError
from devconnect.ports.metrics import Metrics
from devconnect.ports.truth import UnavailableError

#: Entries that one inbox gets at a time: fewer than are held, so that what isn't kept yet is always held.
MOST = 250
#: Entries of all inboxes at a time.
CHUNK = 1_000
#: Times that inboxes are seeded or renewed for one chunk: each can be lost again meanwhile.
TRIES = 10


class FillInboxes:
    """From `inbox-events` to Redis, where whoever listens hears of it, and then to the database.

    A cursor follows from the offset, and an entry that was there before is a repeat. So whatever is done again after a
    crash comes to the same inboxes.
    """

    name = "fill-inboxes"
    codec = inbox_events

    def __init__(self, feed: InboxFeed, store: InboxStore, metrics: Metrics) -> None:
        self._feed = feed
        self._store = store
        self._metrics = metrics

    async def apply(self, slices: Sequence[Slice[InboxEntry]]) -> None:
        """Put the entries into their inboxes."""
        for chunk in _chunks(slices):
            kept = await self._append(chunk)
            if kept:
                await self._store.keep(kept)
                self._metrics.count(m.INBOX_ENTRIES, by=len(kept))

    async def _append(self, chunk: Sequence[Placed]) -> list[Kept]:
        for _ in range(TRIES):
            try:
                return await self._feed.append(chunk)
            except UnseededError as error:
                await self._feed.seed(await self._store.heads(error.users))
            except ResetError as error:
                await self._store.renew(error.users)
                await self._feed.seed(await self._store.heads(error.users))
        # No record's fault: one that was put aside could never be put in later.
        raise UnavailableError("inboxes are lost as soon as they are held: is Redis started again and again, or full?")


def _chunks(slices: Sequence[Slice[InboxEntry]]) -> Iterator[list[Placed]]:
    """The entries in order, as many at a time as may be. A cursor is the offset plus 1: 0 is before all."""
    chunk: list[Placed] = []
    counts: dict[str, int] = {}
    for part in slices:
        for record, entry in zip(part.records, part.values, strict=True):
            if len(chunk) >= CHUNK or counts.get(entry.recipient, 0) >= MOST:
                yield chunk
                chunk, counts = [], {}
            chunk.append(Placed(record.offset + 1, entry))
            counts[entry.recipient] = counts.get(entry.recipient, 0) + 1
    if chunk:
        yield chunk
