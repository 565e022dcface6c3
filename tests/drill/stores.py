"""After the drill: what the stores hold, document by document and key by key, against the book."""

from collections.abc import Callable, Iterable
from typing import Any

import argon2
import redis
from pymongo import MongoClient

from devconnect import stack
from devconnect.adapters.redis import keys
from devconnect.events.base import pair_of
from tests.counting import differences
from tests.drill.book import Book, Person, Said, Talk
from tests.e2e import kafka
from tests.e2e.system import System

Document = dict[str, Any]
#: Milliseconds that a question to the database may take, and seconds one to Redis.
MONGO_MS, REDIS_SECONDS = 60_000, 30.0


class Stores:
    """MongoDB, Redis and the topic of sessions that have ended, read from them directly."""

    def __init__(self, system: System, book: Book) -> None:
        self._system, self._book = system, book
        #: Hashes that were found to be of the right password: to look again would cost the time that they are to cost.
        self._right: set[tuple[str, str]] = set()

    def documents(self, collection: str) -> list[Document]:
        """All there are, read from the database itself."""
        settings = self._system.settings
        with MongoClient[Document](stack.addresses(settings).mongo, timeoutMS=MONGO_MS) as mongo:
            return list(mongo[settings.mongo_db][collection].find())

    def look(self) -> list[str]:
        """What isn't as the book says."""
        found = [*self._passwords(), *self._credentials(), *self._logins(), *self._ends()]
        found += [*self._talks(), *self._words(), *self._reports(), *self._rights()]
        addresses = stack.addresses(self._system.settings)
        with redis.Redis.from_url(addresses.redis, decode_responses=True, socket_timeout=REDIS_SECONDS) as cache:
            return found + self._sessions_in(cache) + self._talks_in(cache)

    # -- accounts

    def _here(self) -> list[Person]:
        return [person for person in self._book.everybody if not person.gone]

    def _passwords(self) -> list[str]:
        """Each opens its account, and nothing opens that of somebody who has left."""
        stored = {each["_id"]: str(each["password_hash"]) for each in self.documents("passwords")}
        found = differences("who has a password", _names(stored), _names(each.user for each in self._book.everybody))
        for person in self._book.everybody:
            if person.user in stored and not self._opens(stored[person.user], person):
                found.append(f"password of {person.user}: another one")
        return found

    def _opens(self, stored: str, person: Person) -> bool:
        if person.gone:
            return stored == ""
        if (stored, person.password) not in self._right:
            try:
                argon2.PasswordHasher().verify(stored, person.password)
            except argon2.exceptions.VerificationError:
                return False
            self._right.add((stored, person.password))
        return True

    def _credentials(self) -> list[str]:
        """Each address is its owner's, and those that were left are nobody's."""
        stored = {each["_id"]: each["user"] for each in self.documents("credentials")}
        return differences("credentials", stored, {person.email: person.user for person in self._here()})

    def _logins(self) -> list[str]:
        stored = {
            (each["_id"], session): login["generation"]
            for each in self.documents("logins")
            for session, login in each["sessions"].items()
        }
        due = {(person.user, session): times for person in self._here() for session, times in person.open.items()}
        return differences("logins", stored, due)

    def _ends(self) -> list[str]:
        """Every gateway could hear of each session that has ended, and of no other."""
        told = {record.key.decode() for record in kafka.records(self._system, "session-ends")}
        return differences("session-ends", _names(told), _names(self._book.ended))

    def _rights(self) -> list[str]:
        kept = [(each["what"], each["before"], each["after"]) for each in self.documents("audit")]
        return [] if kept == [("role", "member", "operator")] else [f"audit: {kept}"]

    # -- what was said and reported

    def _talks(self) -> list[str]:
        """In the list of each of the two: when something was said last; and what they haven't read."""
        stored = {(each["user"], each["peer"]): each["seq"] for each in self.documents("talks")}
        found = differences("talks", stored, self._of_each(lambda _, talk: talk.said[-1].at))
        conversations = self.documents("conversations")
        unread = {
            (user, other): list(each["unread"].get(user, ()))
            for each in conversations
            for user, other in (pair_of(each["_id"]), pair_of(each["_id"])[::-1])
        }
        return found + differences("unread", unread, self._of_each(lambda user, talk: talk.unread(user)))

    def _words(self) -> list[str]:
        """What each of the two can find a message by: its words, and with whom it was said."""
        stored = {each["_id"]: sorted(each["words"]) for each in self.documents("words")}
        due = {
            f"{user}:{pair}:{said.seq:016d}": _sought(user, said)
            for pair, talk in self._book.talks.items()
            for said in talk.said
            for user in (said.sender, said.recipient)
        }
        return differences("words", stored, due)

    def _reports(self) -> list[str]:
        stored = {
            each["_id"]: (each["by"], each["user"], each["outcome"] or "", each["open"] is None)
            for each in self.documents("reports")
        }
        due = {name: (*each, bool(each.outcome)) for name, each in self._book.reports.items()}
        return differences("reports", stored, due)

    def _of_each(self, what: Callable[[str, Talk], Any]) -> dict[tuple[str, str], Any]:
        """(user, other) -> something of what they have said to each other."""
        pairs = {pair_of(pair): talk for pair, talk in self._book.talks.items() if talk.said}
        return {(user, other): what(user, talk) for pair, talk in pairs.items() for user, other in (pair, pair[::-1])}

    # -- Redis

    def _sessions_in(self, cache: "redis.Redis[str]") -> list[str]:
        """The open ones are their users', the others are known to be over."""
        due = {session: person.user for person in self._here() for session in person.open}
        due |= dict.fromkeys(self._book.ended, "over")
        held = {}
        for session in due:
            fields = cache.hgetall(keys.session(session))
            held[session] = "over" if "ended" in fields else fields.get("user", "")
        return differences("sessions in Redis", held, due)

    def _talks_in(self, cache: "redis.Redis[str]") -> list[str]:
        lists: dict[tuple[str, str], int] = {}
        unread: dict[tuple[str, str], list[int]] = {}
        for pair in self._book.talks:
            for user, other in (pair_of(pair), pair_of(pair)[::-1]):
                at = cache.zscore(keys.conversations(user), other)
                if at is not None:
                    lists[user, other] = int(at)
                    unread[user, other] = sorted(map(int, cache.zrange(keys.unread_messages(pair, user), 0, -1)))
        found = differences("conversations in Redis", lists, self._of_each(lambda _, talk: talk.said[-1].at))
        return found + differences("unread in Redis", unread, self._of_each(lambda user, talk: talk.unread(user)))


def _names(found: Iterable[str]) -> dict[str, int]:
    return dict.fromkeys(found, 1)


def _sought(user: str, said: Said) -> list[str]:
    if said.deleted:
        return []
    peer = said.recipient if user == said.sender else said.sender
    return sorted(f"{user}:{word}" for word in {*said.text.split(), f"@{peer}"})
