"""From polling to websocket."""

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web
from engineio.packet import NOOP, Packet

from web.realtime.frames import text_frame
from web.realtime.wire import VIOLATION, Wire

if TYPE_CHECKING:
    from web.realtime.engine_socket import EngineSocket


class Probe:
    """The end of a websocket that a polling client tries out before it changes to it."""

    __slots__ = ("_socket", "_wire")

    def __init__(self, socket: "EngineSocket", request: web.Request) -> None:
        limits = socket.server.limits
        self._socket = socket
        self._wire = Wire.take_over(request, self, message=limits.message, buffer=limits.buffer)
        asyncio.get_running_loop().call_later(limits.handshake, self._give_up)

    def may_go_on(self) -> bool:
        """As the socket."""
        return self._socket.may_go_on()

    def came(self, text: str) -> None:
        """A ping, then the word to change."""
        socket = self._socket
        if text == "2probe" and not socket.upgraded and not socket.closed:
            socket.upgrading = True
            self._wire.send(text_frame(b"3probe"))
            if socket.queue is not None:
                socket.queue.put_nowait(Packet(NOOP))  # ends the poll that waits
        elif text == "5" and socket.upgrading and not socket.closed:
            self._wire.hand_to(socket)
            socket.change_to(self._wire)
        else:
            self._give_up()

    def leave(self, reason: str, code: int) -> None:
        """It won't do."""
        self._wire.finish(code, reason)
        self.lost(reason)

    def slow(self) -> None:
        """It won't do."""
        self._wire.drop()
        self.lost("slow")

    def lost(self, reason: str) -> None:
        """The client goes on polling."""
        self._socket.upgrading = False

    def _give_up(self) -> None:
        if self._wire.belongs_to(self):
            self.leave("handshake_timeout", VIOLATION)
