"""Plays the steps: those of one pair strictly one after the other, those of different pairs at once."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct

from devconnect.replay.client import Gateway, RefusedError
from devconnect.replay.people import People
from devconnect.replay.plan import Step

#: Rows that may be read ahead of those that are done: enough to keep many pairs busy while one has much to say.
AHEAD = 4096


class Failure(Struct, frozen=True):
    """A row that was refused."""

    line: int
    what: str
    why: str


class Player:
    """Plays through one gateway. `on_row` is called after each row, done or refused; `failures` are the refused."""

    def __init__(self, gateway: Gateway, people: People, on_row: Callable[[], None]) -> None:
        self.failures: list[Failure] = []
        self._gateway = gateway
        self._people = people
        self._on_row = on_row
        self._room = asyncio.Semaphore(AHEAD)
        self._lanes: dict[frozenset[str], deque[Step]] = {}

    async def play(self, steps: Iterable[Step]) -> None:
        """Returns when every step is done or refused.

        Raises:
            ExceptionGroup: of what went wrong otherwise, an UnreachableError for the most part.
        """
        async with asyncio.TaskGroup() as group:
            for step in steps:
                await self._room.acquire()
                lane = self._lanes.get(step.pair)
                if lane is not None:
                    lane.append(step)
                    continue
                self._lanes[step.pair] = deque([step])
                group.create_task(self._lane(step.pair))

    async def _lane(self, pair: frozenset[str]) -> None:
        lane = self._lanes[pair]
        while lane:
            step = lane.popleft()
            try:
                await self._do(step)
            except RefusedError as error:
                what = "connect" if step.connects else "message"
                self.failures.append(Failure(step.meeting.line, what, str(error)))
            self._room.release()
            self._on_row()
        del self._lanes[pair]

    async def _do(self, step: Step) -> None:
        meeting = step.meeting
        first, second = await asyncio.gather(
            self._people.account(meeting.first, meeting.first_group),
            self._people.account(meeting.second, meeting.second_group),
        )
        if not step.connects:
            text = f"We met at {meeting.at} (row {meeting.line})"
            await self._gateway.command(f"/v1/conversations/{second.user}/messages", {"text": text}, first)
            return
        await self._gateway.command("/v1/connections", {"user": second.user, "interest": "interested"}, first)
        await self._gateway.command(f"/v1/connections/{first.user}/review", {"verdict": "accepted"}, second)
