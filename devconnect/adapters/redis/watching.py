"""ports.roster.Watching on Redis: hints on channels, and then one look at all that may have changed."""

import asyncio
import heapq
import logging
import time
from collections.abc import Iterable, Sequence, Set
from contextlib import suppress
from itertools import islice

from devconnect.adapters.redis import keys, presence
from devconnect.adapters.redis.calls import Client, Command, ended, run
from devconnect.adapters.redis.channels import Channels
from devconnect.ports import metrics as m
from devconnect.ports.metrics import Metrics, NoMetrics
from devconnect.ports.reads import PresenceView
from devconnect.ports.roster import Told
from devconnect.ports.truth import UnavailableError

logger = logging.getLogger(__name__)

#: Seconds in which changes gather before one look at all of them; and until a look that failed is tried again.
PAUSE = 0.2
RETRY = 1.0
#: People of one look, and watchers of one person who are told before others have their turn.
CHUNK = 200
TURN = 500


class Watching:
    """Tells those who watch what has changed for them. `start` it, `stop` it at the end.

    Whether somebody may see a person is looked up when there is something to tell, and not when they began to watch:
    who may not (any more) sees them offline, and is told nothing more until they may. Nobody is told what they were
    told last.
    """

    def __init__(self, client: Client, channels: Channels, *, metrics: Metrics | None = None) -> None:
        """The channels are started and stopped by whoever made them."""
        self._client = client
        self._channels = channels
        self._metrics = metrics or NoMetrics()
        self._watched: dict[str, _Watched] = {}
        self._changed: dict[str, None] = {}
        self._woken = asyncio.Event()
        #: (until, user): whose device's lease runs out then, of which nobody tells.
        self._ends: list[tuple[int, str]] = []
        self._task: asyncio.Task[None] | None = None
        channels.on_heard(self._look_at_all)

    def __len__(self) -> int:
        """People who are watched."""
        return len(self._watched)

    async def start(self) -> None:
        """Tell what changes from now on."""
        self._task = asyncio.create_task(self._look_for_ever(), name="watching")

    async def stop(self) -> None:
        """Tell nothing more."""
        if self._task is not None:
            await ended(self._task)

    def watcher(self, reader: str, told: Told) -> "Watcher":
        """A new watcher, who reads for this user and watches nobody yet."""
        return Watcher(self, reader, told)

    # -- what watchers call

    async def begin(self, watcher: "Watcher", users: Sequence[str]) -> None:
        """Have them told of these people, none of whom they watch: all that changes from its return on."""
        for user in users:
            self._watched.setdefault(user, _Watched()).watchers[watcher] = None
        # Of those who are watched already too: they may be on their way to be heard only.
        if users:
            await self._channels.subscribe([keys.watched(user) for user in users], self._heard)

    def end(self, watcher: "Watcher", users: Iterable[str]) -> None:
        """No more of these people."""
        unwatched = []
        for user in users:
            watched = self._watched.get(user)
            if watched is None or watcher not in watched.watchers:
                continue
            del watched.watchers[watcher]
            if not watched.watchers:
                del self._watched[user]
                unwatched.append(user)
        if unwatched:
            self._channels.unsubscribe([keys.watched(user) for user in unwatched])

    async def see(self, watcher: "Watcher", users: Sequence[str]) -> list[PresenceView]:
        """These people as the watcher may see them now; what has changed meanwhile is looked at again."""
        before = {user: self._version(user) for user in users}
        found = await run(self._client, [each for user in users for each in _look_commands(user, [watcher.reader])])
        views = []
        for user, online, (standing,) in zip(users, found[::2], found[1::2], strict=True):
            self._note_end(user, online)
            views.append(presence.seen(user, watcher.reader, online, standing, _now()))
            if self._version(user) != before[user]:
                self._note(user)
        return views

    # -- what is heard

    def _heard(self, channel: str, _: bytes) -> None:
        self._note(channel[len(_BEFORE) : -len(_AFTER)])

    def _look_at_all(self) -> None:
        """What was said while nothing was heard is lost."""
        for user in self._watched:
            self._note(user)

    def _note(self, user: str) -> None:
        watched = self._watched.get(user)
        if watched is not None:
            watched.version += 1
            self._changed[user] = None
            self._woken.set()

    def _version(self, user: str) -> int:
        watched = self._watched.get(user)
        return -1 if watched is None else watched.version

    def _note_end(self, user: str, online: str | None) -> None:
        """Remember when the presence ends by itself."""
        watched = self._watched.get(user)
        until = int(online.partition(":")[0]) if online else 0
        if watched is not None and until > _now() and watched.until != until:
            watched.until = until
            heapq.heappush(self._ends, (until, user))
            if len(self._ends) > 2 * len(self._watched) + CHUNK:
                # Most are of people who were let go of, and may have been taken up again.
                self._ends = [(each.until, name) for name, each in self._watched.items() if each.until]
                heapq.heapify(self._ends)

    # -- looks

    async def _look_for_ever(self) -> None:
        pause = PAUSE
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY):
                    await self._woken.wait()
            self._woken.clear()
            await asyncio.sleep(pause)
            try:
                pause = PAUSE
                self._note_ended()
                await self._look()
            except UnavailableError:
                pause = RETRY
                self._woken.set()
            except Exception:
                logger.exception("presence can't be told")

    def _note_ended(self) -> None:
        """Look at those whose leases have run out."""
        now = _now()
        while self._ends and self._ends[0][0] <= now:
            until, user = heapq.heappop(self._ends)
            watched = self._watched.get(user)
            if watched is not None and watched.until == until:
                self._note(user)

    async def _look(self) -> None:
        """At all of whom something has changed; whom that fails for, and of whom more is heard, in the next look."""
        changed, self._changed = self._changed, {}
        try:
            while users := list(islice(changed, CHUNK)):
                await self._look_at([user for user in users if user in self._watched])
                for user in users:
                    del changed[user]
        finally:
            self._changed = {**changed, **self._changed}

    async def _look_at(self, users: Sequence[str]) -> None:
        readers = [list(dict.fromkeys(each.reader for each in self._watched[user].watchers)) for user in users]
        commands = [each for user, asked in zip(users, readers, strict=True) for each in _look_commands(user, asked)]
        found = await run(self._client, commands) if commands else []
        self._metrics.count(m.WATCH_LOOKS, by=len(users))
        news: dict[Watcher, list[PresenceView]] = {}
        for user, asked, online, standings in zip(users, readers, found[::2], found[1::2], strict=True):
            self._note_end(user, online)
            await self._compare(user, online, dict(zip(asked, standings, strict=True)), news)
        for watcher, views in news.items():
            watcher.tell(views)
        self._metrics.count(m.WATCH_TOLD, by=sum(map(len, news.values())))

    async def _compare(
        self,
        user: str,
        online: str | None,
        standings: dict[str, str | None],
        news: "dict[Watcher, list[PresenceView]]",
    ) -> None:
        """Add what is new to each watcher of this person."""
        watched = self._watched.get(user)
        for number, watcher in enumerate(list(watched.watchers) if watched else (), 1):
            # Who has come since we asked has asked by themselves.
            if watcher.reader in standings:
                view = presence.seen(user, watcher.reader, online, standings[watcher.reader], _now())
                if watcher.differs(view):
                    news.setdefault(watcher, []).append(view)
            if number % TURN == 0:
                await asyncio.sleep(0)


class Watcher:
    """ports.roster.Watcher."""

    def __init__(self, watching: Watching, reader: str, told: Told) -> None:
        self.reader = reader
        self._watching = watching
        self._told = told
        #: What was told last of each who is watched; None while they are looked at for the first time.
        self._last: dict[str, PresenceView | None] = {}

    @property
    def watched(self) -> Set[str]:
        """Of whom it is told."""
        return self._last.keys()

    async def add(self, users: Sequence[str]) -> list[PresenceView]:
        """These people as the reader may see them; from here on what changes of it is told."""
        new = [user for user in dict.fromkeys(users) if user not in self._last]
        self._last.update(dict.fromkeys(new))
        try:
            await self._watching.begin(self, new)
            views = await self._watching.see(self, users)
        except BaseException:
            self.remove(new)
            raise
        for view in views:
            if view.user in self._last:
                self._last[view.user] = view
        return views

    def remove(self, users: Sequence[str]) -> None:
        """Nothing more is told of them."""
        for user in users:
            self._last.pop(user, None)
        self._watching.end(self, users)

    def close(self) -> None:
        """Nothing more is told."""
        self.remove(list(self._last))

    def differs(self, view: PresenceView) -> bool:
        """Whether it is news; nothing is before the first look is answered."""
        last = self._last.get(view.user)
        return last is not None and (view.online != last.online or (not view.online and view != last))

    def tell(self, views: Sequence[PresenceView]) -> None:
        """Of those who are still watched."""
        views = [view for view in views if view.user in self._last]
        self._last.update((view.user, view) for view in views)
        try:
            if views:
                self._told(views)
        except Exception:
            logger.exception("a watcher can't be told")


class _Watched:
    """Somebody who is watched: by whom, how often something was heard of them, and when their presence ends."""

    def __init__(self) -> None:
        self.watchers: dict[Watcher, None] = {}
        self.version = 0
        self.until = 0


_BEFORE, _AFTER = keys.watched("\0").split("\0")


def _look_commands(user: str, readers: Sequence[str]) -> tuple[Command, Command]:
    return ("GET", keys.online(user)), ("HMGET", keys.relations(user), *readers)


def _now() -> int:
    return time.time_ns() // 1_000_000
