"""After the drill: each store, table and list against the book."""

import asyncio
import json
from collections import Counter
from typing import Any
from urllib.parse import quote

import msgspec
from pymongo import MongoClient

from devconnect import stack
from devconnect.adapters.mongo.records import decision_of
from devconnect.domain.analytics import TABLES
from devconnect.domain.model import Decision
from devconnect.events.base import type_of
from devconnect.events.topics import ANALYTICS_EVENTS, EVENT_TOPICS, analytics_events
from devconnect.replay.analyst import Analyst
from devconnect.replay.client import Gateway, RefusedError
from tests import counting
from tests.counting import Fact, differences
from tests.drill.load import Load, Person
from tests.e2e import kafka
from tests.e2e.system import System

Document = dict[str, Any]
#: Who gives roles on the machine.
OPERATOR = "system"
ACCEPTED = "accepted"
#: Milliseconds that a question to the database may take.
MONGO_MS = 60_000


class Verdict(msgspec.Struct, frozen=True):
    """`differences` are lines; `repeated` is how many records of events were repeats; `windows` are those published."""

    differences: list[str]
    events: int
    repeated: int
    windows: int


class Verifier:
    """Looks at everything once; what is still under way shows as differences."""

    def __init__(self, system: System, gateway: Gateway, analyst: Analyst, load: Load) -> None:
        self._system, self._gateway, self._analyst = system, gateway, analyst
        self._book, self._people = load.book, load.people
        self._wrong: set[str] = set()
        #: How many windows there were when we looked last.
        self.windows = 0

    async def look(self) -> Verdict:
        """What isn't as the book says."""
        decisions = self._decisions()
        self._wrong = set(self._book.wrong)
        facts = self._facts(decisions)
        events = await asyncio.to_thread(self._events)
        found = [*sorted(self._wrong), *self._decided(decisions)]
        found += differences("event", {each: 1 for each in events}, self._due_events(decisions))
        found += await self._tables(facts)
        found += await asyncio.to_thread(self._windows, facts)
        found += await self._conversations()
        found += await self._told(facts)
        found += await self._sessions()
        found += [f"dead letter: {letter}" for letter in await asyncio.to_thread(kafka.letters, self._system)]
        return Verdict(found, len(events), sum(events.values()) - len(events), self.windows)

    # -- decisions and events

    def _decisions(self) -> dict[str, Decision]:
        return {decision.id: decision for decision in map(decision_of, self._documents("decisions"))}

    def _documents(self, collection: str) -> list[Document]:
        """All there are, read from the database itself."""
        settings = self._system.settings
        with MongoClient[Document](stack.addresses(settings).mongo, timeoutMS=MONGO_MS) as mongo:
            return list(mongo[settings.mongo_db][collection].find())

    def _decided(self, decisions: dict[str, Decision]) -> list[str]:
        """Each command of the book is decided as its asker was told, and no other is but for the operator's."""
        due = {entry.command: ACCEPTED for entry in self._book.accepted} | self._book.refused
        due |= {command: ACCEPTED for command, each in decisions.items() if each.actor == OPERATOR}
        stored = {command: each.problem.code if each.problem else ACCEPTED for command, each in decisions.items()}
        twice = [command for command, times in Counter(e.command for e in self._book.accepted).items() if times > 1]
        return [f"accepted twice: {twice}"] * bool(twice) + differences("decision", stored, due)

    def _facts(self, decisions: dict[str, Decision]) -> list[Fact]:
        """The book, with the times that only the decisions hold; and what the operator did."""
        facts = []
        for command, fact in self._book.accepted:
            at = decisions[command].at if command in decisions else fact.at
            if fact.at and fact.at != at:
                self._wrong.add(f"{command} was told to be of {fact.at}, and is of {at}")
            facts.append(fact._replace(at=at))
            if fact.type == "user.signed_up":
                facts.append(Fact("user.email_verification_requested", at, fact.by))
        operators = [each for each in decisions.values() if each.actor == OPERATOR]
        return facts + [Fact(type_of(event), event.at, event.user) for each in operators for event in each.events]

    def _due_events(self, decisions: dict[str, Decision]) -> dict[str, int]:
        operators = [command for command, each in decisions.items() if each.actor == OPERATOR]
        due = {f"{command}.0": 1 for command in [*(entry.command for entry in self._book.accepted), *operators]}
        # A sign-up sends a link besides.
        return due | {f"{command}.1": 1 for command, fact in self._book.accepted if fact.type == "user.signed_up"}

    def _events(self) -> dict[str, int]:
        """Event id -> how many records of it there are, which must be the same."""
        found: Counter[str] = Counter()
        said: dict[str, bytes] = {}
        for value in (record.value for topic in EVENT_TOPICS for record in kafka.records(self._system, topic.name)):
            name = str(msgspec.json.decode(value)["id"])
            found[name] += 1
            if said.setdefault(name, value) != value:
                self._wrong.add(f"two events called {name}: {said[name]!r} {value!r}")
        return found

    # -- what people read

    async def _tables(self, facts: list[Fact]) -> list[str]:
        due = counting.count(facts)
        found = []
        for name in TABLES:
            over_http = _view(name, await self._analyst.rows(name))
            found += differences(f"{name} over HTTP", over_http, due[name])
            shown = self._system.cli("tables", "show", name, "--json")
            on_machine = _view(name, json.loads(shown.stdout)["items"]) if shown.returncode == 0 else {}
            found += differences(f"{name} on the machine", on_machine, due[name])
        return found

    def _windows(self, facts: list[Fact]) -> list[str]:
        """Each window that was published is published once, with the count of all that happened in it."""
        due = counting.count(facts)
        found = []
        times: Counter[str] = Counter()
        for record in kafka.records(self._system, ANALYTICS_EVENTS.name, committed=True):
            event = analytics_events.decode(record.value)
            times[event.key] += 1
            values = tuple(event.values[column] for column in TABLES[event.table].columns)
            if values != due[event.table].get(str(event.window)):
                found.append(f"window {event.key}: {values} in place of {due[event.table].get(str(event.window))}")
        self.windows = len(times)
        return found + [f"window {key}: published {each} times" for key, each in times.items() if each > 1]

    async def _conversations(self) -> list[str]:
        found = []
        tokens = {person.user: person for person in self._people}
        for pair, ids in self._book.said.items():
            one, other = pair.split(".")
            reader, peer = (one, other) if one in tokens else (other, one)
            history = await self._items(tokens[reader], f"/v1/conversations/{peer}/messages")
            told = [item["id"] for item in history][::-1]
            if told != ids:
                found.append(f"conversation {pair}: {told} in place of {ids}")
        connected = {pair for pair, state in self._book.connected.items() if state}
        for person in self._people:
            known = {item["user"]["id"] for item in await self._items(person, "/v1/connections")}
            due = {user for pair in connected for user in pair.split(".") if person.user in pair} - {person.user}
            found += differences(f"connections of {person.user}", dict.fromkeys(known, 1), dict.fromkeys(due, 1))
        return found

    async def _told(self, facts: list[Fact]) -> list[str]:
        """Each notification once: over HTTP, and in the database."""
        listed: Counter[tuple[str, str, str]] = Counter()
        for person in self._people:
            items = await self._items(person, "/v1/me/notifications")
            listed.update((person.user, item["kind"], item["about"]["user"]) for item in items)
            if len({item["id"] for item in items}) != len(items):
                listed[person.user, "listed twice", ""] += 1
        users = {person.user for person in self._people}
        due = counting.told(facts)
        kept = Counter((each["user"], each["kind"], each["about"]["user"]) for each in self._documents("notifications"))
        theirs = {key: times for key, times in due.items() if key[0] in users}
        return differences("notification listed", listed, theirs) + differences("notification kept", kept, due)

    async def _sessions(self) -> list[str]:
        found = []
        for token in self._book.over:
            try:
                await self._gateway.read("/v1/me", token)
            except RefusedError as error:
                if error.status == 401:
                    continue
            found.append("a session that was ended is open")
        return found

    async def _items(self, person: Person, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self._gateway.read(f"{path}?limit=200{cursor}", person.token)
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = f"&cursor={quote(str(page['next']), safe='')}"


def _view(name: str, rows: list[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    table = TABLES[name]
    return {str(row[table.key]): tuple(int(row[column]) for column in table.columns) for row in rows}
