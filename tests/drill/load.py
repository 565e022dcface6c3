"""Steady load over HTTP by people who know what they were told: what was accepted is in the book, each once."""

import asyncio
import itertools
from collections import defaultdict
from random import Random
from typing import Any, NamedTuple

from devconnect.domain.presence import LEASE_MS
from devconnect.events.base import pair_id
from devconnect.keys import id_secret
from devconnect.replay.client import Done, Gateway, RefusedError, UnreachableError
from devconnect.settings import Settings
from tests.counting import Fact
from web.ids import Ids

PASSWORD = "correct horse battery staple"
#: Shares of the commands that are sent twice at once, and sent again when they are answered.
AT_ONCE, AGAIN = 0.08, 0.08
#: What an answer to a repeat may differ in: how it was waited for, and a token that was signed anew.
VOLATILE = ("command", "token")


class Entry(NamedTuple):
    """An accepted command. `at` of the fact is 0 where the answer didn't say it."""

    command: str
    fact: Fact


class Book:
    """What everybody was told."""

    def __init__(self) -> None:
        self.accepted: list[Entry] = []
        self.refused: dict[str, str] = {}
        #: Pair id -> the ids of its messages in order.
        self.said: dict[str, list[str]] = defaultdict(list)
        #: Tokens of sessions that were ended.
        self.over: list[str] = []
        #: Pair id -> whether the two are connected.
        self.connected: dict[str, bool] = {}
        #: Answers that were not what they had to be.
        self.wrong: list[str] = []


class Person:
    """An account of the drill."""

    def __init__(self, user: str, email: str, token: str) -> None:
        self.user, self.email, self.token = user, email, token


class Load:
    """So many people, each of whom does one thing after the other: their own, and with two peers of theirs."""

    def __init__(self, gateway: Gateway, settings: Settings, seed: int, run: str, people: int) -> None:
        self.book = Book()
        self.people: list[Person] = []
        self._gateway = gateway
        self._ids = Ids(id_secret(settings))
        self._idle_ms = settings.session_idle * 1000
        self._random = Random(seed)
        self._run, self._many = run, people
        self._keys = itertools.count()
        self._names = itertools.count()

    async def open(self) -> None:
        """Everybody signs up and logs in."""
        self.people = list(await asyncio.gather(*(self.join() for _ in range(self._many))))

    async def work(self, stop: asyncio.Event) -> None:
        """Everybody goes on until `stop` is set, or they are never answered; what is under way then is ended."""
        async with asyncio.TaskGroup() as group:
            for number, person in enumerate(self.people):
                peers = [self.people[(number + step) % self._many] for step in (1, 5)]
                group.create_task(self._live(Random(self._random.random()), person, peers, stop))

    async def join(self) -> Person:
        """Sign up and log in."""
        email = f"person.{next(self._names)}.{self._run}@example.org"
        body = {"email": email, "password": PASSWORD, "name": "Somebody"}
        done = await self._ask("POST", "/v1/users", body)
        assert done is not None, "a new address is nobody else's"
        self._accept(done, "user.signed_up", done.result["created_at"], done.result["id"])
        person = Person(done.result["id"], email, "")
        person.token = await self._log_in(person)
        return person

    # -- what a person does

    async def _live(self, random: Random, person: Person, peers: list[Person], stop: asyncio.Event) -> None:
        own = (self._change_profile, self._come_online, self._log_in_and_out, self._read_notifications, self._newcomer)
        try:
            while not stop.is_set():
                if random.random() < 0.25:
                    await random.choice(own)(random, person)
                else:
                    await self._with(random, person, random.choice(peers))
        except UnreachableError as error:
            self.book.wrong.append(f"never answered: {error}")

    async def _with(self, random: Random, person: Person, peer: Person) -> None:
        """The next thing between two: only this person does anything in this pair, in both names."""
        pair = pair_id(person.user, peer.user)
        if not self.book.connected.get(pair):
            if random.random() < 0.3:
                await self._refused(self._said(person, peer, "too soon"), "not_connected")
            return await self._connect(person, peer)
        if random.random() < 0.03:
            return await self._remove(person, peer)
        sender, recipient = (person, peer) if random.random() < 0.6 else (peer, person)
        done = await self._said(sender, recipient, f"{random.random()}")
        if done is None:
            self.book.wrong.append(f"{sender.user} is connected with {recipient.user}, and may not write to them")
            return
        result = done.result
        self._accept(done, "message.sent", result["at"], sender.user, recipient.user)
        self.book.said[pair].append(result["id"])
        if random.random() < 0.2:
            kind, fact = random.choice((("read", "message.read"), ("delivered", "message.delivered")))
            marked = await self._ask(
                "POST", f"/v1/conversations/{sender.user}/{kind}", {"up_to": result["seq"]}, recipient
            )
            self._accept(marked, fact, 0, recipient.user)

    async def _said(self, sender: Person, recipient: Person, text: str) -> Done | None:
        return await self._ask("POST", f"/v1/conversations/{recipient.user}/messages", {"text": text}, sender)

    async def _connect(self, person: Person, peer: Person) -> None:
        body = {"user": peer.user, "interest": "interested"}
        done = await self._ask("POST", "/v1/connections", body, person)
        self._accept(done, "connection.requested", done and done.result["at"], person.user, peer.user)
        await self._refused(self._ask("POST", "/v1/connections", body, person), "already_requested")
        done = await self._ask("POST", f"/v1/connections/{person.user}/review", {"verdict": "accepted"}, peer)
        self._accept(done, "connection.accepted", done and done.result["at"], peer.user, person.user)
        self.book.connected[pair_id(person.user, peer.user)] = True

    async def _remove(self, person: Person, peer: Person) -> None:
        done = await self._ask("DELETE", f"/v1/connections/{peer.user}", None, person)
        self._accept(done, "connection.removed", done and done.result["at"], person.user, peer.user)
        self.book.connected[pair_id(person.user, peer.user)] = False

    async def _change_profile(self, random: Random, person: Person) -> None:
        done = await self._ask("PATCH", "/v1/me", {"headline": f"{random.random()}"}, person)
        self._accept(done, "user.profile_changed", 0, person.user)

    async def _come_online(self, random: Random, person: Person) -> None:
        done = await self._ask("PUT", "/v1/me/presence", {"online": True}, person)
        self._accept(done, "user.came_online", done and done.result["until"] - LEASE_MS, person.user)

    async def _log_in(self, person: Person) -> str:
        body = {"email": person.email, "password": PASSWORD, "device": "drill"}
        done = await self._ask("POST", "/v1/sessions", body)
        self._accept(done, "user.logged_in", done and done.result["expires_at"] - self._idle_ms, person.user)
        return str(done.result["token"]) if done else ""

    async def _log_in_and_out(self, random: Random, person: Person) -> None:
        token, key = await self._log_in(person), self._key()
        try:
            done = await self._gateway.ask("DELETE", "/v1/sessions/current", None, token, key=key)
        except RefusedError as error:
            if error.status != 401:
                raise
            # It was done, the answer was lost, and who asks again is logged out by then.
            done = Done(self._ids.command(person.user, "DELETE /v1/sessions/current", key), {})
        self._accept(done, "user.logged_out", 0, person.user)
        self.book.over.append(token)

    async def _read_notifications(self, random: Random, person: Person) -> None:
        page = await self._gateway.read("/v1/me/notifications?limit=3", person.token)
        ids = [item["id"] for item in page["items"]]
        if ids:
            done = await self._ask("POST", "/v1/me/notifications/read", {"notifications": ids}, person)
            self._accept(done, "user.notifications_read", 0, person.user)

    async def _newcomer(self, random: Random, person: Person) -> None:
        if random.random() < 0.3:
            await self.join()

    # -- asking and keeping the book

    def _key(self) -> str:
        return f"{self._run}-{next(self._keys)}"

    async def _ask(self, method: str, path: str, body: Any, person: Person | None = None) -> Done | None:
        """The answer, None when it was no; now and then asked for twice, which must change nothing."""
        token, key, dice = person.token if person else None, self._key(), self._random.random()
        tries = 2 if dice < AT_ONCE + AGAIN else 1

        async def once() -> Done | RefusedError:
            try:
                return await self._gateway.ask(method, path, body, token, key=key)
            except RefusedError as error:
                return error

        if dice < AT_ONCE:
            answers = list(await asyncio.gather(*(once() for _ in range(tries))))
        else:
            answers = [await once() for _ in range(tries)]
        if len({_told(answer) for answer in answers}) > 1:
            self.book.wrong.append(f"{method} {path} with one key: {answers}")
        [answer, *_] = answers
        if isinstance(answer, Done):
            return answer
        self.book.refused[answer.command] = answer.code
        return None

    async def _refused(self, asking: Any, code: str) -> None:
        """It must be turned down, for this reason."""
        before = set(self.book.refused)
        done = await asking
        codes = {self.book.refused[command] for command in set(self.book.refused) - before}
        if done is not None or code not in codes:
            self.book.wrong.append(f"{code} was due: {done} {codes}")

    def _accept(self, done: Done | None, kind: str, at: int | None, by: str, other: str = "") -> None:
        if done is None:
            self.book.wrong.append(f"{kind} by {by} was refused: {list(self.book.refused.items())[-3:]}")
        else:
            self.book.accepted.append(Entry(done.command, Fact(kind, at or 0, by, other)))


def _told(answer: Done | RefusedError) -> str:
    if isinstance(answer, RefusedError):
        return f"{answer.command} {answer.code}"
    shown = {name: value for name, value in answer.result.items() if name not in VOLATILE}
    return f"{answer.command} {sorted(shown.items(), key=str)}"
