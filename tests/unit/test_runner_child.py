"""A process that is kept alive: whoever takes its port while it is dead doesn't keep it from coming back."""

import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from devconnect.runner.child import Child
from devconnect.runner.lines import Lines
from devconnect.runner.plan import Planned, can_listen
from devconnect.stack import ports
from tests.waiting import wait_until

#: Listens on its port, says so in a file, and dies once another file says that it may.
SERVER = """
import os, pathlib, socket, time
folder = pathlib.Path({folder!r})
listening = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
with (folder / "served").open("a") as served:
    served.write(os.environ["PORT"] + chr(10))
while not (folder / "die").exists():
    time.sleep(0.02)
(folder / "die").unlink()
"""


def served(folder: Path) -> list[int]:
    """The ports that it has served on, one a start."""
    path = folder / "served"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("name", ["commands", "gateway"])
def test_a_worker_whose_port_was_taken_takes_another_and_the_gateway_waits_for_its_own(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "server.py").write_text(SERVER.format(folder=str(tmp_path)))
    port = ports.pick()
    said: list[str] = []
    lines = Lines([name])
    lines.say = said.append
    child = Child(
        Planned(name, f"{sys.executable} {tmp_path / 'server.py'}", port),
        env={"WORKER_INSTANCE": "one"},
        cwd=tmp_path,
        lines=lines,
        on_start=lambda child, pid: None,
        is_free=partial(can_listen, "127.0.0.1"),
    )
    child.start()
    try:
        wait_until(lambda: served(tmp_path) == [port])
        (tmp_path / "die").touch()
        with _taken(port):
            if name == "commands":
                wait_until(lambda: len(served(tmp_path)) == 2)
                assert served(tmp_path)[1] == child.planned.port != port
            else:
                wait_until(lambda: sum("died" in line for line in said) >= 2)
        wait_until(lambda: len(served(tmp_path)) == 2)
        assert name == "commands" or served(tmp_path) == [port, port]
    finally:
        child.stop(5)


def _taken(port: int) -> socket.socket:
    """Take the port as soon as it is free."""
    wait_until(lambda: can_listen("127.0.0.1", port))
    return socket.create_server(("127.0.0.1", port))
