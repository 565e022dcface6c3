"""A proxy before Redis that has a gateway miss what is said: pushes get lost, or nothing is heard at all."""

import asyncio
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

from devconnect.stack.ports import LOOPBACK

_AGGREGATES = frozenset(b"*%~>")
_WITH_BYTES = frozenset(b"$=!")


class Ears:
    """Between a gateway and Redis, in a thread of its own, for as long as the `with` block.

    Connections that subscribe are what it is about; all others pass whatever happens.
    """

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        #: Of what is said on people's channels each of so many gets lost; 0 for none.
        self.lose_each = 0
        #: Nothing comes through to whoever has subscribed.
        self.held = False
        #: Whoever subscribes is cut off.
        self.blocked = False
        #: What has got lost, and whoever was cut off.
        self.lost = self.refused = 0
        self._said = 0
        self._loop = asyncio.new_event_loop()
        self._ears: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = 0

    @property
    def url(self) -> str:
        """For the gateway."""
        return f"redis://{LOOPBACK}:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._came, LOOPBACK, 0), self._loop).result(5)
        self._port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Break the connections that have subscribed."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(5)

    async def _cut(self) -> None:
        for writer in self._ears:
            writer.transport.abort()
        self._ears.clear()

    @staticmethod
    async def _end() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, there = await asyncio.open_connection(self._there.hostname, self._there.port)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._asked(reader, there, writer))
                both.create_task(self._told(back, writer))
        except ExceptionGroup:
            pass
        finally:
            self._ears.discard(writer)
            writer.transport.abort()
            there.transport.abort()

    async def _asked(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65_536):
            if b"SUBSCRIBE" in data:
                self._ears.add(client)
                if self.blocked:
                    self.refused += 1
                    break
            there.write(data)
            await there.drain()
        raise ConnectionResetError

    async def _told(self, back: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        rest = b""
        while data := await back.read(65_536):
            if client in self._ears:
                rest = self._pass(rest + data, client)
            else:
                client.write(data)
            with suppress(ConnectionError):
                await client.drain()
        raise ConnectionResetError

    def _pass(self, data: bytes, client: asyncio.StreamWriter) -> bytes:
        """Hand on what is whole, but for what gets lost; the rest."""
        at = 0
        while (end := frame_end(data, at)) is not None:
            frame, at = data[at:end], end
            if self.held:
                self.lost += b":live\r\n" in frame
                continue
            if self.lose_each and frame.startswith(b">") and b"message\r\n" in frame and b":live\r\n" in frame:
                self._said += 1
                if self._said % self.lose_each == 0:
                    self.lost += 1
                    continue
            client.write(frame)
        return data[at:]


def frame_end(data: bytes, at: int) -> int | None:
    """Where the RESP value that begins there ends; None if it isn't all there."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return None
    kind, end = data[at], line + 2
    if kind in _WITH_BYTES:
        size = int(data[at + 1 : line])
        end = end + size + 2 if size >= 0 else end
        return end if end <= len(data) else None
    if kind in _AGGREGATES:
        for _ in range(int(data[at + 1 : line]) * (2 if kind == ord("%") else 1)):
            found = frame_end(data, end)
            if found is None:
                return None
            end = found
    return end
