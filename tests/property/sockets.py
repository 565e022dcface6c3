"""The hub's world in memory: time that is moved, inboxes that fail and lag, a line that is lost, and sockets that look
at each frame whether it is the one that was due."""

import asyncio
import selectors
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import msgspec
from msgspec import Raw

from agents.inbox import FillInboxes
from agents.slices import Slice
from devconnect.adapters.inboxes import Inboxes
from devconnect.domain.inbox import Item, read_cursor
from devconnect.events.inbox import InboxEntry
from devconnect.events.topics import INBOX_EVENTS
from devconnect.ports.freshness import Freshness
from devconnect.ports.inbox import Heard, Kept, Live
from devconnect.ports.metrics import NoMetrics
from devconnect.ports.truth import UnavailableError
from tests.fakes import ManualClock, MemoryRecord
from tests.inbox_fakes import MemoryFar, MemoryInboxFeed, MemoryNear
from web.realtime.frames import Frame, text_of
from web.realtime.hub import ROUND, Hub

START = 1_700_000_000_000


class Loop(asyncio.SelectorEventLoop):
    """Goes on until a time that it is given; nothing takes any but what waits for it."""

    def __init__(self) -> None:
        super().__init__(_Selector(self))
        self.now = self.until = 0.0

    def time(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """All that happens in this time."""
        self.until = self.now + seconds
        self.run_forever()
        self.now = self.until


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or self._loop.now + timeout > self._loop.until:
            self._loop.stop()
        else:
            self._loop.now += timeout
        return super().select(0)


class Trouble:
    """How often calls fail, of a hundred, and how long they take."""

    def __init__(self) -> None:
        self.random = Random(0)
        self.failing = 0
        self.slow = 0

    async def pass_by(self) -> None:
        """A call's way there, or back."""
        if self.random.randrange(100) < self.slow:
            await asyncio.sleep(self.random.choice((0.0, 0.001, 0.02, 0.3)))
        if self.random.randrange(100) < self.failing:
            raise UnavailableError("now and then")


class Shaky:
    """A store whose calls take time, and fail before or after they are done."""

    def __init__(self, store: Any, trouble: Trouble) -> None:
        self._store, self._trouble = store, trouble

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            await self._trouble.pass_by()
            found = await getattr(self._store, name)(*args)
            await self._trouble.pass_by()
            return found

        return call


class Line(Live):
    """What is said is heard a little later, unless the line is lost meanwhile. What was lost may come after all."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._healthy = True
        self._calls: list[Callable[[], None]] = []
        self.listeners: dict[str, Heard] = {}
        #: What is under way, and what came too late, or was heard already.
        self.waiting: list[tuple[str, Item]] = []
        self.stale: list[tuple[str, Item]] = []
        self.forgotten: list[str] = []

    @property
    def healthy(self) -> bool:
        return self._healthy

    def on_heard(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    async def listen(self, user: str, heard: Heard) -> bool:
        with suppress(UnavailableError):
            await self._trouble.pass_by()
        self.listeners[user] = heard
        with suppress(UnavailableError):
            await self._trouble.pass_by()
        return self._healthy

    def forget(self, users: Sequence[str]) -> None:
        self.forgotten += users
        for user in users:
            self.listeners.pop(user, None)

    def say(self, user: str, item: Item) -> None:
        """It is published: heard by whom who listens by now."""
        if self._healthy and user in self.listeners:
            self.waiting.append((user, item))

    def deliver(self, many: int) -> None:
        """The next few are heard."""
        for user, item in self.waiting[:many]:
            if user in self.listeners:
                self.listeners[user](item)
        self.stale += self.waiting[:many]
        del self.waiting[:many]

    def haunt(self, number: int) -> None:
        """Something is heard again, or out of its turn."""
        if self.stale:
            user, item = self.stale[number % len(self.stale)]
            if user in self.listeners:
                self.listeners[user](item)

    def lose(self) -> None:
        """The connection is gone, and what was under way with it."""
        self._healthy = False
        self.stale += self.waiting
        self.waiting.clear()

    def come_back(self) -> None:
        """There is another one."""
        if not self._healthy:
            self._healthy = True
            for call in self._calls:
                call()


class Post:
    """The inboxes as their worker fills them: first what is fast, and heard, then what is slow."""

    def __init__(self, line: Line, users: Sequence[str]) -> None:
        self.near, self.far = MemoryNear(most=6), MemoryFar()
        self.near.listeners = {user: lambda item, user=user: line.say(user, item) for user in users}
        #: Every entry of an inbox, in order; and the last of it that nobody keeps any more.
        self.written: dict[str, list[Item]] = {user: [] for user in users}
        self.expired = dict.fromkeys(users, 0)
        self._log: list[InboxEntry] = []
        self._seq = 0
        self._done, self._epoch = 0, 1
        self._feed = MemoryInboxFeed(self.near)
        self._unkept: list[Kept] = []

    def put(self, users: Sequence[str], gap: int) -> None:
        """An entry for each, at the end of the log and, some offsets later, in their inboxes."""
        self._work()
        self.keep()
        for user in users:
            seq = self._seq + len(self._log) + 1
            place = {"recipient": user, "source": "m0", "seq": seq, "id": f"e{seq}", "at": START + seq}
            self._log.append(InboxEntry(**place, kind="message", data=Raw(b'"%s"' % (b"x" * 9_000))))
            for number in range(gap):
                self._log.append(InboxEntry(**{**place, "recipient": f"n{number}"}, kind="message", data=Raw(b"0")))
        self._work()

    def keep(self) -> None:
        """The slow store has caught up."""
        self._run(self.far.keep(self._unkept))
        self._unkept = []

    def wipe(self) -> None:
        """The fast store was started anew."""
        self.near.wipe()

    def refill(self) -> None:
        """The worker does what it hasn't finished once more: where the fast store has lost it, it is there again."""
        self._done -= len({each.placed.cursor for each in self._unkept})
        self._unkept = []
        self._work()

    def begin_anew(self) -> None:
        """The log is lost, and another one begins; what is in it is newer than all that was in the old one."""
        self._work()
        self.keep()
        self._seq += len(self._log)
        self._log, self._done, self._epoch = [], 0, self._epoch + 1
        self.written = {user: [] for user in self.written}

    @property
    def epoch(self) -> int:
        """Which log it is."""
        return self._epoch

    def expire(self, user: str, many: int) -> None:
        """The oldest are kept no more, and held no more."""
        kept = [(key, each.item) for key, each in self.far.entries.items() if key[0] == user]
        for key, item in kept[:many]:
            del self.far.entries[key]
            self.expired[user] = item.cursor
        held = self.near.held.get(user)
        if held is not None:
            held.items = [item for item in held.items if item.cursor > self.expired[user]]

    def _work(self) -> None:
        """What the log has beyond what is done goes into the fast store."""
        entries = self._log[self._done :]
        records = [MemoryRecord(self._done + number, None, None) for number in range(len(entries))]
        store = _Later(self.far)
        agent = FillInboxes(self._feed, store, NoMetrics())
        self._run(agent.apply([Slice(INBOX_EVENTS.name, 0, records, entries)]))
        self._done = len(self._log)
        self._unkept += store.kept
        for each in store.kept:
            written = self.written.get(each.placed.entry.recipient)
            if written is not None and (not written or written[-1].cursor < each.placed.cursor):
                entry = each.placed.entry
                written.append(Item(each.placed.cursor, each.previous, entry.kind, each.text.encode()))

    @staticmethod
    def _run(work: Any) -> None:
        """These wait for nothing."""
        with suppress(StopIteration):
            work.send(None)


class _Later:
    """Notes what is to be kept."""

    def __init__(self, far: MemoryFar) -> None:
        self._far = far
        self.kept: list[Kept] = []

    async def heads(self, users: Any) -> Any:
        return await self._far.heads(users)

    async def renew(self, users: Any) -> None:
        await self._far.renew(users)

    async def keep(self, kept: Sequence[Kept]) -> None:
        self.kept += kept


class Ear:
    """A socket. Whatever it is told must be the very next thing."""

    def __init__(self, house: "House", user: str, since: int | None) -> None:
        self.house, self.user, self.since = house, user, since
        self.closed = self.detached = self.attached = False
        self.reason = ""
        #: How far it was told; None before the event `inbox`.
        self.cursor: int | None = None
        self.told = 0
        #: Of its cursor, and of what it was told.
        self.epoch = self._epoch = house.post.epoch
        #: Event and data, in order.
        self.heard: list[tuple[str, Any]] = []
        #: Whether it was told that it hears at once.
        self.live: bool | None = None

    def send(self, frame: Frame) -> None:
        try:
            self._take(frame)
        except AssertionError as error:
            # Whoever has sent it isn't to learn of it, but the test is.
            self.house.errors.append(error)

    def _take(self, frame: Frame) -> None:
        assert not (self.detached and self.attached), "told after it was detached"
        if self.closed:
            return
        name, data = msgspec.json.decode(text_of(frame)[2:])
        self.heard.append((name, data))
        if name == "inbox":
            self._begin(data)
        elif name == "live":
            assert self.cursor is not None
            self.live = data["live"]
        else:
            self._hear(data)

    def _begin(self, data: Any) -> None:
        epoch, cursor = read_cursor(data["cursor"]) or (0, 0)
        is_other, self._epoch = epoch != self._epoch, epoch
        if data["recovered"]:
            assert not is_other
            assert (self.cursor, cursor) == (None, self.since)
            assert not data["state"]
        else:
            before = self.since if self.cursor is None else self.cursor
            written, expired = self.house.post.written[self.user], self.house.post.expired[self.user]
            is_lost = is_other or before is None or any(before < item.cursor <= expired for item in written)
            assert is_lost, f"nothing is lost after {before}"
            assert data["state"]
        self.cursor, self.live = cursor, data["live"]

    def _hear(self, data: Any) -> None:
        cursor, (epoch, told) = self.cursor, read_cursor(data["cursor"]) or (0, 0)
        assert epoch == self._epoch, "told of another log"
        assert cursor is not None, "told of something before it was told what it gets"
        due = next((item.cursor for item in self.house.post.written[self.user] if item.cursor > cursor), None)
        assert told == due, f"told of {told} after {cursor}, when {due} was due"
        self.cursor = told
        self.told += 1

    async def flush(self) -> None:
        with suppress(UnavailableError):
            await self.house.trouble.pass_by()

    def close(self, reason: str) -> None:
        assert reason == "behind"
        self.closed, self.reason = True, reason
        self.house.loop.call_soon(self.leave)

    def leave(self) -> None:
        """It is gone, however that came."""
        self.closed = self.detached = True
        self.house.hub.detach(self, self.user)


class _Fresh(Freshness):
    """Always."""

    def age(self) -> float:
        return 0.0

    def current(self) -> bool:
        return True

    async def applied(self, topic: str, partition: int) -> int | None:
        return 2**53

    async def wait(self, topic: str, partition: int, seq: int, seconds: float) -> bool:
        return True

    def as_of(self, partition: int | None = None, topic: str | None = None) -> int:
        return START


class House:
    """A hub that runs, and who comes."""

    def __init__(self, users: Sequence[str]) -> None:
        self.loop = Loop()
        self.trouble = Trouble()
        self.line = Line(self.trouble)
        self.post = Post(self.line, users)
        self.ears: list[Ear] = []
        self.errors: list[Any] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        near: Any = Shaky(self.post.near, self.trouble)
        far: Any = Shaky(self.post.far, self.trouble)
        clock = ManualClock(START)
        self.hub = Hub(Inboxes(near, far), self.line, freshness=_Fresh(), clock=clock, metrics=NoMetrics())
        self.within(self.hub.start)

    def within(self, work: Callable[[], Any]) -> None:
        """Do it in the loop, and what can be done at once of what follows."""
        self.loop.call_soon(work)
        self.loop.advance(0)

    def come(self, user: str, since: int | None, epoch: int | None = None) -> Ear:
        """Somebody opens a socket."""
        ear = Ear(self, user, since)
        ear.epoch = ear._epoch = epoch or self.post.epoch
        self.ears.append(ear)
        self.within(lambda: self.loop.create_task(self._attach(ear)))
        return ear

    async def _attach(self, ear: Ear) -> None:
        try:
            await self.hub.attach(ear, ear.user, None if ear.since is None else (ear.epoch, ear.since))
            ear.attached = True
        except UnavailableError:
            ear.close("behind")

    @property
    def here(self) -> list[Ear]:
        """Who is."""
        return [ear for ear in self.ears if not ear.closed]

    def calm(self) -> None:
        """Nothing goes wrong any more, and there is time to look at everything."""
        self.trouble.failing = self.trouble.slow = 0
        self.within(self.post.refill)
        self.within(self.post.keep)
        self.within(self.line.come_back)
        self.within(lambda: self.line.deliver(10_000))
        # What isn't held is looked for less and less often: within as long again as it wasn't.
        self.loop.advance(4 * ROUND + self.loop.now)

    def close(self) -> None:
        self.within(lambda: self.loop.create_task(self.hub.stop()))
        self.loop.close()
