"""ports.mail.SentMails on MongoDB: a document a mail, insert-only, which goes after two weeks."""

import hmac
from collections.abc import Collection
from datetime import UTC, datetime

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, reaching
from devconnect.adapters.mongo.writes import insert_absent


class MongoSentMails:
    """The mails that were sent. Of whom they went to there is a digest only, made with `key`.

    Every method ends `within` seconds: done, or UnavailableError.
    """

    def __init__(self, db: Database, key: bytes, *, within: float = 10.0) -> None:
        self._table = db[layout.MAILS]
        self._key = key
        self._within = within

    async def sent(self, ids: Collection[str]) -> set[str]:
        """Those of these mails that were sent."""
        if not ids:
            return set()
        async with reaching(self._within):
            found = await self._table.find({"_id": {"$in": list(ids)}}, {"_id": 1}, batch_size=len(ids)).to_list(None)
            return {fields["_id"] for fields in found}

    async def recent(self, kind: str, to: str, since: int, most: int) -> int:
        """How many mails of a kind were sent to an address since then, counted up to `most`."""
        key = self._digest(to)
        between = {"$gte": layout.mail_key(kind, key, since), "$lt": layout.mail_key(kind, key, layout.LATEST)}
        async with reaching(self._within):
            return len(await self._table.find({"k": between}, {"_id": 1}, limit=most).to_list(None))

    async def note(self, mail: str, kind: str, to: str, at: int) -> None:
        """A mail was sent; the first note of it stays."""
        sent_at = datetime.fromtimestamp(at / 1000, UTC)
        fields = {
            "_id": mail,
            "k": layout.mail_key(kind, self._digest(to), at),
            "sent_at": at,
            "expires": sent_at + layout.MAIL_KEPT,
        }
        async with reaching(self._within):
            await insert_absent(self._table, [fields])

    def _digest(self, address: str) -> str:
        return hmac.digest(self._key, address.encode(), "sha256").hex()[:32]
