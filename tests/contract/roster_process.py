"""A gateway's roster in a process of its own, and who starts, kills and stops it."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from devconnect.adapters.redis.connect import connect_fast
from devconnect.adapters.redis.roster import Roster

ROOT = Path(__file__).parents[2]


class Child:
    """One with these people, once it is entered; `gateway` is its id then. Killed at the end."""

    def __init__(self, url: str, lease: float, users: Sequence[str]) -> None:
        self._words = [sys.executable, "-m", __name__, url, str(lease), *users]

    async def __aenter__(self) -> "Child":
        # The gateways of the test have leases to renew meanwhile.
        said, self.gateway = await asyncio.to_thread(self._start)
        assert said == "READY"
        return self

    def _start(self) -> list[str]:
        self._process = subprocess.Popen(self._words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()

    async def __aexit__(self, *_: Any) -> None:
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


async def main(url: str, lease: float, *users: str) -> None:
    """Until it is killed."""
    roster = Roster(connect_fast(url), lease=lease)
    await roster.start()
    known = await asyncio.gather(*map(roster.join, users))
    sys.stdout.write(f"{'READY' if all(known) else 'FAILED'} {roster.gateway}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:]))
