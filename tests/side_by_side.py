"""Ports for tests that run side by side: no process of theirs picks one that another has picked and not taken yet."""

import os
import socket
from collections.abc import Mapping

from devconnect.runner.plan import WORKER_PORTS
from devconnect.stack import ports

#: What the processes of one run divide among themselves: below the ports of outgoing connections.
_FIRST, _END = 20_000, 32_000
#: Kept from being closed.
_held: list[socket.socket] = []


def keep_apart(worker: str, workers: int) -> None:
    """Give this process of a run, and all that it starts, ports of its own; `worker` is xdist's name for it: "gw0" …"""
    width = (_END - _FIRST) // workers
    first = _FIRST + int(worker.removeprefix("gw")) % workers * width
    os.environ[ports.RANGE] = f"{first}-{first + width - 1}"
    _hold(WORKER_PORTS)


def _hold(usual: Mapping[str, int]) -> None:
    """No system gets these, which the next one would think free while a worker of the first is started again."""
    for port in usual.values():
        holder = socket.socket()
        # All processes of the run hold them, so that it doesn't matter which of them ends first.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            holder.bind((ports.LOOPBACK, port))
        except OSError:
            holder.close()
            continue
        holder.listen()
        _held.append(holder)
