"""Asks the gateway in people's names: every command under a key of its own, now and then twice."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from devconnect.keys import id_secret
from devconnect.links import Links
from devconnect.replay.client import Done, Gateway, RefusedError
from devconnect.settings import Settings
from tests.counting import Fact
from tests.drill.book import Book, Person
from web.ids import Ids

#: Shares of the commands that are sent twice at once, and sent again when they are answered.
AT_ONCE, AGAIN = 0.08, 0.08
#: What an answer to a repeat may differ in: how it was waited for, and tokens that were signed anew.
VOLATILE = ("command", "token", "renewal_token", "device_token", "token_expires_at")
#: What somebody is answered who asks again for what has ended their session, or taken their password.
DONE_ALREADY = ("not_logged_in", "wrong_password")

Answer = Done | RefusedError


class Asker:
    """One for all people: what it is answered is in its book."""

    def __init__(self, gateway: Gateway, settings: Settings, random: Random, run: str) -> None:
        self.book = Book()
        self.gateway = gateway
        secret = id_secret(settings)
        self.links = Links(secret)
        self.idle_ms = settings.session_idle * 1000
        self._ids, self._random = Ids(secret), random
        self._run, self._keys = run, itertools.count()

    def key(self) -> str:
        """An Idempotency-Key that nobody has used."""
        return f"{self._run}-{next(self._keys)}"

    def command(self, person: Person, method: str, route: str, key: str) -> str:
        """The id of the command that somebody gives under a key."""
        return self._ids.command(person.user, f"{method} {route}", key)

    def session(self, command: str) -> str:
        """The id of the session that a command opens."""
        return self._ids.session(command)

    async def ask(self, method: str, path: str, body: Any, person: Person | None = None) -> Answer:
        """The answer; now and then it is asked for twice, which must change nothing."""
        key = self.key()

        async def asking() -> Done:
            while True:
                token = person.token if person else None
                try:
                    return await self.gateway.ask(method, path, body, token, key=key)
                except RefusedError as error:
                    if person is None or error.code != "not_logged_in":
                        raise
                    async with person.changing:
                        if person.token == token:
                            raise

        return await self.twice(f"{method} {path}", asking)

    async def twice(self, name: str, asking: Callable[[], Awaitable[Done]]) -> Answer:
        """The answer to what is asked under one key, once or twice."""
        dice = self._random.random()
        tries = 2 if dice < AT_ONCE + AGAIN else 1

        async def once() -> Answer:
            try:
                return await asking()
            except RefusedError as error:
                return error

        if dice < AT_ONCE:
            answers = list(await asyncio.gather(*(once() for _ in range(tries))))
        else:
            answers = [await once() for _ in range(tries)]
        if len({_told(answer) for answer in answers}) > 1:
            self.book.wrong.append(f"{name} with one key: {answers}")
        return answers[0]

    async def last(self, method: str, route: str, body: Any, person: Person, token: str) -> str:
        """The id of the command that ends the session that asks for it, whoever hears of the answer."""
        key = self.key()
        try:
            return (await self.gateway.ask(method, route, body, token, key=key)).command
        except RefusedError as error:
            if error.code not in DONE_ALREADY:
                raise
            # It was done, the answer was lost, and who asks again is logged out by then.
            return self.command(person, method, route, key)

    def accept(self, answer: Answer, *facts: Fact) -> dict[str, Any]:
        """It must have been accepted, and this has happened; returns its result."""
        if isinstance(answer, RefusedError):
            self.book.wrong.append(f"{facts} was refused: {answer}")
            return {}
        self.book.accept(answer.command, *facts)
        return answer.result

    def refuse(self, answer: Answer, code: str, *facts: Fact) -> None:
        """It must have been turned down, for this reason; even so this may have happened."""
        if isinstance(answer, RefusedError) and answer.code == code:
            self.book.refuse(answer.command, code, *facts)
        else:
            self.book.wrong.append(f"{code} was due: {answer}")


def _told(answer: Answer) -> str:
    if isinstance(answer, RefusedError):
        return f"{answer.command} {answer.code}"
    shown = {name: value for name, value in answer.result.items() if name not in VOLATILE}
    return f"{answer.command} {sorted(shown.items(), key=str)}"
