"""ports.listings on MongoDB: who has talked with whom, and in which words."""

from collections.abc import Sequence

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, reaching
from devconnect.adapters.mongo.records import talk_fields, words_fields
from devconnect.adapters.mongo.writes import put_newer
from devconnect.domain.model import place_of
from devconnect.domain.projections import PutTalk
from devconnect.domain.search import Entry


class MongoListings:
    """Lists for readers. Every method ends `within` seconds: done, or UnavailableError, and then nothing is known."""

    def __init__(self, db: Database, *, within: float = 10.0) -> None:
        self._db = db
        self._within = within

    async def put_talks(self, talks: Sequence[PutTalk]) -> None:
        """List each conversation by when its last message was said, for one of the two."""
        async with reaching(self._within):
            await put_newer(self._db[layout.TALKS], map(talk_fields, talks))

    async def put_words(self, entries: Sequence[Entry]) -> None:
        """Let each message be found by these words, and by no others."""
        records = [words_fields(entry) for entry in entries]
        said = [place_of(entry.message) == entry.seq for entry in entries]
        new = {record["_id"] for record, first in zip(records, said, strict=True) if first}
        async with reaching(self._within):
            await put_newer(self._db[layout.WORDS], records, new)
