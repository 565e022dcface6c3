"""After the drill: each store, table and list against the book."""

import asyncio
import json
from collections import Counter
from typing import Any
from urllib.parse import quote

import msgspec

from devconnect.adapters.mongo.records import decision_of
from devconnect.domain.analytics import TABLES
from devconnect.domain.model import Decision
from devconnect.events.base import type_of
from devconnect.events.topics import ANALYTICS_EVENTS, EVENT_TOPICS, analytics_events
from devconnect.replay.analyst import Analyst
from devconnect.replay.client import Gateway, RefusedError
from tests import counting
from tests.counting import Fact, differences
from tests.drill.book import ACCEPTED, Person
from tests.drill.load import Load
from tests.drill.stores import Stores
from tests.e2e import kafka
from tests.e2e.system import System

#: Who gives roles on the machine.
OPERATOR = "system"


class Verdict(msgspec.Struct, frozen=True):
    """`differences` are lines; `repeated` is how many records of events were repeats; `windows` are those published."""

    differences: list[str]
    events: int
    repeated: int
    windows: int


class Verifier:
    """Looks at everything once; what is still under way shows as differences."""

    def __init__(self, system: System, gateway: Gateway, load: Load) -> None:
        self._system, self._gateway = system, gateway
        self._analyst = Analyst(gateway, load.operator.token)
        self._book, self._people = load.book, [*load.people, load.operator]
        self._stores = Stores(system, load.book)
        self._wrong: set[str] = set()
        #: How many windows there were when we looked last.
        self.windows = 0

    async def look(self) -> Verdict:
        """What isn't as the book says."""
        decisions = {decision.id: decision for decision in map(decision_of, self._stores.documents("decisions"))}
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
        found += await asyncio.to_thread(self._stores.look)
        found += [f"dead letter: {letter}" for letter in await asyncio.to_thread(kafka.letters, self._system)]
        return Verdict(found, len(events), sum(events.values()) - len(events), self.windows)

    # -- decisions and events

    def _decided(self, decisions: dict[str, Decision]) -> list[str]:
        """Each command of the book is decided as its asker was told, and no other is but for the operator's."""
        due = self._book.decided | {command: ACCEPTED for command in self._by_machine(decisions)}
        stored = {command: each.problem.code if each.problem else ACCEPTED for command, each in decisions.items()}
        return differences("decision", stored, due)

    def _by_machine(self, decisions: dict[str, Decision]) -> list[str]:
        return [command for command, each in decisions.items() if each.actor == OPERATOR]

    def _facts(self, decisions: dict[str, Decision]) -> list[Fact]:
        """The book, with the times that only the decisions hold; and what the machine's operator did."""
        facts = []
        for command, happened in self._book.happened.items():
            for fact in happened:
                at = decisions[command].at if command in decisions else fact.at
                if fact.at and fact.at != at:
                    self._wrong.add(f"{command} was told to be of {fact.at}, and is of {at}")
                facts.append(fact._replace(at=at))
        for command in self._by_machine(decisions):
            facts += [Fact(type_of(event), event.at, event.key) for event in decisions[command].events]
        return facts

    def _due_events(self, decisions: dict[str, Decision]) -> dict[str, int]:
        due = {command: len(facts) for command, facts in self._book.happened.items()}
        due |= {command: 1 for command in self._by_machine(decisions)}
        return {f"{command}.{index}": 1 for command, times in due.items() for index in range(times)}

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
        """Conversations, what isn't read of them, and connections, as each of the people is shown them."""
        found = []
        for person in self._people:
            shown = {each["user"]["id"]: each for each in await self._items(person, "/v1/conversations")}
            talks = {other: talk for other, talk in self._book.talks_of(person.user).items() if talk.said}
            listed = {other: (each["last"]["id"], each["unread"]) for other, each in shown.items()}
            due = {other: (talk.said[-1].id, len(talk.unread(person.user))) for other, talk in talks.items()}
            found += differences(f"conversations of {person.user}", listed, due)
            for other, talk in talks.items():
                history = await self._items(person, f"/v1/conversations/{other}/messages")
                read = [(each["id"], each["text"], each["deleted"]) for each in history][::-1]
                said = [(each.id, each.text, each.deleted) for each in talk.said]
                if read != said:
                    found.append(f"conversation of {person.user} with {other}: {read} in place of {said}")
            known = {item["user"]["id"] for item in await self._items(person, "/v1/connections")}
            connected = {other for other, talk in self._book.talks_of(person.user).items() if talk.connected}
            found += differences(f"connections of {person.user}", dict.fromkeys(known, 1), dict.fromkeys(connected, 1))
        return found

    async def _told(self, facts: list[Fact]) -> list[str]:
        """Each notification once: over HTTP, and in the database."""
        listed: Counter[tuple[str, str, str]] = Counter()
        for person in self._people:
            items = await self._items(person, "/v1/me/notifications")
            listed.update((person.user, item["kind"], item["about"].get("user", person.user)) for item in items)
            if len({item["id"] for item in items}) != len(items):
                listed[person.user, "listed twice", ""] += 1
        users = {person.user for person in self._people}
        due = counting.told(facts)
        kept = Counter(
            (each["user"], each["kind"], each["about"].get("user", each["user"]))
            for each in self._stores.documents("notifications")
        )
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
