"""Passwords: argon2id, and the rules for new ones, in a few threads, so that the event loop never waits for either."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from devconnect.ports.gateway import BusyError, Passwords
from devconnect.settings import Settings
from web.password_rules import spelled, too_easy, too_long_or_short

T = TypeVar("T")

#: How many may wait for a thread: a few seconds' worth.
QUEUE = 256


class ArgonPasswords(Passwords):
    """argon2id with the costs of the settings."""

    def __init__(self, settings: Settings, *, threads: int | None = None, queue: int = QUEUE) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
        )
        workers = threads or min(4, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._dummy = self._hasher.hash("nobody's password")
        self._room = workers + queue
        self._least = settings.password_min

    async def hash(self, password: str) -> str:
        text = spelled(password)
        return await self._run(lambda: self._hasher.hash(text))

    async def verify(self, stored: str | None, password: str) -> bool:
        text = spelled(password)
        right = await self._run(lambda: self._verify(stored or self._dummy, text))
        return right and stored is not None

    async def check(self, password: str, inputs: Sequence[str]) -> str | None:
        wrong = too_long_or_short(password, self._least)
        return wrong or await self._run(lambda: too_easy(password, inputs))

    def close(self) -> None:
        """Let the threads end; what still waits for one is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._room == 0:
            raise BusyError("too many passwords to hash")
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._room += 1
