"""ports.truth on MongoDB: decisions, reservations, documents and notifications; every write can be repeated."""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import DeleteOne, UpdateOne

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, Fields, reaching
from devconnect.adapters.mongo.records import (
    decision_fields,
    decision_of,
    document_fields,
    document_of,
    notification_fields,
    relation_fields,
    reservation_fields,
    secret_fields,
    without_text,
)
from devconnect.adapters.mongo.writes import insert_absent, put_newer
from devconnect.domain.model import (
    AnyDocument,
    Audit,
    Connection,
    Decision,
    Kind,
    Message,
    Ref,
    Reservation,
    Secret,
    Snapshot,
    ref_of,
)
from devconnect.domain.projections import AddNotification, MarkNotificationsRead, MarkNotificationsSeen
from devconnect.ports.clock import Clock, SystemClock
from devconnect.ports.truth import UnavailableError


class MongoTruth:
    """The truth. Every method ends `within` seconds: done, or UnavailableError, and then nothing is known of it."""

    def __init__(self, db: Database, *, within: float = 10.0, clock: Clock | None = None) -> None:
        self._db = db
        self._within = within
        self._clock = clock or SystemClock()

    async def decisions(self, ids: Collection[str]) -> Mapping[str, Decision]:
        """The stored decisions among these command ids."""
        async with reaching(self._within):
            return {fields["_id"]: decision_of(fields) for fields in await self._find(layout.DECISIONS, ids)}

    async def record(self, decisions: Sequence[Decision]) -> Mapping[str, Decision]:
        """Store the decisions, insert-only, in order, up to one that somebody had made before: that is returned."""
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        fresh: dict[str, Fields] = {}
        for decision in decisions:
            fresh.setdefault(decision.id, decision_fields(decision, now + layout.DECISION_KEPT))
        async with reaching(self._within):
            lost = await insert_absent(self._db[layout.DECISIONS], list(fresh.values()), ordered=True)
            return {fields["_id"]: decision_of(fields) for fields in await self._winners(layout.DECISIONS, lost)}

    async def reserve(self, reservations: Sequence[Reservation]) -> Mapping[str, str]:
        """Take each address unless somebody else holds it; returns who holds each.

        Whoever holds it already holds it from here on as of this `seq`, unless that is lower than before.
        """
        wanted = {each.email: each for each in reservations}
        table = self._db[layout.CREDENTIALS]
        async with reaching(self._within):
            lost = await insert_absent(table, [reservation_fields(each) for each in wanted.values()])
            if lost:
                await table.bulk_write([_held_as_of(wanted[email]) for email in lost], ordered=False)
            holders = {each.email: each.user for each in wanted.values()}
            for fields in await self._winners(layout.CREDENTIALS, lost):
                mine = wanted[fields["_id"]]
                if fields["user"] == mine.user and fields["seq"] < mine.seq:
                    raise UnavailableError(f"MongoDB: {layout.CREDENTIALS} change hands: try again")
                holders[mine.email] = fields["user"]
            return holders

    async def release(self, reservations: Sequence[Reservation]) -> None:
        """Let go of each address that its user holds as of this `seq` or a lower one; of others nothing."""
        gone = [DeleteOne({"_id": each.email, "user": each.user, "seq": {"$lte": each.seq}}) for each in reservations]
        if gone:
            async with reaching(self._within):
                await self._db[layout.CREDENTIALS].bulk_write(gone, ordered=False)

    async def keep_secrets(self, secrets: Sequence[Secret]) -> None:
        """Keep each password unless the stored one's `seq` is as high."""
        async with reaching(self._within):
            await put_newer(self._db[layout.PASSWORDS], map(secret_fields, secrets))

    async def load(self, refs: Collection[Ref]) -> Snapshot:
        """The documents of these names; those that don't exist are absent."""
        ids: dict[Kind, list[str]] = {}
        for ref in refs:
            ids.setdefault(ref.kind, []).append(ref.id)
        async with reaching(self._within):
            found = await asyncio.gather(*(self._find(layout.COLLECTION_OF[kind], ids[kind]) for kind in ids))
        snapshot: Snapshot = {}
        for kind, records in zip(ids, found, strict=True):
            snapshot.update((Ref(kind, fields["_id"]), document_of(kind, fields)) for fields in records)
        return snapshot

    async def save(self, documents: Iterable[AnyDocument], *, new: Collection[Ref] = ()) -> None:
        """Write each document unless the stored one's `seq` is as high; `new` were not there when last looked for.

        What follows from a document is written before it: a replay finds a document that is as new, changes nothing,
        and so would never write what a crash has kept from following. So the decisions on a deleted message lose its
        text before it does.
        """
        documents = tuple(documents)
        deleted = [each for each in documents if isinstance(each, Message) and each.deleted]
        followers: dict[str, list[Fields]] = {}
        leaders: dict[str, list[Fields]] = {}
        said: dict[str, Fields] = {}
        audits: dict[str, Fields] = {}
        absent: set[str] = {ref.id for ref in new}
        for document in documents:
            if isinstance(document, Message):
                if document.seq == document.place:
                    said[document.id] = document_fields(document)
                else:
                    followers.setdefault(layout.MESSAGES, []).append(document_fields(document))
                continue
            if isinstance(document, Audit):
                audits[document.id] = document_fields(document)
                continue
            if isinstance(document, Connection):
                relations = list(relation_fields(document))
                followers.setdefault(layout.RELATIONS, []).extend(relations)
                if document.id in absent:
                    absent.update(relation["_id"] for relation in relations)
            name = layout.COLLECTION_OF[ref_of(document).kind]
            leaders.setdefault(name, []).append(document_fields(document))
        async with reaching(self._within):
            await self._take_back([command for message in deleted for command in message.commands])
            await asyncio.gather(
                insert_absent(self._db[layout.MESSAGES], list(said.values())),
                insert_absent(self._db[layout.AUDIT], list(audits.values())),
                *self._put(followers, absent),
            )
            await asyncio.gather(*self._put(leaders, absent))

    async def add_notifications(self, notifications: Sequence[AddNotification]) -> None:
        """Insert each notification unless it is there."""
        records = {fields["_id"]: fields for fields in map(notification_fields, notifications)}
        async with reaching(self._within):
            await insert_absent(self._db[layout.NOTIFICATIONS], list(records.values()))

    async def mark_notifications_read(self, marks: Sequence[MarkNotificationsRead]) -> None:
        """Mark them read; the first mark stays. An id that is not one of the user's own means nothing."""
        updates = [
            UpdateOne(
                {"_id": layout.notification_key(mark.user, notification), "unread": mark.user},
                {"$set": {"read_at": mark.at, "unread": None}},
            )
            for mark in marks
            for notification in mark.notifications
        ]
        if updates:
            async with reaching(self._within):
                await self._db[layout.NOTIFICATIONS].bulk_write(updates)

    async def mark_notifications_seen(self, marks: Sequence[MarkNotificationsSeen]) -> None:
        """Move each user's mark forward: what is up to it was seen."""
        furthest: dict[str, str] = {}
        for mark in marks:
            furthest[mark.user] = max(mark.up_to, furthest.get(mark.user, ""))
        if not furthest:
            return
        table = self._db[layout.SEEN]
        records = [{"_id": user, "up_to": up_to} for user, up_to in furthest.items()]
        async with reaching(self._within):
            there = await insert_absent(table, records)
            if there:
                moves = [UpdateOne({"_id": user}, {"$max": {"up_to": furthest[user]}}) for user in there]
                await table.bulk_write(moves, ordered=False)

    async def _take_back(self, commands: Collection[str]) -> None:
        """Take what was said by these commands out of the decisions on them."""
        found = await self._find(layout.DECISIONS, commands)
        updates = [UpdateOne({"_id": each["_id"]}, {"$set": {"decision": without_text(each)}}) for each in found]
        if updates:
            await self._db[layout.DECISIONS].bulk_write(updates, ordered=False)

    def _put(self, records: Mapping[str, list[Fields]], new: Collection[str]) -> list[Coroutine[Any, Any, None]]:
        return [put_newer(self._db[name], each, new) for name, each in records.items()]

    async def _find(self, collection: str, ids: Collection[str]) -> list[Fields]:
        if not ids:
            return []
        # All in one answer: by default it would be the first 101, and one more round trip for the rest.
        return await self._db[collection].find({"_id": {"$in": list(ids)}}, batch_size=len(ids)).to_list(None)

    async def _winners(self, collection: str, ids: Collection[str]) -> list[Fields]:
        """What somebody else has stored under these ids, which are known to be taken."""
        records = await self._find(collection, ids)
        if len(records) < len(ids):  # taken, but not by a majority yet, or gone again in a change of primary
            raise UnavailableError(f"MongoDB: {collection} that were stored can't be read yet")
        return records


def _held_as_of(reservation: Reservation) -> UpdateOne:
    return UpdateOne({"_id": reservation.email, "user": reservation.user}, {"$max": {"seq": reservation.seq}})
