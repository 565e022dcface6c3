"""The way out: to nobody within our own network, to nobody's elsewhere, and with an answer whatever comes back."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from devconnect.adapters.http.client import Outbound
from devconnect.ports.delivery import ForbiddenError, UnreachableError
from tests.contract.receivers import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    await found.start()
    yield found
    await found.stop()


class Names(AbstractResolver):
    """Looks names up in a table, and counts."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): found for name, found in names.items()}

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = self.names[host]
        return [{"hostname": host, "host": each, "port": port, "family": 2, "proto": 6, "flags": 0} for each in found]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest",
        "https://localhost/",
        "https://printer.local/",
        "http://example.com/",
        "https://user@example.com/",
        "https://inner.example.com/",
        "https://mixed.example.com:1/",
    ],
)
async def test_nothing_is_sent_to_our_own_network(url: str) -> None:
    names = Names(inner_example_com=["10.1.2.3"], mixed_example_com=["127.0.0.1", "fd00::1"])
    async with Outbound(private=False, within=2.0, now=time.time, resolver=lambda: names) as outbound:
        with pytest.raises(ForbiddenError):
            await outbound.post(url, b"", {})


async def test_nobody_is_followed_elsewhere_and_little_is_read(receiver: Receiver) -> None:
    receiver.answers["one"], receiver.headers = [302], {"Location": receiver.url("two")}
    async with Outbound(private=True, within=2.0, now=time.time) as outbound:
        answer = await outbound.post(receiver.url("one"), b"", {})
        assert (answer.status, len(answer.text)) == (302, 200)
        assert [path for path, _, _ in receiver.asked] == ["one"]
        receiver.hanging.add("one")
        with pytest.raises(UnreachableError, match="no answer within 2 s"):
            await outbound.post(receiver.url("one"), b"", {})


@pytest.mark.parametrize("then", ["silence", "end"])
async def test_an_answer_counts_by_its_status_though_its_text_does_not_come(then: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        if then == "silence":
            await reader.read()  # until the other side has gone
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, Outbound(private=True, within=0.5, now=time.time) as outbound:
        assert (await outbound.post(url, b"", {})).status == 200


async def test_a_retry_after_that_is_no_time_asks_for_nothing(receiver: Receiver) -> None:
    receiver.answers["one"] = [503]
    receiver.headers = {"Retry-After": f"Mon, 01 Jan 2024 00:00:00 +{9**20}"}
    async with Outbound(private=True, within=2.0, now=time.time) as outbound:
        answer = await outbound.post(receiver.url("one"), b"", {})
    assert (answer.status, answer.retry_after) == (503, None)
