"""The analyst: an account with that role, which reads the tables over HTTP and waits until they have caught up."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from devconnect.replay.account import Account
from devconnect.replay.client import Gateway, RefusedError, UnreachableError
from devconnect.replay.compare import Counts, Difference, Seen, compare
from devconnect.replay.people import log_in, sign_up
from devconnect.replay.plan import COLUMNS, Activity, Tally

#: Seconds between two looks at the tables.
LOOK = 0.5
#: So many looks in a row must show the same before the counts at the start are believed.
STEADY = 4
#: Seconds that a new role may take to be known to the gateway.
ROLE_PATIENCE = 15.0

#: Seconds that a table which nobody has written to yet may be refused.
UNPUBLISHED = 1.5

#: Gives the account of an e-mail address the role of an analyst.
Promote = Callable[[str], Awaitable[None]]


class Analyst:
    """Reads the tables as an account that may, or with a token of one."""

    def __init__(self, gateway: Gateway, who: Account | str) -> None:
        self._gateway = gateway
        self._who = who
        #: Minutes from here on are looked at: older ones leave the table while a replay goes on.
        self._since = (int(time.time()) - 3600) * 1000

    @classmethod
    async def appoint(cls, gateway: Gateway, run: str, promote: Promote) -> "Analyst":
        """Signs an analyst up, has the role given to it, logs in with it, and waits until the gateway lets it read."""
        email, password = f"analyst.{run}@example.org", secrets.token_urlsafe(16)
        await sign_up(gateway, email, password, "Replay's analyst")
        await promote(email)
        analyst = cls(gateway, await log_in(gateway, email, password))
        deadline = time.monotonic() + ROLE_PATIENCE
        while True:
            try:
                await analyst.counts()
                return analyst
            except RefusedError as error:
                if error.status != 403 or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.1)

    async def rows(self, table: str, patience: float | None = None) -> list[dict[str, Any]]:
        """A whole table, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            path = f"/v1/analytics/tables/{table}?limit=200{cursor}"
            page = await self._gateway.read(path, self._who, patience=patience)
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = f"&cursor={quote(str(page['next']), safe='')}"

    async def rows_if_any(self, table: str) -> list[dict[str, Any]]:
        """A table that may not be there yet: a gateway that could just read another one says 503 for it."""
        try:
            return await self.rows(table, patience=UNPUBLISHED)
        except UnreachableError:
            return []

    async def counts(self) -> Counts:
        """The tables of everybody's events."""
        events = {str(row["type"]): int(row["count"]) for row in await self.rows("events_by_type")}
        rows = await self.rows_if_any("messages_per_minute")
        minutes = sum(int(row["count"]) for row in rows if int(row["minute"]) >= self._since)
        return Counts(events, minutes)

    async def steady_counts(self, patience: float) -> Counts:
        """The counts once they stand still, or after `patience` seconds as they are then."""
        deadline = time.monotonic() + patience
        last, same = await self.counts(), 1
        while same < STEADY and time.monotonic() < deadline:
            await asyncio.sleep(LOOK)
            now = await self.counts()
            last, same = now, same + 1 if now == last else 1
        return last

    async def activity(self, users: Mapping[str, str]) -> dict[str, Activity]:
        """The activity of these users (user id -> person), by person."""
        return {
            users[row["user"]]: Activity(**{column: int(row[column]) for column in COLUMNS})
            for row in await self.rows_if_any("user_activity")
            if row["user"] in users
        }

    async def settled(
        self, expected: Tally, before: Counts, users: Mapping[str, str], patience: float
    ) -> list[Difference]:
        """The differences once there are none in two looks on end, or after `patience` seconds those that are left."""
        deadline = time.monotonic() + patience
        right = False
        while True:
            differences = compare(expected, before, Seen(await self.counts(), await self.activity(users)))
            if (right and not differences) or (differences and time.monotonic() > deadline):
                return differences
            right = not differences
            await asyncio.sleep(LOOK)
