"""Engine.IO's socket: one client, by websocket or by polling."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web
from engineio import exceptions
from engineio.async_socket import AsyncSocket
from engineio.packet import CLOSE, MESSAGE, NOOP, PING, PONG, Packet
from engineio.payload import Payload

from web.realtime.frames import HEARTBEAT, Frame, text_frame, text_of
from web.realtime.probe import Probe
from web.realtime.wire import FAILED, GOING, RESTART, VIOLATION, Switched, Wire

if TYPE_CHECKING:
    from web.realtime.engine import Engine

#: Packets that may come before a client is let in.
EARLY = 16

_HEARTBEAT = Packet(PING)


class EngineSocket(AsyncSocket):
    """One client, by websocket or by polling."""

    __slots__ = (
        "_backlog",
        "_due",
        "_early",
        "_pinged",
        "_queued",
        "_under_way",
        "_worker",
        "client",
        "closed",
        "closing",
        "connected",
        "leaving",
        "queue",
        "reason",
        "request",
        "server",
        "sid",
        "upgraded",
        "upgrading",
        "wire",
    )

    def __init__(self, server: "Engine", sid: str, request: web.Request) -> None:
        self.server, self.sid = server, sid
        #: The request that it came with, until it is let in.
        self.request: web.Request | None = request
        #: Whom Socket.IO has made of it.
        self.client: Any = None
        self.wire: Wire | None = None
        #: What polling fetches.
        self.queue: asyncio.Queue[Packet | None] | None = None
        self.connected = self.upgrading = self.upgraded = self.closing = self.closed = False
        #: Whether it goes as soon as nothing is under way.
        self.leaving = False
        self.reason = ""
        self._queued = self._early = self._under_way = 0
        self._backlog: deque[str] | None = None
        self._worker: asyncio.Task[None] | None = None
        # When there is something to do next: end the handshake, ping, or give up on an answer.
        self._due = server.now + server.limits.handshake
        self._pinged = False

    # Sending.

    def put(self, frame: Frame) -> None:
        """Send a frame."""
        if self.wire is not None:
            self.wire.send(frame)
        elif not self.closed:
            self._enqueue(Packet(MESSAGE, text_of(frame)[1:]), len(frame))

    async def send(self, pkt: Packet) -> None:
        """Send a packet of the library's."""
        self._put_packet(pkt)

    def _put_packet(self, packet: Packet) -> None:
        text = packet.encode()
        if self.wire is not None:
            self.wire.send(text_frame(text.encode()))
        elif not self.closed:
            self._enqueue(packet, len(text))

    def _enqueue(self, packet: Packet, size: int) -> None:
        self._queued += size
        if self._queued > self.server.limits.buffer:
            self.slow()
        elif self.queue is not None:
            self.queue.put_nowait(packet)

    async def poll(self) -> list[Packet]:
        """What there is for a client that polls."""
        packets: list[Packet] = await super().poll()
        self._queued = 0
        return packets

    async def flush(self) -> None:
        """Wait until little waits to be sent, or it is over."""
        if self.wire is not None:
            await self.wire.flush()
            return
        # Long-polling: its client fetches when it likes, which no event tells of.
        while self._queued > self.server.limits.buffer // 8 and not self.closed and self.wire is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    # Receiving.

    def may_go_on(self) -> bool:
        """Whether one more message may be read."""
        if self.client is None:
            self._early += 1
            if self._early <= EARLY:
                return True
        elif self.server.owner.may_go_on(self):
            return True
        self.leave("too_many", VIOLATION)
        return False

    def came(self, text: str) -> None:
        """A packet: pongs are seen to at once, messages one after the other."""
        kind = text[:1]
        if kind == "4":
            self._queue_up(text[1:])
        elif kind == "3":
            if self._pinged:
                self._pinged, self._due = False, self.server.now + self.server.limits.ping
        elif kind == "1":
            self.leave("client")
        else:
            self.leave("malformed", VIOLATION)

    def _queue_up(self, text: str) -> None:
        if self._backlog is None:
            self._backlog = deque()
        self._backlog.append(text)
        if self.is_full and self.wire is not None:
            self.wire.hold()
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work(self._backlog))

    async def _work(self, backlog: deque[str]) -> None:
        while backlog and not self.closed and not self.leaving:
            try:
                await self.server.owner.receive(self, backlog.popleft())
            except Exception as exc:
                self.server.report(exc)
                self.leave("failed", FAILED)
            self._done()
        self._worker = self._backlog = None
        self._done()

    def answer_later(self, answer: Awaitable[bytes | None], then: Callable[[bytes | None], None]) -> None:
        """Have `then` called with the answer; until then it counts as under way. Raises nothing."""
        self._under_way += 1
        task = asyncio.ensure_future(self._answer(answer, then))
        self.server.tasks.add(task)
        task.add_done_callback(self.server.tasks.discard)

    async def _answer(self, answer: Awaitable[bytes | None], then: Callable[[bytes | None], None]) -> None:
        try:
            then(await answer)
        except Exception as exc:
            self.server.report(exc)
        finally:
            self._under_way -= 1
            self._done()

    def _done(self) -> None:
        """Something is; read on, or go."""
        if self.leaving and self.is_idle:
            self.leave("draining", RESTART)
        elif self.wire is not None and self.wire.held and self._waiting <= self.server.limits.under_way // 2:
            self.wire.go_on()

    @property
    def _waiting(self) -> int:
        return self._under_way + (len(self._backlog) if self._backlog is not None else 0)

    @property
    def is_full(self) -> bool:
        """Whether as much waits or is under way as may."""
        return self._waiting >= self.server.limits.under_way

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return self._worker is None and not self._under_way

    # Time.

    def let_in(self) -> None:
        """From now on it is pinged: the first time at random, so that those who came together aren't pinged so."""
        self.request = None
        self._due = self.server.now + self.server.limits.ping * random.uniform(0.5, 1)  # noqa: S311 (no secret)

    def look(self, now: float) -> None:
        """Do what is due."""
        if now < self._due:
            return
        limits = self.server.limits
        if self.client is None or self.request is not None:
            self.leave("handshake_timeout", VIOLATION)
        elif self._pinged and not (self.wire is not None and self.wire.held):
            self.leave("ping_timeout", GOING)
        else:
            self._pinged, self._due = True, now + limits.ping_timeout
            if self.wire is not None:
                self.wire.send(HEARTBEAT)
            else:
                self._enqueue(_HEARTBEAT, 1)

    # The end.

    def leave(self, reason: str, code: int = 1000) -> None:
        """End it in good order: what is sent goes out first."""
        wire = self.wire
        if self._over(reason):
            if wire is not None:
                wire.finish(code, reason)
            elif self.queue is not None:
                self.queue.put_nowait(Packet(CLOSE))

    def leave_when_idle(self) -> None:
        """End it once nothing is under way; what isn't begun is not."""
        self.leaving = True
        if self.is_idle:
            self.leave("draining", RESTART)

    def slow(self) -> None:
        """End it at once: too much waits."""
        wire = self.wire
        if self._over("slow") and wire is not None:
            wire.drop()

    def lost(self, reason: str) -> None:
        """The connection is over."""
        self._over(reason)

    def _over(self, reason: str) -> bool:
        if self.closed:
            return False
        self.closed = self.closing = True
        self.reason, self.wire, self.request = reason, None, None
        self.server.sockets.pop(self.sid, None)
        self.server.owner.gone(self, reason)
        return True

    # What the library asks of it, for polling.

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """As `leave`."""
        self.leave("lost" if reason == self.server.reason.TRANSPORT_ERROR else "malformed", VIOLATION)

    async def receive(self, pkt: Packet) -> None:
        """A packet has been posted."""
        if pkt.binary or pkt.packet_type not in (CLOSE, PONG, MESSAGE):
            raise exceptions.UnknownPacketError
        if not self.closed and self.may_go_on():
            self.came(pkt.encode())
        while self.is_full and self._worker is not None and not self.closed:
            await asyncio.wait([self._worker])

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """Packets have been posted; EngineIOError for what is none, unless that doesn't matter any more.

        The library's takes what has come of a body for all of it.
        """
        request: web.Request = environ["aiohttp.request"]
        try:
            length = request.content_length
            if length is None or length > self.server.limits.message:
                raise exceptions.ContentTooLongError
            body = await request.content.readexactly(length)
            for packet in Payload(encoded_payload=body.decode()).packets:
                await self.receive(packet)
        except Exception as exc:
            if not self.closed:
                raise exceptions.EngineIOError from exc

    async def _upgrade_websocket(self, environ: dict[str, Any]) -> Any:
        """From polling to websocket."""
        if self.upgraded:
            raise exceptions.EngineIOError
        Probe(self, environ["aiohttp.request"])
        return Switched()

    def change_to(self, wire: Wire) -> None:
        """Go on by websocket, with what polling hasn't fetched."""
        self.upgraded, self.upgrading = True, False
        queue, self.queue = self.queue, None
        self.wire, self._queued = wire, 0
        while queue is not None and not queue.empty():
            packet = queue.get_nowait()
            if packet is not None and packet.packet_type != NOOP:
                self._put_packet(packet)
