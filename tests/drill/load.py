"""Steady load over HTTP by people who know what they were told: what was accepted is in the book, each once."""

import asyncio
from random import Random
from typing import Any

from devconnect.events.base import pair_id
from devconnect.replay.client import Done, Gateway, RefusedError, UnreachableError
from devconnect.settings import Settings
from tests.counting import Fact
from tests.drill.asking import Answer, Asker
from tests.drill.book import Person, Report, Said, Talk
from tests.drill.sessions import Accounts

#: How often what two do is something else than a message.
REMOVE, BLOCK, REPORT, EDIT, DELETE, MARK = 0.02, 0.03, 0.03, 0.1, 0.05, 0.2


class Load:
    """So many people, each of whom does one thing after the other: their own, and with two peers of theirs.

    The operator is nobody's peer: they close reports, and read the tables.
    """

    def __init__(self, gateway: Gateway, settings: Settings, seed: int, run: str, people: int) -> None:
        self._random = Random(seed)
        self._asker = Asker(gateway, settings, self._random, run)
        self._accounts = Accounts(self._asker, run)
        self.book = self._asker.book
        self.people: list[Person] = []
        self._many = people
        self._operator: Person | None = None

    @property
    def operator(self) -> Person:
        """Who may do everything."""
        assert self._operator is not None, "nobody has joined yet"
        return self._operator

    async def open(self) -> None:
        """Everybody signs up and logs in."""
        self.people = list(await asyncio.gather(*(self._accounts.join() for _ in range(self._many))))
        self._operator = await self._accounts.join()

    async def rise(self, person: Person) -> None:
        """A session with the rights that they have now."""
        person.session = await self._accounts.log_in(person)

    async def go_on(self, person: Person) -> None:
        """The next tokens of somebody's session."""
        async with person.changing:
            await self._accounts.go_on(self._random, person)

    async def work(self, stop: asyncio.Event) -> None:
        """Everybody goes on until `stop` is set, or they are never answered; what is under way then is ended."""
        async with asyncio.TaskGroup() as group:
            for number, person in enumerate(self.people):
                peers = [self.people[(number + step) % self._many] for step in (1, 5)]
                group.create_task(self._live(Random(self._random.random()), person, peers, stop))

    async def _live(self, random: Random, person: Person, peers: list[Person], stop: asyncio.Event) -> None:
        own = self._accounts
        alone = (
            own.change_profile,
            own.come_online,
            own.log_in_and_out,
            own.log_out_elsewhere,
            own.go_on,
            own.be_robbed,
            own.change_password,
            own.move,
            own.read_notifications,
            own.newcomer,
        )
        try:
            while not stop.is_set():
                if random.random() < 0.2:
                    await random.choice(alone)(random, person)
                else:
                    await self._with(random, person, random.choice(peers))
        except UnreachableError as error:
            self.book.wrong.append(f"never answered: {error}")
        except RefusedError as error:
            self.book.wrong.append(f"refused to {person.user}: {error}")

    # -- what two people do: only one of them does anything in this pair, in both names

    async def _with(self, random: Random, person: Person, peer: Person) -> None:
        """The next thing between two."""
        talk = self.book.talks[pair_id(person.user, peer.user)]
        if talk.blocked_by:
            return await self._unblock(random, talk, *self._ordered(talk.blocked_by, person, peer))
        if not talk.connected:
            if random.random() < 0.3:
                self._asker.refuse(await self._say(person, peer, "too soon"), "not_connected")
            return await self._connect(random, talk, person, peer)
        dice = random.random()
        if dice < REMOVE:
            return await self._remove(talk, person, peer)
        one, other = (person, peer) if random.random() < 0.6 else (peer, person)
        if dice < REMOVE + BLOCK:
            return await self._block(talk, one, other)
        if dice < REMOVE + BLOCK + REPORT:
            return await self._report(one, other)
        if dice < REMOVE + BLOCK + REPORT + EDIT + DELETE and talk.said:
            said = random.choice(talk.said)
            sender, recipient = self._ordered(said.sender, person, peer)
            change = self._edit if dice < REMOVE + BLOCK + REPORT + EDIT else self._delete
            return await change(random, said, sender, recipient)
        return await self._talk(random, talk, one, other)

    def _ordered(self, first: str, one: Person, other: Person) -> tuple[Person, Person]:
        return (one, other) if one.user == first else (other, one)

    async def _talk(self, random: Random, talk: Talk, sender: Person, recipient: Person) -> None:
        done = await self._say(sender, recipient, _words(random))
        at = done.result["at"] if isinstance(done, Done) else 0
        result = self._asker.accept(done, Fact("message.sent", at, sender.user, recipient.user))
        if not result:
            return
        talk.said.append(Said(result))
        if random.random() < MARK:
            kind, fact = random.choice((("read", "message.read"), ("delivered", "message.delivered")))
            path, body = f"/v1/conversations/{sender.user}/{kind}", {"up_to": result["seq"]}
            marked = self._asker.accept(
                await self._asker.ask("POST", path, body, recipient), Fact(fact, 0, recipient.user)
            )
            if kind == "read":
                talk.read[recipient.user] = result["seq"]
            unread = len(talk.unread(recipient.user))
            if marked.get("unread") != unread:
                self.book.wrong.append(f"{marked} in place of {unread} unread")

    async def _say(self, sender: Person, recipient: Person, text: str) -> Answer:
        return await self._asker.ask("POST", f"/v1/conversations/{recipient.user}/messages", {"text": text}, sender)

    async def _edit(self, random: Random, said: Said, sender: Person, recipient: Person) -> None:
        text, path = _words(random, not_=said.text), f"/v1/conversations/{recipient.user}/messages/{said.seq}"
        answer = await self._asker.ask("PATCH", path, {"text": text}, sender)
        if said.deleted:
            return self._asker.refuse(answer, "message_deleted")
        self._asker.accept(answer, Fact("message.edited", 0, sender.user))
        said.text = text

    async def _delete(self, random: Random, said: Said, sender: Person, recipient: Person) -> None:
        path = f"/v1/conversations/{recipient.user}/messages/{said.seq}"
        if random.random() < 0.2:
            self._asker.refuse(await self._asker.ask("DELETE", _to(path, sender), None, recipient), "not_allowed")
        answer = await self._asker.ask("DELETE", path, None, sender)
        self._asker.accept(answer, *([] if said.deleted else [Fact("message.deleted", 0, sender.user)]))
        said.deleted, said.text = True, ""

    async def _connect(self, random: Random, talk: Talk, person: Person, peer: Person) -> None:
        dice = random.random()
        if dice < 0.2:
            await self._ask_to(person, peer, "ignored", "connection.ignored")
        await self._ask_to(person, peer, "interested", "connection.requested")
        body = {"user": peer.user, "interest": "interested"}
        self._asker.refuse(await self._asker.ask("POST", "/v1/connections", body, person), "already_requested")
        if dice > 0.8:
            path = f"/v1/connections/requests/{peer.user}"
            await self._between(person, peer, "DELETE", path, None, "connection.withdrawn")
            await self._ask_to(person, peer, "interested", "connection.requested")
        review = f"/v1/connections/{person.user}/review", {"verdict": "accepted"}
        await self._between(peer, person, "POST", *review, "connection.accepted")
        talk.connected = True

    async def _ask_to(self, person: Person, peer: Person, interest: str, fact: str) -> None:
        body = {"user": peer.user, "interest": interest}
        await self._between(person, peer, "POST", "/v1/connections", body, fact)

    async def _between(self, by: Person, other: Person, method: str, path: str, body: Any, *facts: str) -> None:
        """What one of two does to what is between them."""
        done = await self._asker.ask(method, path, body, by)
        at = done.result["at"] if isinstance(done, Done) else 0
        self._asker.accept(done, *(Fact(fact, at, by.user, other.user) for fact in facts))

    async def _remove(self, talk: Talk, person: Person, peer: Person) -> None:
        await self._between(person, peer, "DELETE", f"/v1/connections/{peer.user}", None, "connection.removed")
        talk.connected = False

    async def _block(self, talk: Talk, by: Person, other: Person) -> None:
        facts = "connection.removed", "connection.blocked"
        await self._between(by, other, "PUT", f"/v1/blocks/{other.user}", None, *facts)
        talk.connected, talk.blocked_by = False, by.user

    async def _unblock(self, random: Random, talk: Talk, by: Person, other: Person) -> None:
        ask = {"user": other.user, "interest": "interested"}
        self._asker.refuse(await self._asker.ask("POST", "/v1/connections", ask, by), "blocked_by_you")
        self._asker.refuse(
            await self._asker.ask("POST", "/v1/connections", {**ask, "user": by.user}, other), "user_unknown"
        )
        self._asker.refuse(await self._say(other, by, "hello?"), "not_connected")
        await self._between(by, other, "DELETE", f"/v1/blocks/{other.user}", None, "connection.unblocked")
        talk.blocked_by = ""

    async def _report(self, by: Person, other: Person) -> None:
        """The operators are told, and done with it, unless they know already."""
        body = {"user": other.user, "reason": "spam", "note": "see what they say"}
        answer = await self._asker.ask("POST", "/v1/reports", body, by)
        is_open = [name for name, each in self.book.reports.items() if each == Report(by.user, other.user)]
        if not is_open:
            at = answer.result["at"] if isinstance(answer, Done) else 0
            result = self._asker.accept(answer, Fact("connection.reported", at, by.user))
            self.book.reports[str(result.get("report"))] = Report(by.user, other.user)
            return
        self._asker.refuse(answer, "already_reported")
        closing = {"outcome": "warned"}
        closed = await self._asker.ask("POST", f"/v1/reports/{is_open[0]}/close", closing, self.operator)
        self._asker.accept(closed, Fact("connection.report_closed", 0, ""))
        self.book.reports[is_open[0]] = Report(by.user, other.user, "warned")


def _to(path: str, peer: Person) -> str:
    """The same message as the other of the two names it."""
    start, _, rest = path.partition("/messages/")
    return f"{start.rpartition('/')[0]}/{peer.user}/messages/{rest}"


def _words(random: Random, not_: str = "") -> str:
    """A text, another one than `not_`."""
    text = " ".join(f"word{random.randrange(500)}" for _ in range(random.randrange(1, 6)))
    return text if text != not_ else f"{text} again"
