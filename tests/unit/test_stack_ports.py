"""Ports of the stack: last time's where it is free, a new one elsewhere, and who has a taken one."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from devconnect.stack import ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind((ports.LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_listening_port_is_not_free(taken: int) -> None:
    assert not ports.is_free(taken)
    assert ports.listening(taken)


def test_last_times_port_is_picked_again_where_it_is_free() -> None:
    port = ports.pick()
    assert ports.pick(port) == port


def test_a_taken_or_avoided_port_is_not_picked(taken: int) -> None:
    assert ports.pick(taken) != taken
    port = ports.pick()
    assert ports.pick(port, avoid=frozenset({port})) != port


def test_the_owner_of_a_taken_port_is_named(taken: int) -> None:
    assert f"pid {os.getpid()}" in ports.owner(taken)


def test_last_times_port_is_waited_for_while_a_dying_server_holds_it() -> None:
    holder = socket.socket()
    holder.bind((ports.LOOPBACK, 0))
    holder.listen()
    port = holder.getsockname()[1]
    with ThreadPoolExecutor(1) as pool:
        picked = pool.submit(ports.pick, port)
        threading.Event().wait(0.2)
        assert not picked.done()
        holder.close()
        assert picked.result(10) == port


def test_another_range_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ports.pick()
    monkeypatch.setenv(ports.RANGE, f"{port}-{port}")
    assert ports.pick() == port
