"""What people are told, on all of their sockets that are here: live, and without a gap after whatever was missed.

For each person with sockets there is one follower. What is heard live goes out at once if it follows what went out
before; otherwise, and whenever the inbox turns out to be further, what lies between is read from the stores.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from devconnect.domain.inbox import Item, written
from devconnect.ports.clock import Clock
from devconnect.ports.freshness import Freshness
from devconnect.ports.inbox import Found, Inbox, Live
from devconnect.ports.metrics import INBOX_CAUGHT_UP, Metrics
from devconnect.ports.truth import UnavailableError
from web.realtime.followers import STATE, Follower, Outlet, Standing, live_frame, send_all
from web.realtime.frames import Frame, encode_event

logger = logging.getLogger(__name__)

#: Seconds in which every inbox is looked at once: what nobody was told of comes to light as late as that.
ROUND = 5.0
#: Looks in that time.
SHARES = 10
#: Inboxes that are caught up with at a time.
AT_ONCE = 32
#: Seconds for which a store may be behind what was heard live.
PATIENCE = 2.0
#: Milliseconds that go twice to who begins without a cursor: what they read meanwhile may be older than what is told.
OVERLAP_MS = 60_000


class _Said(Struct):
    at: int


class Hub:
    """All followers. `start` it in a running loop, `stop` it at the end."""

    def __init__(self, inbox: Inbox, live: Live, *, freshness: Freshness, clock: Clock, metrics: Metrics) -> None:
        self._inbox, self._live = inbox, live
        self._freshness, self._clock = freshness, clock
        self._followers: dict[str, Follower] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._caught_up = metrics.counter(INBOX_CAUGHT_UP)
        self._whole = False
        live.on_heard(self._heard_again)

    def start(self) -> None:
        """Look after the inboxes from now on."""
        self._spawn(self._look_after())

    async def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._followers)

    async def attach(self, socket: Outlet, user: str, since: tuple[int, int] | None) -> None:
        """Tell a socket what follows `since` (epoch and cursor; None: what is new), then all that comes.

        Raises UnavailableError when no store can be asked.
        """
        follower = self._followers.get(user)
        if follower is None:
            follower = self._followers[user] = Follower()
        follower.joining += 1
        try:
            async with follower.lock:
                if not follower.listens:
                    # Even if it isn't heard yet: it is as soon as anything is, and then looked for.
                    follower.listens = True
                    await self._live.listen(user, lambda item: self._heard(user, follower, item))
            # Not under the lock: a client that is slow to take it keeps no other device waiting.
            await self._join(follower, user, socket, await self._begin(user, socket, since))
        finally:
            follower.joining -= 1
            self._let_go(user, follower)

    def detach(self, socket: Outlet, user: str) -> None:
        """Tell it nothing more."""
        follower = self._followers.get(user)
        if follower is not None:
            follower.sockets.discard(socket)
            self._let_go(user, follower)

    def _let_go(self, user: str, follower: Follower) -> None:
        if not follower.sockets and not follower.joining and self._followers.get(user) is follower:
            del self._followers[user]
            self._live.forget([user])

    # -- one socket

    async def _join(self, follower: Follower, user: str, socket: Outlet, begun: tuple[int, int, bool]) -> None:
        """Bring the socket to where the others are, or them to where it is: it is one of them once they are level.

        `begun` is what `_begin` gave.
        """
        epoch, cursor, is_live = begun
        deadline = self._now() + PATIENCE
        while not socket.closed:
            async with follower.lock:
                is_level, is_whole = await self._level(follower, user, epoch, cursor)
                if is_level and not socket.closed:
                    self._add(follower, socket, is_live)
                    return
            found = await self._inbox.after(user, cursor, epoch)
            if not is_whole or not found.complete or self._now() > deadline:
                # A store is behind what was heard. The client comes back, and asks again.
                socket.close("behind")
                return
            if found.items:
                cursor = await send_all(socket, found.items, cursor)
                deadline = self._now() + PATIENCE
            else:
                await asyncio.sleep(0.05)

    async def _level(self, follower: Follower, user: str, epoch: int, cursor: int) -> tuple[bool, bool]:
        """Whether the others are there, or there are none and nothing follows; and whether that can come to be."""
        place = epoch, cursor
        if not follower.sockets:
            # What was said before there was anybody to tell it to.
            found = await self._inbox.after(user, cursor, epoch)
            if found.complete and not found.items:
                follower.epoch, follower.cursor = place
            return found.complete and not found.items, found.complete
        if place > follower.place:
            await self._advance(follower, user)
        return place == follower.place, True

    def _add(self, follower: Follower, socket: Outlet, is_live: bool) -> None:
        """`is_live` is what it was told of that."""
        self._note_whole()
        if self._whole != is_live:
            socket.send(live_frame(self._whole))
        follower.sockets.add(socket)

    async def _begin(self, user: str, socket: Outlet, since: tuple[int, int] | None) -> tuple[int, int, bool]:
        """Tell the socket what it has missed; gives how far that is, and whether it was told that it hears at once."""
        if since is None:
            found = await self._inbox.newest(user)
        else:
            found = await self._inbox.after(user, since[1], since[0])
        items = found.items if found.complete else self._recent(found.items)
        cursor = since[1] if since is not None and found.complete else _start(found, items)
        socket.send(self._standing(found, cursor))
        is_live = self._whole
        while True:
            cursor = await send_all(socket, items, cursor)
            if socket.closed:
                return found.epoch, cursor, is_live
            more = await self._inbox.after(user, cursor, found.epoch)
            if not more.items or not more.complete:
                return found.epoch, cursor, is_live
            items = more.items

    def _standing(self, found: Found, cursor: int) -> Frame:
        self._note_whole()
        state = () if found.complete else STATE
        standing = Standing(found.complete, written(found.epoch, cursor), self._whole, state)
        return encode_event("inbox", msgspec.json.encode(standing))

    def _recent(self, items: Sequence[Item]) -> Sequence[Item]:
        """What may not be in what the client reads yet."""
        now = self._clock.now_ms()
        since = min(now - OVERLAP_MS, self._freshness.as_of() or now)
        for index, item in enumerate(items):
            if msgspec.json.decode(item.text, type=_Said).at >= since:
                return items[index:]
        return ()

    # -- all sockets of a person

    def _heard(self, user: str, follower: Follower, item: Item) -> None:
        if item.cursor == 0:
            follower.tell(encode_event(item.kind, item.text))
        elif follower.cursor is None or follower.lock.locked():
            self._catch_up_soon(user, follower)
        elif item.cursor > follower.cursor:
            if item.previous != follower.cursor:
                # Something lies between; or the log is another one, which the stores know.
                self._catch_up_soon(user, follower)
                return
            follower.cursor = item.cursor
            follower.tell(encode_event(item.kind, item.text))

    def _catch_up_soon(self, user: str, follower: Follower) -> None:
        if not follower.behind:
            follower.behind = True
            self._spawn(self._catch_up(user, follower))

    async def _catch_up(self, user: str, follower: Follower) -> None:
        try:
            async with self._gate, follower.lock:
                follower.behind = False
                await self._advance(follower, user)
        except UnavailableError as error:
            # The next round finds that it is behind; if that can't be known, it looks once more.
            follower.unheld = 0
            logger.warning("an inbox can't be caught up with: %s", error)

    async def _advance(self, follower: Follower, user: str) -> None:
        """Tell the sockets what the stores have beyond what they were told."""
        if follower.cursor is None or not follower.sockets:
            return
        while True:
            found = await self._inbox.after(user, follower.cursor, follower.epoch)
            if not found.complete:
                start = _start(found, found.items)
                follower.tell(self._standing(found, start))
                follower.epoch, follower.cursor = found.epoch, start
            if not found.items:
                return
            for item in found.items:
                follower.tell(encode_event(item.kind, item.text))
            follower.cursor = found.items[-1].cursor
            self._caught_up()

    # -- what nobody was told of

    async def _look_after(self) -> None:
        """Look at each inbox once a round; say when what happens is not heard at once."""
        while True:
            for share in range(SHARES):
                await asyncio.sleep(ROUND / SHARES)
                self._note_whole()
                users = list(self._followers)[share::SHARES]
                try:
                    await self._look(users)
                except UnavailableError:
                    continue  # whoever reads notices, and the deaf are said to be so
                except Exception:
                    logger.exception("inboxes can't be looked at")

    async def _look(self, users: Sequence[str]) -> None:
        heads = await self._inbox.heads(users) if users else []
        for user, head in zip(users, heads, strict=True):
            follower = self._followers.get(user)
            if follower is None or follower.cursor is None:
                continue
            follower.unheld = follower.unheld + 1 if head is None else 0
            # What isn't held may be kept, and even that later than this: it is asked for, but less and less often.
            is_due = follower.unheld.bit_count() == 1 if head is None else head != follower.cursor
            if is_due:
                self._catch_up_soon(user, follower)

    def _heard_again(self) -> None:
        """The connection is there (again): look for what was said meanwhile."""
        for user, follower in list(self._followers.items()):
            follower.unheld = 0
            if follower.cursor is not None:
                self._catch_up_soon(user, follower)

    def _note_whole(self) -> None:
        """Say whether what happens is heard at once, where that has changed."""
        if self._whole == self._live.healthy:
            return
        self._whole = not self._whole
        frame = live_frame(self._whole)
        for follower in self._followers.values():
            follower.tell(frame)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _start(found: Found, items: Sequence[Item]) -> int:
    """The cursor before the first of these, or the last there is."""
    return items[0].previous if items else found.items[-1].cursor if found.items else found.head
