"""What is to run: Procfile's commands, a port for each, and the environment that they share. Starts nothing."""

import os
import re
import socket
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from honcho.environ import parse_procfile

from devconnect.stack import Addresses, ports

GATEWAY = "gateway"
#: Where a worker serves its health and metrics unless that port is taken; ops/prometheus knows these.
WORKER_PORTS: Mapping[str, int] = {
    "commands": 8011,
    "projections": 8012,
    "notifications": 8013,
    "analytics": 8014,
    "inbox": 8015,
}
#: The folder that holds Procfile and the packages that its commands name.
ROOT = Path(__file__).resolve().parents[2]


class PlanError(Exception):
    """Procfile can't be run; the message says why."""


class Planned(NamedTuple):
    """One process: its name, the shell command, and the port that it serves on."""

    name: str
    command: str
    port: int


def read_procfile(path: Path) -> dict[str, str]:
    """Process name -> command, in the order of the file.

    Raises:
        PlanError: there is no such file, or nothing in it, or no gateway.
    """
    try:
        found: dict[str, str] = dict(parse_procfile(path.read_text("utf-8")).processes)
    except OSError as error:
        raise PlanError(f"{path} can't be read: {error.strerror}") from None
    if GATEWAY not in found:
        raise PlanError(f"{path} names no process called {GATEWAY}")
    return found


def plan(commands: Mapping[str, str], gateway_port: int, is_free: Callable[[int], bool]) -> list[Planned]:
    """Each process with a port: the gateway's is given, a worker's its usual one where that is free."""
    taken = {gateway_port}
    planned: list[Planned] = []
    for name, command in commands.items():
        port = gateway_port
        if name != GATEWAY:
            usual = WORKER_PORTS.get(name, 0)
            fits = usual and usual not in taken and is_free(usual)
            port = usual if fits else ports.pick(avoid=frozenset(taken | set(WORKER_PORTS.values())))
            taken.add(port)
        planned.append(Planned(name, command, port))
    return planned


def moved(planned: list[Planned]) -> list[Planned]:
    """The workers that did not get their usual port."""
    return [each for each in planned if WORKER_PORTS.get(each.name, each.port) != each.port]


def environment(base: Mapping[str, str], *, data_dir: Path, addresses: Addresses) -> dict[str, str]:
    """What every process is told: what we were told, where the parts are, and this Python first in PATH."""
    folders = [str(Path(sys.executable).parent), *filter(None, [base.get("PATH", os.defpath)])]
    return {
        **base,
        "PATH": os.pathsep.join(folders),
        "PYTHONUNBUFFERED": "1",
        "DATA_DIR": str(data_dir),
        # The runner kills a gateway that hasn't ended by its deadline (fleet.GATEWAY_DEADLINE).
        "DRAIN_SECONDS": base.get("DRAIN_SECONDS") or "3",
        "WORKER_INSTANCE": base.get("WORKER_INSTANCE") or instance_name(data_dir),
        "KAFKA_URL": addresses.kafka,
        "REDIS_URL": addresses.redis,
        "MONGO_URL": addresses.mongo,
    }


def instance_name(data_dir: Path) -> str:
    """A name that a run in this folder always has, and no other run: its workers are known by it to their groups."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())
    return f"{host}-{zlib.crc32(os.fsencode(data_dir)):08x}"


def can_listen(host: str, port: int) -> bool:
    """Whether a server could listen at this address now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True
