"""ports.inbox.Inbox on both stores: what Redis holds, and before that, or without it, what the database keeps."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from devconnect.adapters.mongo.inbox import MongoInboxReads
from devconnect.adapters.redis.inbox import RedisInboxReads
from devconnect.adapters.redis.keys import INBOX_KEPT
from devconnect.domain.inbox import Item, following, newest
from devconnect.ports.inbox import Found
from devconnect.ports.truth import UnavailableError

#: Entries that are read of the database at a time.
PAGE = 500
#: A batch is being written there in any order: times that one is looked for that must be there, and seconds between.
LOOKS, PAUSE = 10, 0.1


class Inboxes:
    """Reads inboxes. Raises UnavailableError when neither store can be asked."""

    def __init__(self, near: RedisInboxReads, far: MongoInboxReads) -> None:
        self._near, self._far = near, far

    async def heads(self, users: Sequence[str]) -> list[int | None]:
        """The last cursor of each as Redis has it; None for what it doesn't hold."""
        return await self._near.heads(users)

    async def after(self, user: str, cursor: int, epoch: int | None = None) -> Found:
        """What follows this cursor, as far as it was found at once: ask again behind the last."""
        near = await self._held(user, cursor)
        if near is not None:
            of, head, held = near
            if epoch is not None and epoch != of:
                return await self.newest(user)
            found = following(held, cursor)
            if found or head == cursor:
                return Found(of, head, found, True)
            if head < cursor:
                return await self._beyond(user, cursor, of)
        for _ in range(LOOKS):
            of, head, kept = await self._far.after(user, cursor, PAGE)
            if epoch is not None and epoch != of:
                return await self.newest(user)
            found = following(kept, cursor)
            if found or (near is None and head <= cursor):
                return Found(of, head, found, True)
            if near is None and not kept:
                break
            await asyncio.sleep(PAUSE)
        return await self.newest(user)

    async def _beyond(self, user: str, cursor: int, epoch: int) -> Found:
        """What follows a cursor that is ahead: of what is just being put there again, or of another person's inbox."""
        for _ in range(LOOKS):
            await asyncio.sleep(PAUSE)
            near = await self._held(user, cursor)
            if near is None or near[0] != epoch or near[1] >= cursor:
                return await self.after(user, cursor, epoch)
        return await self.newest(user)

    async def newest(self, user: str) -> Found:
        """The newest that are kept, one by one: not all that there were."""
        near = await self._held(user, 0)
        if near is not None and near[2]:
            return Found(near[0], near[1], newest(near[2]), False)
        epoch, head, _ = await self._far.after(user, 0, 1)
        kept: list[Item] = await self._far.newest(user, epoch, INBOX_KEPT)
        return Found(epoch, head, newest(kept), False)

    async def _held(self, user: str, cursor: int) -> tuple[int, int, list[Item]] | None:
        with suppress(UnavailableError):
            return await self._near.after(user, cursor)
        return None
