"""The gateway as processes: one or several on one port, killed, started again, told to stop in the middle of it all."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from devconnect.stack import ports
from tests.unit.edge_house import Raw, Reply
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "gateway_on_fakes.py"
T = TypeVar("T")


class Gateway:
    """The program, on a free port."""

    def __init__(self, folder: Path, *arguments: str, port: int = 0, **env: str) -> None:
        self.port, self.log = port or ports.pick(), folder / "log"
        own = {"PORT": str(self.port), "DATA_DIR": str(folder), "PYTHONPATH": str(ROOT), "JWT_SECRET": "k" * 48}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), *arguments], env={**os.environ, **own, **env}, stderr=output, cwd=folder
            )

    async def ask(self, path: str, method: str = "GET") -> Reply:
        raw = await Raw.to(self.port)
        try:
            return await raw.ask(path, method)
        finally:
            raw.close()

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            with suppress(OSError, EOFError):
                found = await condition()
                if found:
                    return found
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            await asyncio.sleep(0.02)

    async def serving(self, of: int = 1) -> None:
        async def are_all() -> bool:
            ready = (await self.ask("/health/ready")).json
            return ready["ready"] is True and (of == 1 or ready["processes"]["serving"] == of)

        await self.until(are_all)

    async def pids(self, count: int) -> set[int]:
        """The processes that answer, once there are so many."""
        found: set[int] = set()

        async def all_seen() -> bool:
            found.add((await self.ask("/pid")).json)
            return len(found) == count

        await self.until(all_seen)
        return found

    async def end(self, seconds: float = 15.0) -> int:
        await until(lambda: self.process.poll() is not None, "its end", seconds=seconds)
        return self.process.returncode


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    started: list[Gateway] = []

    def go(*arguments: str, **env: Any) -> Gateway:
        started.append(Gateway(tmp_path, *arguments, **env))
        return started[-1]

    yield go
    for each in started:
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(each.process.pid).children(recursive=True)
            each.process.kill()
            each.process.wait()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()


async def test_several_processes_share_the_port_and_show_the_metrics_of_all(start: Any) -> None:
    gateway = start("--processes", "3")
    await gateway.serving(of=3)
    pids = await gateway.pids(3)
    assert gateway.process.pid not in pids
    before = await counted(gateway)
    assert set(before) == {"0", "1", "2"}
    for _ in range(50):
        await gateway.ask("/pid")
    after = await counted(gateway)
    assert sum(after.values()) - sum(before.values()) == 50
    listening = psutil.Process(gateway.process.pid).net_connections("tcp")
    assert {each.laddr.port for each in listening if each.status == psutil.CONN_LISTEN} == {gateway.port}


async def counted(gateway: Gateway) -> dict[str, float]:
    """Process -> requests for /pid, as one of them shows it."""
    families = text_string_to_metric_families((await gateway.ask("/metrics")).body.decode())
    [found] = [family for family in families if family.name == "devconnect_http_requests"]
    return {one.labels["process"]: one.value for one in found.samples if one.labels["route"] == "/pid"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_process_that_dies_is_started_again_and_the_others_serve(start: Any, number: signal.Signals) -> None:
    gateway = start("--processes", "2")
    await gateway.serving(of=2)
    dying, other = sorted(await gateway.pids(2))
    os.kill(dying, number)
    await until(lambda: gone(dying), "its end", seconds=40)
    await gateway.serving(of=2)
    found = await gateway.pids(2)
    assert other in found
    assert dying not in found
    assert set(await counted(gateway)) == {"0", "1"}


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_no_process_outlives_its_supervisor(start: Any) -> None:
    gateway = start(GATEWAY_PROCESSES="2")
    await gateway.serving(of=2)
    pids = await gateway.pids(2)
    gateway.process.kill()
    await until(lambda: all(map(gone, pids)), "the end of all")
    gateway.process.wait()


@pytest.mark.parametrize("arguments", [(), ("--processes", "2")])
@pytest.mark.parametrize("shares", [False, True])
async def test_a_port_that_cant_be_had_is_one_line(start: Any, arguments: tuple[str, ...], shares: bool) -> None:
    with socket.socket() as taken:
        if shares:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        gateway = start(*arguments, port=taken.getsockname()[1])
        assert await gateway.end(30) == 1
        lines = gateway.log.read_text().splitlines()
        assert len(lines) == 1, lines
        assert f"127.0.0.1:{gateway.port}" in lines[0]


async def test_a_start_that_fails_ends_all_of_it(start: Any, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    gateway = start("--processes", "2")
    assert await gateway.end(30) == 1
    assert "broken" in gateway.log.read_text()


class Load:
    """Clients that count: every request that was sent is answered in full, or was never taken."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.answered = self.cut = self.refused = self.closed_before = 0

    async def fresh(self) -> None:
        """A new connection for each request."""
        while (raw := await self._connected()) is not None:
            await self._one(raw, "POST")
            raw.close()

    async def kept(self) -> None:
        """One connection, until an answer says that it was the last one here."""
        while (raw := await self._connected()) is not None:
            while await self._one(raw, "GET"):
                pass
            raw.close()

    async def _connected(self) -> Raw | None:
        """None when nobody listens any more."""
        try:
            return await asyncio.wait_for(Raw.to(self.gateway.port), 5.0)
        except (OSError, TimeoutError):
            self.refused += 1
            return None

    async def _one(self, raw: Raw, method: str) -> bool:
        try:
            answer = await raw.ask("/sleep?seconds=0.02", method)
        except (OSError, EOFError, asyncio.IncompleteReadError):
            self.cut += 1
            return False
        assert (answer.status, answer.json) == (200, {"slept": True})
        self.answered += 1
        return answer.headers.get("connection") != "close"


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_stop_under_load_cuts_off_nobody(start: Any, processes: str) -> None:
    gateway = start("--processes", processes)
    await gateway.serving(of=int(processes))
    load = Load(gateway)
    clients = [asyncio.create_task(kind()) for kind in [load.fresh, load.kept] * 20]
    slow = [asyncio.create_task(gateway.ask("/sleep?seconds=2")) for _ in range(10)]
    await asyncio.sleep(1.0)
    gateway.process.send_signal(signal.SIGTERM)
    assert {(await each).status for each in slow} == {200}
    await asyncio.gather(*clients)
    assert await gateway.end() == 0
    assert load.answered > 100
    assert (load.cut, load.refused) == (0, len(clients))


async def test_it_is_not_ready_at_once_and_goes_on_serving_for_the_delay(start: Any) -> None:
    gateway = start(DRAIN_DELAY_SECONDS="1.5")
    await gateway.serving()
    gateway.process.send_signal(signal.SIGTERM)

    async def is_told() -> bool:
        return (await gateway.ask("/health/ready")).status == 503

    await gateway.until(is_told, 1.0)
    answer = await gateway.ask("/pid")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await gateway.end() == 0


async def test_what_doesnt_end_in_time_is_cut_off(start: Any) -> None:
    gateway = start(DRAIN_SECONDS="0.5")
    await gateway.serving()
    asked = asyncio.create_task(gateway.ask("/sleep?seconds=60"))
    await asyncio.sleep(0.2)
    gateway.process.send_signal(signal.SIGTERM)
    assert await gateway.end(10) == 0
    with pytest.raises((EOFError, OSError)):
        await asked
