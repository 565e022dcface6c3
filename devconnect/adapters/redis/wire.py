"""The gateway's way to a single Redis: one connection for all calls, made again whenever it is lost."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from redis.exceptions import RedisError

from devconnect.adapters.redis.address import Address
from devconnect.adapters.redis.line import AnyCommand, Command, Line
from devconnect.ports.truth import UnavailableError

logger = logging.getLogger(__name__)

#: Seconds that a call may take, and that making a connection may take.
DEADLINE = 0.2
CONNECT = 0.5
#: Seconds between tries to connect: doubling from the first to the last, with jitter. The first is made at once, unless
#: the connection that was lost hadn't lasted for `STEADY`.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0
STEADY = 1.0


class Follower(Protocol):
    """Who keeps what was read, and is told what of it is no longer true, in the one order of answers and changes."""

    def opened(self) -> None:
        """There is a new connection: the server tells what changes of what is read on it from now on."""

    def invalidated(self, keys: Sequence[str] | None) -> None:
        """These keys have changed, or all (None)."""

    def lost(self) -> None:
        """Nothing more is told of what was read so far. Called before any caller hears that the connection is gone."""


class Wire:
    """One pipelined RESP3 connection to a Redis or Valkey, from version 6 on; not for a cluster.

    It is made when it is first needed, in the background, and again when it is lost. While there is none, calls fail at
    once (only the very first wait for it); a call that isn't answered within `deadline` seconds fails, and takes the
    connection with it: a server that hangs must not hold up anybody else. Failing is UnavailableError; whether the call
    was carried out isn't known then. One event loop, one wire.
    """

    def __init__(self, url: str, *, deadline: float = DEADLINE, connect_timeout: float = CONNECT) -> None:
        """Nothing is sent yet. ValueError for an address that is none."""
        self._address = Address.parse(url)
        self._deadline = deadline
        self._connect_timeout = connect_timeout
        self._follower: Follower | None = None
        self._line: Line | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._closed = False
        self._why = "not connected"
        #: Grows with each connection, and with each loss.
        self.generation = 0
        #: Since when nothing is known of the server (time.monotonic); None while something is, and at first.
        self._silent_since: float | None = None
        #: Seconds for which that was so before the connection that there is.
        self.away = 0.0

    @property
    def proven(self) -> float:
        """All that the server had to tell by then (time.monotonic) was told; long ago while there is no connection."""
        return self._line.proven if self._line is not None else float("-inf")

    def follow(self, follower: Follower) -> None:
        """Have one follower told of changes; to be called before the first call."""
        if self._follower is not None or self._keeper is not None:
            raise RuntimeError("a wire has one follower, who comes before its first call")
        self._follower = follower

    def start(self) -> None:
        """Begin to connect, in the running loop; the first call does so too."""
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(self._keep_up(), name="redis-wire")

    def ask(self, commands: Sequence[AnyCommand], *, raw: bool = False) -> Awaitable[list[Any]]:
        """The answers, in order, error replies among them as exceptions of redis-py; `raw`: bytes in place of texts."""
        line = self._line
        return self._ask_first(commands, raw=raw) if line is None else line.send(commands, raw=raw)

    async def _ask_first(self, commands: Sequence[AnyCommand], *, raw: bool) -> list[Any]:
        line = await self._first()
        return await line.send(commands, raw=raw)

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """The same for who doesn't wait; UnavailableError at once where there is no connection."""
        if self._line is None:
            raise UnavailableError(f"Redis: {self._why}")
        return self._line.send(commands)

    async def script_load(self, source: str) -> Any:
        """Give the server a script; its digest."""
        return await self._one(("SCRIPT", "LOAD", source))

    async def script_exists(self, sha: str) -> list[bool]:
        """Whether it has the script, in a list, as redis-py says it."""
        return [bool(there) for there in await self._one(("SCRIPT", "EXISTS", sha))]

    async def aclose(self) -> None:
        """Close the connection, for good; what was called fails."""
        self._closed, self._why = True, "closed"
        self._tried.set()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._line is not None:
            self._line.drop("closed")

    async def _one(self, command: Command) -> Any:
        [answer] = await self.ask([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _first(self) -> Line:
        """The connection, if the first try to make it is still under way and succeeds within the deadline of a call."""
        self.start()
        if not self._tried.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._deadline):
                    await self._tried.wait()
        if self._line is None:
            raise UnavailableError(f"Redis: {self._why}")
        return self._line

    async def _keep_up(self) -> None:
        """Connect for ever."""
        pause = FIRST_PAUSE
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            tried = time.monotonic()
            try:
                line = await self._connect()
                self._open(line)
                self._tried.set()
                await line.gone.wait()
            except (OSError, UnavailableError, RedisError) as error:
                self._silent_since = tried if self._silent_since is None else self._silent_since
                self._failed(str(error) or "it doesn't answer")
            except Exception:
                logger.exception("Redis can't be connected to")
            self._tried.set()
            if now() - began >= STEADY:
                pause = FIRST_PAUSE
                continue
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _connect(self) -> Line:
        line = Line(deadline=self._deadline, pushed=self._pushed, lost=self._lost)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._address.connect(lambda: line)
                for answer in await line.send(self._address.greeting(track=self._follower is not None)):
                    if isinstance(answer, Exception):
                        raise answer
        except BaseException:
            line.drop("it could not be greeted")
            raise
        return line

    def _open(self, line: Line) -> None:
        if line.over is not None:
            raise UnavailableError(line.over)
        if self._why not in ("not connected", ""):
            logger.info("Redis is there again")
        self._why = ""
        self._line = line
        self.generation += 1
        self.away = 0.0 if self._silent_since is None else time.monotonic() - self._silent_since
        self._silent_since = None
        if self._follower is not None:
            self._follower.opened()

    def _failed(self, why: str) -> None:
        why = why.removeprefix("Redis: ")
        if self._why in ("not connected", ""):
            logger.warning("Redis can't be had until it is connected to again: %s", why)
        self._why = why

    def _lost(self, line: Line, why: str) -> None:
        """Called by a connection that is over, before its callers hear of it."""
        if line is not self._line:
            return
        self._line = None
        self.generation += 1
        self._silent_since = line.proven
        if self._follower is not None:
            self._follower.lost()
        if not self._closed:
            self._failed(why)

    def _pushed(self, push: list[Any]) -> None:
        kind, *rest = push
        if self._follower is None or _text(kind) != "invalidate":
            return
        [names] = rest
        self._follower.invalidated(None if names is None else [_text(name) for name in names])


def _text(name: str | bytes) -> str:
    """A push among the answers to a raw call is raw too."""
    return name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
