"""When somebody was last here, told to those who keep it for longer than Redis does."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from devconnect.events.base import new_id
from devconnect.events.commands import GoOffline
from devconnect.events.topics import USER_COMMANDS
from devconnect.ports.gateway import Commands
from devconnect.ports.roster import Gone
from devconnect.ports.truth import UnavailableError

#: The device that stands for all sockets of a person.
DEVICE = "sockets"
#: Farewells that are under way at a time, and that wait at most: more are let go of, since the next one says as much.
AT_ONCE, WAITING = 50, 50_000


class Farewells:
    """Sends a command for each who has gone offline, as fast as Kafka takes them. It may be lost: it's a time only."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._due: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def say(self, gone: Sequence[Gone]) -> None:
        """These are offline now."""
        for each in gone[: max(0, WAITING - len(self._due))]:
            self._due[each.user] = each.last_seen
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send_all(), name="farewells")

    async def stop(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send_all(self) -> None:
        while self._due:
            some = [self._due.popitem() for _ in range(min(AT_ONCE, len(self._due)))]
            await asyncio.gather(*(self._send(user, at) for user, at in some))

    async def _send(self, user: str, at: int) -> None:
        command = GoOffline(id=new_id(), actor=user, at=at, session=DEVICE)
        with suppress(UnavailableError):
            await self._commands.send(USER_COMMANDS.name, command.key, USER_COMMANDS.encode(command))
