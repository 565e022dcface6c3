"""The people of a trace as accounts: each signs up and logs in once, when they first appear."""

import asyncio
import re
import secrets
from typing import Any

from devconnect.replay.account import Account
from devconnect.replay.client import Gateway

_PLAIN = re.compile(r"[a-z0-9_-]{1,32}")
#: Accounts that are opened at once: until it has succeeded each counts as an attempt, and an address has few of these.
OPENING = 16


class People:
    """Everybody of one run. `run` is in their e-mail addresses, so that a second run on the same data is other people;
    the password is random, and forgotten with this process.
    """

    def __init__(self, gateway: Gateway, run: str) -> None:
        self._gateway = gateway
        self._run = run
        self._password = secrets.token_urlsafe(16)
        self._opened: dict[str, asyncio.Task[Account]] = {}
        self._doors = asyncio.Semaphore(OPENING)

    async def account(self, person: str, group: str) -> Account:
        """The person's account; the first call signs them up with their group as a skill, all others wait for it."""
        task = self._opened.get(person)
        if task is None:
            task = asyncio.create_task(self._open(person, len(self._opened), group))
            self._opened[person] = task
        # Whoever is cancelled while waiting must not take the account from the others.
        return await asyncio.shield(task)

    def users(self) -> dict[str, str]:
        """User id -> person, of those who have signed up."""
        done = {person: task for person, task in self._opened.items() if task.done() and not task.cancelled()}
        return {task.result().user: person for person, task in done.items() if task.exception() is None}

    def close(self) -> None:
        """Stops the sign-ups that nobody waits for any more."""
        for task in self._opened.values():
            if not task.cancel() and not task.cancelled():
                task.exception()  # looked at, so that asyncio doesn't complain that nobody has

    async def _open(self, person: str, number: int, group: str) -> Account:
        async with self._doors:
            return await open_account(
                self._gateway, address(person, number, self._run), self._password, person, {"skills": [group]}
            )


def address(person: str, number: int, run: str) -> str:
    """An e-mail address for the `number`-th person: readable where the name allows it, different for each."""
    local = person if _PLAIN.fullmatch(person) else f"person.{number}"
    return f"{local}.{run}@example.org"


async def open_account(
    gateway: Gateway, email: str, password: str, name: str, more: dict[str, Any] | None = None
) -> Account:
    """Signs up and logs in; raises what `Gateway.command` raises."""
    user = await sign_up(gateway, email, password, name, more)
    logged_in = await log_in(gateway, email, password)
    if user != logged_in.user:
        raise RuntimeError(f"{email} signed up as {user} and logged in as {logged_in.user}")
    return logged_in


async def sign_up(gateway: Gateway, email: str, password: str, name: str, more: dict[str, Any] | None = None) -> str:
    """Signs up and returns the user's id; raises what `Gateway.command` raises."""
    account = await gateway.command("/v1/users", {"email": email, "password": password, "name": name, **(more or {})})
    return str(account["id"])


async def log_in(gateway: Gateway, email: str, password: str) -> Account:
    """Logs in; raises what `Gateway.command` raises."""
    opened = await gateway.command("/v1/sessions", {"email": email, "password": password, "device": "replay"})
    return Account(str(opened["user"]), str(opened["token"]), str(opened["renewal_token"]))
