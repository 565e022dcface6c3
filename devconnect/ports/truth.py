"""The truth: what command agents read, decide and write. Writes move forward only, so all of them can be repeated."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from devconnect.domain.model import AnyDocument, Decision, Ref, Reservation, Secret, Snapshot
from devconnect.domain.projections import AddNotification, MarkNotificationsRead, MarkNotificationsSeen


class UnavailableError(Exception):
    """The store can't be reached, or didn't answer in time: nothing is known of the call; repeat it."""


class Truth(Protocol):
    """The database behind everything. Every method raises UnavailableError when it can't be reached."""

    async def decisions(self, ids: Collection[str]) -> Mapping[str, Decision]:
        """The stored decisions among these command ids."""

    async def record(self, decisions: Sequence[Decision]) -> Mapping[str, Decision]:
        """Store the decisions, insert-only, in order, up to one that somebody had made before: that is returned.

        A decision rests on those before it in the batch, so it mustn't be stored where one of them was decided
        otherwise: what follows the returned one was not stored.
        """

    async def reserve(self, reservations: Sequence[Reservation]) -> Mapping[str, str]:
        """Take each address (each is there once) unless somebody else holds it; returns who holds each.

        Whoever holds it already holds it from here on as of this `seq`, unless that is lower than before.
        """

    async def release(self, reservations: Sequence[Reservation]) -> None:
        """Let go of each address that its user holds as of this `seq` or a lower one; of others nothing."""

    async def keep_secrets(self, secrets: Sequence[Secret]) -> None:
        """Keep each password (each user is there once) unless the stored one's `seq` is as high."""

    async def load(self, refs: Collection[Ref]) -> Snapshot:
        """The documents of these names; those that don't exist are absent."""

    async def save(self, documents: Iterable[AnyDocument], *, new: Collection[Ref] = ()) -> None:
        """Write each document unless the stored one's `seq` is as high.

        `new` names those that weren't there when they were last looked for: a hint, of which nothing but speed depends.
        With a deleted message its texts go from the decisions that have given it any.
        """

    async def add_notifications(self, notifications: Sequence[AddNotification]) -> None:
        """Insert each notification unless it is there."""

    async def mark_notifications_read(self, marks: Sequence[MarkNotificationsRead]) -> None:
        """Mark them read; the first mark stays."""

    async def mark_notifications_seen(self, marks: Sequence[MarkNotificationsSeen]) -> None:
        """Move each user's mark forward: what is up to it was seen."""
