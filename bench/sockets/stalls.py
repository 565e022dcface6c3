"""How long a server's loop was held up, noted by a timer in it."""

import asyncio
import time

import msgspec
from aiohttp import web

#: Seconds between two looks at the clock.
EVERY = 0.005


class Stalls:
    """The longest time that a timer came late by, and the most processor time of the loop's thread between two of them.

    On a machine that others use the first counts their time too; the second is the loop's own work and nothing else.
    """

    def __init__(self) -> None:
        self._longest = self._busiest = 0.0
        self._due = self._processor = 0.0

    def start(self) -> None:
        """In a running loop."""
        self._due, self._processor = time.perf_counter() + EVERY, time.thread_time()
        asyncio.get_running_loop().call_later(EVERY, self._look)

    def _look(self) -> None:
        self._longest = max(self._longest, time.perf_counter() - self._due)
        self._busiest = max(self._busiest, time.thread_time() - self._processor)
        self.start()

    async def tell(self, _: web.Request) -> web.Response:
        """Both, in milliseconds, since the last time that they were asked for."""
        found = {"longest_ms": self._longest * 1000, "busiest_ms": self._busiest * 1000}
        self._longest = self._busiest = 0.0
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")
