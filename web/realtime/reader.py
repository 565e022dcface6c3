"""The bytes of a client, taken apart into the messages of RFC 6455."""

from aiohttp._websocket.helpers import websocket_mask

from web.realtime.frames import BINARY, CLOSE, PING, PONG, TEXT

_CONTINUED = 0
_DATA, _CONTROL = frozenset((_CONTINUED, TEXT, BINARY)), frozenset((CLOSE, PING, PONG))
#: A payload of a control frame is no longer; a size that is given as one of the two beyond it stands behind it.
_SMALL = 125
_PROTOCOL_ERROR, _TOO_LARGE = 1002, 1009


class BrokenError(Exception):
    """What came is no websocket, or it is too large; `code` is what the close frame says."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Reader:
    """One client's bytes. What isn't asked for by `take` stays as bytes, so that who is behind can leave it there.

    aiohttp's has a queue of its own for each, and takes apart all that has come.
    """

    __slots__ = ("_kind", "_limit", "_need", "_parts", "_rest")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest: bytearray | None = None
        # Bytes without which there is nothing to look at.
        self._need = 2
        # The message whose end hasn't come: its kind (0: there is none) and what there is of it.
        self._kind, self._parts = 0, bytearray()

    def feed(self, data: bytes) -> None:
        """What has come."""
        if self._rest is None:
            self._rest = bytearray(data)
        else:
            self._rest += data

    def take(self) -> tuple[int, bytes] | None:
        """The next message or control frame that is all there, as kind and payload. Raises BrokenError."""
        while (frame := self._frame()) is not None:
            kind, is_last, payload = frame
            if kind in _CONTROL:
                return kind, payload
            if (kind == _CONTINUED) == (self._kind == 0):
                raise BrokenError(_PROTOCOL_ERROR, "a message in another")
            if is_last and kind != _CONTINUED:
                return kind, payload
            self._kind = self._kind or kind
            self._parts += payload
            if is_last:
                whole = self._kind, bytes(self._parts)
                self._kind, self._parts = 0, bytearray()
                return whole
        return None

    def _frame(self) -> tuple[int, bool, bytes] | None:
        """The next frame that is all there: kind, whether it is the last of its message, payload."""
        rest = self._rest
        if rest is None or len(rest) < self._need:
            return None
        first, second = rest[0], rest[1]
        size, at = second & 127, 2
        if size > _SMALL:
            at = 4 if size == _SMALL + 1 else 10
            if len(rest) < at:
                self._need = at
                return None
            size = int.from_bytes(rest[2:at], "big")
        self._check(first, second, size)
        at, end = at + 4, at + 4 + size
        if len(rest) < end:
            self._need = end
            return None
        payload = rest[at:end]
        websocket_mask(bytes(rest[at - 4 : at]), payload)
        self._need = 2
        if len(rest) == end:
            self._rest = None
        else:
            del rest[:end]
        return first & 15, first > 127, bytes(payload)

    def _check(self, first: int, second: int, size: int) -> None:
        kind = first & 15
        if first & 0x70 or second < 128:
            raise BrokenError(_PROTOCOL_ERROR, "not masked, or with an extension")
        if kind in _CONTROL:
            if size > _SMALL or first < 128:
                raise BrokenError(_PROTOCOL_ERROR, "a control frame that is none")
        elif kind not in _DATA:
            raise BrokenError(_PROTOCOL_ERROR, "a kind that there isn't")
        elif size + len(self._parts) > self._limit:
            raise BrokenError(_TOO_LARGE, "too_large")
