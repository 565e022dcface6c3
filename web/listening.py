"""The sockets that the gateway listens on: had before anything is started, and closed with nobody waiting in them."""

import asyncio
import ctypes
import select
import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress

#: Connections that the system keeps until they are accepted.
BACKLOG = 1024
#: Seconds for handshakes that have begun to come to their end, and for all that wait to be accepted.
HANDSHAKES, ACCEPTING = 0.05, 1.0

#: Linux: lets through all but the first packet of a handshake (SYN without ACK, in byte 13 of the TCP header).
_SO_ATTACH_FILTER = 26
_NO_NEW = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def bind(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """A socket for each address of this host, not listening yet. OSError when one can't be had.

    `shared`: other sockets of ours may be bound to the same port, and the system spreads connections over them.
    """
    found: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in _addresses(host, port):
            one = socket.socket(family, kind, protocol)
            found.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
    except OSError:
        close(found)
        raise
    return found


def insist(host: str, port: int) -> None:
    """OSError when somebody has the port, also one who would share it: each would have half of the connections."""
    close(bind(host, port))


def close(sockets: Iterable[socket.socket]) -> None:
    """Close all of them."""
    for one in sockets:
        one.close()


def _addresses(host: str, port: int) -> Iterable[tuple[int, int, int, str, tuple[object, ...]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return dict.fromkeys(found)


async def let_in_the_last(sockets: Sequence[socket.socket]) -> None:
    """Let nobody new begin a handshake, and return when all who have are accepted: then a socket can be closed.

    What waits in a socket that is closed is reset, though the client takes itself for connected and may have asked.
    """
    for one in sockets:
        _hold_back(one)
    await asyncio.sleep(HANDSHAKES)
    deadline = asyncio.get_running_loop().time() + ACCEPTING
    while _has_waiting(sockets) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 (no event tells it)
        await asyncio.sleep(0)


def _hold_back(one: socket.socket) -> None:
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_NEW))
    with suppress(OSError):  # only Linux has it; elsewhere the last moment stays open
        one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_NEW), ctypes.addressof(program)))


def _has_waiting(sockets: Sequence[socket.socket]) -> bool:
    poll = select.poll()
    for one in sockets:
        poll.register(one.fileno(), select.POLLIN)
    return bool(poll.poll(0))
