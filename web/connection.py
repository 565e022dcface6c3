"""One connection as the server sees it: what a client may send, how long it may take, and how it is let go."""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from aiohttp import hdrs, web
from aiohttp.helpers import set_exception
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from web.bounds import (
    ALLOWANCE,
    CLOSE_SECONDS,
    HEAD_MAX,
    LINGER,
    SLOW_HEAD,
    TURNED_AWAY,
    HeadTooLargeError,
    Limits,
    SlowBodyError,
    what_is_wrong,
)
from web.sending import Common, encoded, is_plain

if TYPE_CHECKING:
    from web.server import GatewayServer

_UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))


class Connection(RequestHandler):
    """aiohttp's own, with limits that it has not.

    Time is taken by a sweep of the server that looks at each connection about once a second: nothing is started or
    stopped for a request.
    """

    __slots__ = (
        "_body",
        "_body_since",
        "_closing_since",
        "_gateway",
        "_gone",
        "_head_bytes",
        "_head_since",
        "_life",
        "_overdue",
        "_paused_since",
        "_refused",
        "_turned_away",
        "_watched",
        "_watched_since",
        "common",
    )

    def __init__(self, gateway: "GatewayServer", *, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(gateway, loop=loop, **kwargs)
        self._gateway, self._life = gateway, gateway.life
        # When the head that isn't complete began (0: there is none), and how much of it is there.
        self._head_since, self._head_bytes = 0.0, 0
        self._body: StreamReader | None = None
        self._body_since = self._closing_since = self._paused_since = self._watched_since = 0.0
        self._watched: web.BaseRequest | None = None
        self._overdue: web.BaseRequest | None = None
        self._turned_away = self._refused = False
        #: Headers that the answer which is about to be sent is to have besides its own.
        self.common: Common | None = None
        self._gone: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve, or turn away who is one too many."""
        if self._gateway.is_full:
            # uvloop's is no asyncio.Transport by its class.
            self._turn_away(cast(asyncio.Transport, transport))
            return
        super().connection_made(transport)
        self._head_since = self._gateway.now

    def _turn_away(self, transport: asyncio.Transport) -> None:
        self._close = self._turned_away = True
        if not self._gateway.may_explain():
            transport.abort()
            return
        transport.write(TURNED_AWAY)
        transport.write_eof()
        self._loop.call_later(LINGER, transport.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        """As before; and one turned away less."""
        if self._turned_away:
            self._turned_away = False
            self._gateway.explained()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take note of where the client is: in a head, in a body, or at rest."""
        before = self._request_count
        RequestHandler.data_received(self, data)
        if self._request_count == before:
            if data and (self._body is None or self._body.is_eof()) and self._payload_parser is None:
                self._head_goes_on(len(data))
            return
        if self._head_bytes + len(data) > HEAD_MAX:
            self._refuse_large_heads(self._request_count - before)
        body = self._messages[-1][1]
        self._head_bytes = 0
        if body is not EMPTY_PAYLOAD:
            self._body, self._body_since, self._head_since = body, self._gateway.now, 0.0
        elif data.endswith(b"\r\n\r\n"):
            self._body, self._head_since = None, 0.0
        else:
            self._body, self._head_since, self._head_bytes = None, self._gateway.now, 1

    def _head_goes_on(self, size: int) -> None:
        if self._close or self._force_close:
            return
        if not self._head_bytes:
            self._head_since = self._gateway.now
        self._head_bytes += size
        if self._head_bytes > HEAD_MAX:
            self._refuse()

    def _refuse_large_heads(self, count: int) -> None:
        arrived = [self._messages.pop() for _ in range(count)]
        for message, body in reversed(arrived):
            fields = getattr(message, "raw_headers", ())
            if sum(len(name) + len(value) + 4 for name, value in fields) > HEAD_MAX:
                self._refuse()
                return
            self._messages.append((message, body))

    def _refuse(self) -> None:
        """Let what is wrong with the head be answered when its turn comes."""
        if self._refused:
            return
        self._refused = True
        self._messages.append((_ErrInfo(431, HeadTooLargeError(), ""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send the answer: the last one here when the gateway is on its way out."""
        common, self.common = self.common, None
        if resp.__class__ is not web.Response and isinstance(resp, web.HTTPException):
            # aiohttp's own, from before the application has looked at the request.
            resp = self._gateway.answer(request, resp)
        if self._life.draining and not resp.prepared:
            resp.force_close()
        if common is not None:
            if not self._upgraded and is_plain(resp, request):
                return self._send(request, resp, common)
            resp.headers.extend(common.headers)
        return RequestHandler.finish_response(self, request, resp, start_time)

    async def _send(
        self, request: web.BaseRequest, response: web.Response, common: Common
    ) -> tuple[web.StreamResponse, bool]:
        """What aiohttp does in six calls that wait for one another, in one."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return response, True
        # The loop of the connection looks at this.
        response._keep_alive = request.keep_alive and response.keep_alive is not False
        try:
            data = encoded(response, common)
        except ValueError as exc:  # a header with a line break in it
            return await RequestHandler.finish_response(self, request, self.handle_error(request, exc=exc), None)
        transport.write(data)
        if self._paused:
            try:
                await self._drain_helper()
            except ConnectionError:
                return response, True
        return response, False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a failure that nobody has caught."""
        if request.writer.output_size > 0:
            raise ConnectionError("part of another answer is sent already")
        response = self._gateway.answer(request, exc if isinstance(exc, Exception) else TimeoutError())
        response.force_close()
        return response

    def _make_error_handler(self, err_info: _ErrInfo) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            response = self._gateway.answer(request, what_is_wrong(err_info.exc))
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"
            await response.prepare(request)
            await response.write_eof()
            await self._linger()
            return response

        return handle

    async def _linger(self) -> None:
        """Say that no more comes from us, and drop what still comes from the client until it has heard that."""
        self._close = True
        transport = self.transport
        if transport is None or not transport.can_write_eof():
            return
        transport.write_eof()
        self._resume_transport_reading()
        self._gone = self._loop.create_future()
        await asyncio.wait([self._gone], timeout=LINGER)

    def look(self, now: float, transport: asyncio.Transport) -> None:
        """End what takes too long. Called about once a sweep."""
        if transport.is_closing():
            self._closing_since = self._closing_since or now
            if now - self._closing_since > CLOSE_SECONDS:
                transport.abort()
            return
        limits = self._gateway.limits
        if not self._paused:
            self._paused_since = 0.0
        elif not self._paused_since:
            self._paused_since = now
        elif now - self._paused_since > limits.send:
            transport.abort()
            return
        if self._body is not None:
            self._look_at_body(now, limits)
        if self._current_request is not None:
            self._look_at_request(now, limits, transport)
        else:
            self._watched = None
            if self._head_since:
                self._look_at_head(now, limits, transport)

    def _look_at_head(self, now: float, limits: Limits, transport: asyncio.Transport) -> None:
        if not self.is_idle:
            self._head_since = now
        elif now - self._head_since > limits.head:
            if self._head_bytes:
                transport.write(SLOW_HEAD)
            self.force_close()

    def _look_at_body(self, now: float, limits: Limits) -> None:
        body = self._body
        if body is None or body.is_eof() or body.exception() is not None:
            self._body = None
        elif self._reading_paused:
            # Nobody wants it yet, which isn't the client's fault.
            self._body_since = now
        elif now - self._body_since > limits.body:
            self._body, self._close = None, True
            set_exception(body, SlowBodyError())
            body.feed_eof()

    def _look_at_request(self, now: float, limits: Limits, transport: asyncio.Transport) -> None:
        request = self._current_request
        if request is None or self._payload_parser is not None:
            return
        if request is not self._watched or self._body is not None:
            self._watched, self._watched_since = request, now
            return
        allowed = request.get(ALLOWANCE) or (limits.command if request.method in _UNSAFE else limits.request)
        late = now - self._watched_since - allowed
        if late > 0 and self._overdue is not request:
            self._overdue = request
            # What the connection's task waits for is the task of the request.
            task = getattr(self._task_handler, "_fut_waiter", None)
            if isinstance(task, asyncio.Task):
                task.cancel()
        elif late > CLOSE_SECONDS:
            transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to answer."""
        return self._waiter is not None and not self._waiter.done() and not self._messages

    def is_overdue(self, request: web.BaseRequest) -> bool:
        """Whether this request was told to end since its time is over."""
        return self._overdue is request

    def leave(self, now: float, quiet: float) -> None:
        """Close if nothing is going on, and nothing has been for so many seconds: who is busy leaves by an answer."""
        last = self._next_keepalive_close_time - self._keepalive_timeout
        if not self.is_idle or self._head_bytes or now - last < quiet or self._payload_parser is not None:
            return
        if self.transport is not None and not has_unread(self.transport):
            self.force_close()


def is_overdue(request: web.BaseRequest) -> bool:
    """Whether the request was told to end since its time is over."""
    connection = request.protocol
    return isinstance(connection, Connection) and connection.is_overdue(request)


def has_unread(transport: asyncio.Transport) -> bool:
    """Whether bytes have come that nobody has read yet."""
    descriptor = transport.get_extra_info("socket").fileno()
    try:
        return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4)) != (0,)
    except OSError:
        return False
