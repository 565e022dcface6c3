"""A client as the application sees it."""

from typing import TYPE_CHECKING, Any

from web.realtime.frames import Frame, encode_event, text_frame

if TYPE_CHECKING:
    from web.realtime.engine_socket import EngineSocket

#: Socket.IO's own farewell: the official clients don't come back by themselves.
_FAREWELL = text_frame(b"41")


class Refused(Exception):  # noqa: N818 (it is what happens to a client, not a mistake of ours)
    """A client isn't let in. It is told `detail` as the error's message, and both as its data."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


class Socket:
    """One client that is connected. `data` is the application's; the rest of it is here."""

    __slots__ = ("_end", "data", "id")

    def __init__(self, end: "EngineSocket", name: str) -> None:
        self._end: EngineSocket | None = end
        #: Tells it from others; no secret.
        self.id = name
        self.data: Any = None

    @property
    def closed(self) -> bool:
        """Whether it is over: nothing more is sent."""
        return self._end is None

    def send(self, frame: Frame) -> None:
        """Send a frame; nothing when it is over. Who lets too much wait is dropped: `slow`."""
        if self._end is not None:
            self._end.put(frame)

    def emit(self, name: str, *args: bytes) -> None:
        """Send an event whose arguments are JSON already."""
        self.send(encode_event(name, *args))

    async def flush(self) -> None:
        """Wait until little waits to be sent, or it is over. Between frames that are many, such as a catch-up's."""
        if self._end is not None:
            await self._end.flush()

    def close(self, reason: str, *, final: bool = False) -> None:
        """End it after what is sent. `final`: its library is told not to come back by itself.

        `reason` is counted: one of few words.
        """
        end = self._end
        if end is not None:
            if final:
                end.put(_FAREWELL)
            end.leave(reason)

    def leave_when_idle(self) -> None:
        """End it once what is under way is acknowledged; nothing more is begun."""
        if self._end is not None:
            self._end.leave_when_idle()

    def forget(self) -> None:
        """It is over; the manager says so."""
        end, self._end = self._end, None
        if end is not None:
            end.client = None
