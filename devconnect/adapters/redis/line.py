"""One connection: calls go out in order, those of one loop turn in one write, and their answers come in that order."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

from hiredis import HiredisError, PushNotification, Reader, pack_command
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from devconnect.ports.truth import UnavailableError

#: A command and its arguments; a line takes one that is packed already, too.
Command = tuple[str | int, ...]
AnyCommand = Command | bytes

#: Commands that wait for their answers, and bytes that wait to be written: beyond that calls are refused.
MOST_COMMANDS = 20_000
MOST_BYTES = 16 * 1024 * 1024
#: Seconds, of those that a call has, for what couldn't be sent or read while the loop was busy: a call is looked at
#: when so much of its time is left, and fails when it is found again at the end.
TURN = 0.02
#: Seconds by which timers may come too early.
TICK = 0.002

_NOTHING = object()
#: hiredis has it typed as for one word.
_pack: Callable[[Any], bytes] = cast(Any, pack_command)
#: The error of a reply by its first word, as redis-py has them.
_ERRORS: dict[str, type[Exception]] = {
    "CLUSTERDOWN": ClusterDownError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": MasterDownError,
    "NOAUTH": AuthenticationError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
    "WRONGPASS": AuthenticationError,
}


def error_of(text: str) -> Exception:
    """What redis-py would raise for an error reply."""
    return _ERRORS.get(text.partition(" ")[0], ResponseError)(text)


class _Call:
    """Commands that were sent together, and what has been answered of them."""

    __slots__ = ("answers", "count", "future", "raw", "sent")

    def __init__(self, future: asyncio.Future[list[Any]], count: int, sent: float, *, raw: bool) -> None:
        self.future = future
        self.count = count
        self.sent = sent
        self.raw = raw
        self.answers: list[Any] = []


class Line(asyncio.Protocol):
    """From being connected to being lost. It is lost for good, and with it every call that has no answer yet.

    An answer belongs to the oldest call without one, whether anybody still waits for it or not: one that was cancelled
    leaves its place in the order. `lost` is called before any caller hears of it.
    """

    def __init__(
        self, *, deadline: float, pushed: Callable[[list[Any]], None], lost: Callable[["Line", str], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._pushed = pushed
        self._lost = lost
        # Text that isn't UTF-8 mustn't cost the others their answers.
        self._reader = Reader(encoding="utf-8", errors="surrogateescape", replyError=error_of, notEnoughData=_NOTHING)
        self._calls: deque[_Call] = deque()
        self._waiting = 0
        self._out: list[bytes] = []
        self._unsent = 0
        self._paused = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: Why it was lost.
        self.over: str | None = None
        self.gone = asyncio.Event()
        #: When the newest call was sent that has its answer (time.monotonic): what the server had to say by then is
        #: here, since everything comes in one order.
        self.proven = float("-inf")

    def send(self, commands: Sequence[AnyCommand], *, raw: bool = False) -> asyncio.Future[list[Any]]:
        """The answers to come, error replies among them as exceptions; `raw`: bytes in place of texts.

        UnavailableError when the connection is lost, or too much is waiting already; TypeError for arguments that are
        none. Neither has sent anything.
        """
        if self.over is not None:
            raise UnavailableError(f"Redis: {self.over}")
        data = b"".join([each if each.__class__ is bytes else _pack(each) for each in commands])
        if self._waiting + len(commands) > MOST_COMMANDS or self._unsent + len(data) > MOST_BYTES:
            raise UnavailableError("Redis: too many calls are waiting")
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if not commands:
            future.set_result([])
            return future
        self._calls.append(_Call(future, len(commands), time.monotonic(), raw=raw))
        self._waiting += len(commands)
        if not self._out and not self._paused:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._unsent += len(data)
        if self._timer is None:
            self._timer = self._loop.call_later(self._deadline - TURN, self._look)
        return future

    def drop(self, why: str) -> None:
        """Lose it. What was called fails with UnavailableError."""
        if self.over is not None:
            return
        self.over = why
        if self._transport is not None:
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        calls, self._calls = self._calls, deque()
        self._out.clear()
        self._lost(self, why)
        self.gone.set()
        for call in calls:
            if not call.future.done():
                call.future.set_exception(UnavailableError(f"Redis: {why}"))

    # -- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Commands can be written."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has gone."""
        self.drop(str(exc or "the connection was closed"))

    def pause_writing(self) -> None:
        """More isn't taken now: what is sent waits here, where it is counted."""
        self._paused = True

    def resume_writing(self) -> None:
        """It is taken again."""
        self._paused = False
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Answers, in the order of the calls, and pushes between them."""
        if self.over is not None:
            return
        reader, calls = self._reader, self._calls
        reader.feed(data)
        try:
            while (reply := reader.gets(not calls or not calls[0].raw)) is not _NOTHING:
                if isinstance(reply, PushNotification):
                    self._pushed(reply)
                elif calls:
                    self._answer(calls[0], reply)
                else:
                    return self.drop("an answer that nobody has asked for")
        except HiredisError as error:
            self.drop(str(error))

    def _answer(self, call: _Call, reply: Any) -> None:
        call.answers.append(reply)
        if len(call.answers) < call.count:
            return
        self._calls.popleft()
        self._waiting -= call.count
        self.proven = call.sent
        if not call.future.done():
            call.future.set_result(call.answers)

    # -- later

    def _flush(self) -> None:
        if self._out and not self._paused and self._transport is not None and self.over is None:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._unsent = 0
            self._transport.write(data)

    def _look(self, seen: _Call | None = None) -> None:
        """Whether the oldest call, seen before or not, has waited too long."""
        self._timer = None
        if not self._calls:
            return
        oldest = self._calls[0]
        age = time.monotonic() - oldest.sent
        if oldest is seen and age >= self._deadline - TICK:
            self.drop("no answer in time")
        elif age >= self._deadline - TURN - TICK:
            self._timer = self._loop.call_later(TURN, self._look, oldest)
        else:
            self._timer = self._loop.call_later(self._deadline - TURN - age, self._look)
