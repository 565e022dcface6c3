"""The client's half of RFC 6455, as little of it as a load needs; what the official clients offer is offered."""

import zlib
from collections.abc import Iterator

#: A key that is always the same, and what it must be answered with (RFC 6455, 1.3).
KEY, ACCEPTED = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#: What browsers and npm's `ws` offer, socket.io-client with them: servers that take it keep a compressor a connection.
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class WireError(ValueError):
    """What the server sends is no websocket, or not one that was asked for."""


def handshake(port: int, target: str, *, deflate: bool) -> bytes:
    """The request that opens a websocket."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY.decode()}\r\n{DEFLATE if deflate else ''}\r\n"
    ).encode()


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole message as a client sends it. It is masked, as it must be, with zeros: the server's work is the same."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, 0x80 | length, 0, 0, 0, 0)) + payload
    return bytes((0x80 | opcode, 0xFE)) + length.to_bytes(2, "big") + b"\0\0\0\0" + payload


class Reader:
    """Turns what a server sends into its answer to the handshake, and then into messages."""

    __slots__ = ("_inflater", "_open", "_parts", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._open = False
        self._parts: list[bytes] = []
        self._inflater: zlib._Decompress | None = None

    def answered(self, data: bytes) -> bool:
        """Whether the handshake is over with this; WireError when it was refused."""
        self._rest += data
        head, end, rest = self._rest.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 101") or ACCEPTED not in head:
            raise WireError(f"the handshake was answered {head[:60]!r}")
        if b"permessage-deflate" in head.lower():
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._rest, self._open = rest, True
        return True

    def messages(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Opcode and content of each message that is whole with this."""
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        while at + 2 <= size:
            start, length = at + 2, data[at + 1]
            if length == 126:
                start, length = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
            elif length == 127:
                start, length = at + 10, int.from_bytes(data[at + 2 : at + 10], "big")
            if start + length > size:
                break
            head, payload = data[at], data[start : start + length]
            at = start + length
            if head & 0x88 == 0x80 and not head & 0x40 and not self._parts:
                yield head & 15, payload
            elif (whole := self._assembled(head, payload)) is not None:
                yield whole
        self._rest = data[at:]

    def _assembled(self, head: int, payload: bytes) -> tuple[int, bytes] | None:
        """The message that ends with this frame; None where more of it comes."""
        if head & 0x08:
            return head & 15, payload
        if head & 0x40:
            if self._inflater is None or not head & 0x80:
                raise WireError("a compressed frame that wasn't agreed on")
            return head & 15, self._inflater.decompress(payload + b"\0\0\xff\xff")
        self._parts.append(payload)
        if not head & 0x80:
            return None
        whole, self._parts = b"".join(self._parts), []
        return TEXT, whole
