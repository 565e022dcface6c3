"""What test processes that run side by side (`-n`) need: ports that no other picks, and an end that leaves nothing."""

import os
import signal
import socket
from collections.abc import Mapping
from types import FrameType
from typing import NoReturn

from xdist.workermanage import NodeManager

from devconnect.runner.plan import WORKER_PORTS
from devconnect.stack import ports

#: What the processes of one run divide among themselves: below the ports of outgoing connections.
_FIRST, _END = 20_000, 32_000
#: Seconds that they have to stop what they have started when the run is interrupted; by itself xdist kills them sooner.
_END_SECONDS = 30
#: Kept from being closed.
_held: list[socket.socket] = []


def keep_apart(worker: str, workers: int) -> None:
    """Give this process of a run, and all that it starts, ports of its own; `worker` is xdist's name for it: "gw0" …"""
    width = (_END - _FIRST) // workers
    first = _FIRST + int(worker.removeprefix("gw")) % workers * width
    os.environ[ports.RANGE] = f"{first}-{first + width - 1}"
    _hold(WORKER_PORTS)


def wait_for_their_end() -> None:
    """Have the process that started them be patient."""
    NodeManager.EXIT_TIMEOUT = _END_SECONDS


def interrupt_once() -> None:
    """Let this process end what it has begun to end: xdist interrupts it again when that takes a while."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGINT, lambda *_: None)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


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
