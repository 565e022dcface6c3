"""People between whom there is one of everything, so that requests with their ids go deep."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from devconnect.keys import id_secret
from devconnect.links import Links, Purpose
from devconnect.ports.clock import SystemClock
from tests.contract.smtp_fixtures import parsed, words
from tests.e2e.people import PASSWORD, Client, Person, join
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

NOBODY = "0" * 32
WEEK_MS = 7 * 86_400_000

#: Lists that have cursors: operation -> path.
LISTS = {
    "readFeed": "/v1/feed",
    "readConnections": "/v1/connections",
    "readRequests": "/v1/connections/requests",
    "readSentRequests": "/v1/connections/requests/sent",
    "readIgnored": "/v1/connections/ignored",
    "readBlocks": "/v1/blocks",
    "readConversations": "/v1/conversations",
    "readHistory": "/v1/conversations/{friend}/messages",
    "searchMessages": "/v1/messages/search?q=hello",
    "readNotifications": "/v1/me/notifications",
}


class Known(NamedTuple):
    """What is in place for one of them: parameter (as the configuration names it) -> values that go deep.

    `cursors` are by operation: one list's are no other's.
    """

    parameters: Mapping[str, list[str] | list[int]]
    cursors: Mapping[str, list[str]]


class Others(NamedTuple):
    """Those around somebody: two friends each of whom has said something, and one for each state of a connection."""

    friends: list[Person]
    asking: list[Person]
    asked: list[Person]
    ignored: list[Person]
    blocked: list[Person]
    strangers: list[Person]

    @classmethod
    def of(cls, system: System) -> "Others":
        """New people, two of each."""
        names = ["Friend", "Asking", "Asked", "Ignored", "Blocked", "Stranger"]
        found = join(system, *[name for name in names for _ in range(2)])
        return cls(*(found[at : at + 2] for at in range(0, len(found), 2)))

    @property
    def everybody(self) -> list[Person]:
        """All of them."""
        return [person for group in self for person in group]

    def around(self, one: Person) -> None:
        """Have everything between them and somebody."""
        for friend in self.friends:
            one.connect(friend)
            for number in range(3):
                one.say(friend, f"hello {number}")
                friend.say(one, f"hello you {number}")
        for person in self.asking:
            person.do("POST", "/v1/connections", {"user": one.user, "interest": "interested"})
        for person in self.asked:
            one.do("POST", "/v1/connections", {"user": person.user, "interest": "interested"})
        for person in self.ignored:
            one.do("POST", "/v1/connections", {"user": person.user, "interest": "ignored"})
        for person in self.blocked:
            one.do("PUT", f"/v1/blocks/{person.user}")


def prepare(system: System, one: Person) -> Known:
    """Everything in place for somebody, and what it is called."""
    others = Others.of(system)
    others.around(one)
    sessions = [Person.log_in(one.client, one.email) for _ in range(4)]
    gone = Person.join(one.client, "Gone")
    gone.do("DELETE", "/v1/me", {"password": PASSWORD})
    reports = [
        person.do("POST", "/v1/reports", {"user": one.user, "reason": "spam"})["report"] for person in others.strangers
    ]
    people = [*(person.user for person in others.everybody), one.user, gone.user, NOBODY]
    friend = others.friends[0]
    one.hears(friend, [text for number in range(3) for text in (f"hello {number}", f"hello you {number}")])
    history = one.items(f"/v1/conversations/{friend.user}/messages")
    accepted = one.send("PATCH", "/v1/me", {"headline": "Engines"})
    refused = one.send("PUT", f"/v1/blocks/{NOBODY}")
    parameters: dict[str, list[str] | list[int]] = {
        "path.user": people,
        "body.user": people,
        "query.user": people,
        "query.users": [*people[:3], ",".join(people)],
        "query.q": ["hello", "hello you"],
        "path.message": [message["seq"] for message in history],
        "body.up_to": [message["seq"] for message in history],
        "path.session": [*(session["session"] for session in sessions), NOBODY],
        "path.report": [*reports, NOBODY],
        "path.command": [accepted.headers["command-id"], refused.headers["command-id"], NOBODY],
        "body.email": [one.email, friend.email],
        "body.password": [PASSWORD, "wrong"],
        "body.current_password": [PASSWORD],
        "body.new_password": ["seven blue herons read maps"],
        "body.renewal_token": [sessions[0]["renewal_token"]],
        "body.token": _links(system, others.strangers[0]),
        "header.Read-After": [accepted.headers["read-after"]],
        "header.If-None-Match": ['W/"0"', '"1"', one.send("GET", "/v1/me").headers["etag"]],
        "header.If-Match": ["*", '"1"', one.send("GET", "/v1/me").headers["etag"]],
        "header.Prefer": ["respond-async", "wait=1", "wait=0"],
    }
    return Known(parameters, _cursors(one, friend))


def _cursors(one: Person, friend: Person) -> dict[str, list[str]]:
    """The first cursor of each list."""
    found = {}
    for operation, template in LISTS.items():
        path = template.format(friend=friend.user)
        path += f"{'&' if '?' in path else '?'}limit=1"
        page = one.sees(path, lambda body: body["next"], f"a second page of {path}")
        found[operation] = [page["next"]]
    return found


def _links(system: System, person: Person) -> list[str]:
    """Tokens of links: two that were mailed, and two whose ticket nobody was given."""
    person.client.send("POST", "/v1/password-resets", {"email": person.email})
    links, until = Links(id_secret(system.settings)), SystemClock().now_ms() + WEEK_MS
    purposes: tuple[Purpose, ...] = ("verify-email", "reset-password")
    found = []
    for purpose in purposes:
        mailed = partial(_mailed, system, person, purpose)
        found.append(wait_until(mailed, PATIENCE, f"a {purpose} mail"))
        found.append(links.sign(purpose, user=person.user, ticket=NOBODY, expires_at=until, email=person.email))
    return found


def _mailed(system: System, person: Person, purpose: Purpose) -> str | None:
    """The token of the link that somebody was mailed."""
    mails = [parsed(file.read_bytes()) for file in (system.data_dir / "mail").glob("*.eml")]
    for text in words([mail for mail in mails if mail["To"] == person.email]):
        _, link, rest = text.partition(f"/{purpose}#token=")
        if link:
            return rest.split()[0]
    return None


def caller(system: System, role: str) -> Person:
    """Somebody of this role, logged in with it."""
    person = Person.join(Client(system.url), role.capitalize())
    if role == "member":
        return person
    done = system.cli("users", "set-role", person.email, role)
    assert (done.returncode, done.stderr) == (0, ""), done

    def has_it() -> bool:
        person.token = Person.log_in(person.client, person.email)["token"]
        return bool(person.read("/v1/me")["role"] == role)

    wait_until(has_it, PATIENCE, f"the role {role}")
    return person
