"""TCP ports on the loopback: which one a part gets, and who has one that is taken."""

import os
import random
import socket
import time

import psutil

LOOPBACK = "127.0.0.1"
#: Below the range that systems hand out to outgoing connections, so that none of those takes our port
#: while a part is down.
_RANGE = "20000-31999"
#: The variable that names another range: two that pick at the same moment could pick the same port of one.
RANGE = "PICKED_PORTS"
#: Seconds to wait for last time's port: a server that was just killed may hold it for a moment longer, and workers that
#: live on look for the new one there.
_PATIENCE = 2.0


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def listening(port: int) -> bool:
    """Whether something accepts connections on this loopback port now."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def pick(last: int | None = None, *, avoid: frozenset[int] = frozenset()) -> int:
    """The port of last time where it is free, else a new free one that is not in `avoid`."""
    if last and last not in avoid and _comes_free(last):
        return last
    lowest, highest = map(int, os.environ.get(RANGE, _RANGE).split("-"))
    for _ in range(200):
        port = random.randint(lowest, highest)  # noqa: S311 (no secret)
        if port not in avoid and is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _comes_free(port: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def owner(port: int) -> str:
    """Who listens on a port: "pid 12 (nginx)", or "another process" where the system doesn't tell."""
    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    except (psutil.Error, OSError):
        pass
    return "another process"
