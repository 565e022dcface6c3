"""Pub/Sub: one connection for any number of channels, made again when it is lost, and found out when it is deaf."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

from hiredis import HiredisError, PushNotification, Reader, pack_command
from redis.exceptions import RedisError

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.address import Address
from devconnect.adapters.redis.line import Command, error_of
from devconnect.events.base import new_id
from devconnect.ports.truth import UnavailableError

logger = logging.getLogger(__name__)

#: What is called with the channel's name and what was said on it, in the order in which it was said. It mustn't wait.
Heard = Callable[[str, bytes], None]

#: Seconds of silence until the connection is tried, and then until it counts as deaf.
BEAT = 0.5
#: Seconds that connecting may take, and between tries: doubling from the first to the last, with jitter, and from the
#: first again when the connection has lasted for `STEADY`.
CONNECT = 1.0
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0
STEADY = 1.0
#: Channels of one command.
CHUNK = 1_000

_NOTHING = object()
#: hiredis has it typed as for one word.
_pack: Callable[[Any], bytes] = cast(Any, pack_command)


class Ear(asyncio.Protocol):
    """One connection from its greeting to its loss: it has what is said handed on, and a reply for each command."""

    def __init__(self, said: Callable[[bytes, bytes], None]) -> None:
        self._said = said
        # Names and texts stay bytes: nobody decodes what is only handed on.
        self._reader = Reader(replyError=error_of, notEnoughData=_NOTHING)
        self._replies: list[asyncio.Future[None]] = []
        self._transport: asyncio.Transport | None = None
        self.gone = asyncio.Event()
        self.why = ""
        #: Things said that were heard.
        self.heard = 0

    def send(self, commands: Iterable[Command]) -> asyncio.Future[None]:
        """Done when all that was sent so far is carried out; UnavailableError once the connection is lost."""
        # SUBSCRIBE is answered by pushes alone: a reply to what follows it says that it is done.
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.gone.is_set() or self._transport is None:
            _settle(done, UnavailableError(f"Redis: {self.why}"))
            return done
        self._transport.write(b"".join(map(_pack, (*commands, ("PING",)))))
        self._replies.append(done)
        return done

    def drop(self, why: str) -> None:
        """Lose it: whoever waits for a reply is told so."""
        if self.gone.is_set():
            return
        self.why = why
        self.gone.set()
        if self._transport is not None:
            self._transport.abort()
        replies, self._replies = self._replies, []
        for done in replies:
            _settle(done, UnavailableError(f"Redis: {why}"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Commands can be written."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has gone."""
        self.drop(str(exc or "the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """What is said, and replies between it."""
        reader, said = self._reader, self._said
        reader.feed(data)
        try:
            while not self.gone.is_set() and (reply := reader.gets()) is not _NOTHING:
                if isinstance(reply, PushNotification):
                    if reply[0] == b"message":
                        self.heard += 1
                        said(reply[1], reply[2])
                elif isinstance(reply, Exception):
                    self.drop(str(reply))
                elif reply == b"PONG":
                    _settle(self._replies.pop(0), None)
        except HiredisError as error:
            self.drop(str(error))


class Channels:
    """Hears what is said on channels. `start` it, `stop` it at the end; one event loop.

    What is said while there is no connection, or while it is deaf (1.5 s at most, then it is made again), is lost:
    `on_heard` says when to look for it. A channel has one callback; subscribing again replaces it.
    """

    def __init__(self, address: Address) -> None:
        """A single server, or any node of a cluster: what is published anywhere is heard at every node."""
        self._address = address
        self._own = keys.ear(new_id()).encode()
        self._heard: dict[bytes, tuple[str, Heard]] = {}
        #: What the server was told, on the connection that there is, and what has changed since.
        self._told: set[bytes] = set()
        self._changed: dict[bytes, None] = {}
        self._flushed: asyncio.Future[None] | None = None
        self._ear: Ear | None = None
        self._hearing = asyncio.Event()
        self._on_heard: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._why = ""

    @property
    def healthy(self) -> bool:
        """Whether everything that is said is heard, as far as is known."""
        return self._hearing.is_set()

    def __len__(self) -> int:
        """Channels that are, or will be, subscribed to."""
        return len(self._heard)

    def on_heard(self, callback: Callable[[], None]) -> None:
        """Have it called whenever a connection was made and has all channels: now look what was missed."""
        self._on_heard.append(callback)

    async def start(self, *, within: float = 1.0) -> None:
        """Begin to listen; returns when that is so, or after `within` seconds all the same."""
        self._task = asyncio.create_task(self._keep_up(), name="redis-channels")
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._hearing.wait()

    async def stop(self) -> None:
        """Stop listening, for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._ear is not None:
            self._ear.drop("closed")
        self._hearing.clear()

    async def subscribe(self, names: Sequence[str], callback: Heard) -> bool:
        """Whether all that is said on them from here on is heard.

        False while there is no connection: they are subscribed to when there is one, and `on_heard` says so. The calls
        of a loop turn go out together.
        """
        for name in names:
            key = name.encode()
            self._heard[key] = (name, callback)
            self._changed[key] = None
        try:
            await asyncio.shield(self._flush_soon())
        except UnavailableError:
            return False
        return True

    def unsubscribe(self, names: Sequence[str]) -> None:
        """Hear nothing more of them, from now on."""
        for key in [name.encode() for name in names]:
            if self._heard.pop(key, None) is not None:
                self._changed[key] = None
        self._flush_soon()

    def _flush_soon(self) -> asyncio.Future[None]:
        """Done when the server has what has changed up to now."""
        if self._flushed is None:
            loop = asyncio.get_running_loop()
            self._flushed = loop.create_future()
            loop.call_soon(self._flush, self._flushed)
        return self._flushed

    def _flush(self, flushed: asyncio.Future[None]) -> None:
        self._flushed = None
        changed, self._changed = self._changed, {}
        if self._ear is None:
            # Whoever connects next subscribes to everything.
            _settle(flushed, UnavailableError(f"Redis: {self._why}"))
            return
        new = [key for key in changed if key in self._heard and key not in self._told]
        old = [key for key in changed if key not in self._heard and key in self._told]
        self._told.update(new)
        self._told.difference_update(old)
        done = self._ear.send([*_commands("SUBSCRIBE", new), *_commands("UNSUBSCRIBE", old)])
        done.add_done_callback(lambda sent: _settle(flushed, sent.exception()))

    async def _keep_up(self) -> None:
        """Connect for ever."""
        pause = FIRST_PAUSE
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            try:
                await self._listen(await self._connect())
            except (OSError, RedisError, UnavailableError) as error:
                self._lost(str(error).removeprefix("Redis: ") or "it doesn't answer")
            except Exception:
                logger.exception("the channels can't be listened to")
                self._lost("a fault")
            if now() - began >= STEADY:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _connect(self) -> Ear:
        """A connection on which everything is subscribed to."""
        ear = Ear(self._said)
        try:
            async with asyncio.timeout(CONNECT):
                await self._address.connect(lambda: ear)
                await ear.send(self._address.greeting(track=False))
                # From here on changes go to it too.
                self._ear, self._told = ear, set(self._heard)
                names = [self._own, *self._told]
                await ear.send(_commands("SUBSCRIBE", names))
        except BaseException:
            ear.drop("it could not be greeted")
            raise
        if self._why:
            logger.info("Redis is heard again")
        self._why = ""
        self._hearing.set()
        for callback in self._on_heard:
            try:
                callback()
            except Exception:
                logger.exception("what was missed can't be looked for")
        return ear

    async def _listen(self, ear: Ear) -> None:
        """Until the connection is lost: silence is tested by saying something to oneself. UnavailableError then."""
        heard, tested = -1, False
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT):
                        await ear.gone.wait()
                if ear.gone.is_set():
                    raise UnavailableError(ear.why)
                is_silent = ear.heard == heard
                if is_silent and tested:
                    raise UnavailableError("the channels are deaf")
                heard, tested = ear.heard, is_silent
                if is_silent:
                    ear.send([("PUBLISH", self._own.decode(), "")])
        finally:
            ear.drop("it is given up")

    def _lost(self, why: str) -> None:
        if not self._why:
            logger.warning("nothing is heard of Redis until it is connected to again: %s", why)
        self._why = why
        self._ear = None
        self._hearing.clear()

    def _said(self, channel: bytes, data: bytes) -> None:
        found = self._heard.get(channel)
        if found is None:
            return
        try:
            found[1](found[0], data)
        except Exception:
            logger.exception("what was said on %s can't be used", found[0])


def _commands(verb: str, names: Sequence[bytes]) -> list[Command]:
    return [(verb, *(name.decode() for name in names[start : start + CHUNK])) for start in range(0, len(names), CHUNK)]


def _settle(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # nobody need have waited
