"""People for the end-to-end tests: accounts that do over HTTP what clients do, and wait for what must follow."""

import http.client
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from devconnect.domain.analytics import TABLES
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

PASSWORD = "correct horse battery staple"
#: What a request fails with when nobody answers.
Unanswered = (OSError, http.client.HTTPException)


class Reply(NamedTuple):
    """One answer; `headers` by their names in lower case, `body` as JSON says, {} where it isn't JSON."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def problem(self) -> tuple[int, str]:
        """Status and code of a problem, which must be one."""
        assert self.headers["content-type"] == "application/problem+json", self
        assert (self.body["status"], self.body["type"]) == (self.status, f"/problems/{self.body['code']}"), self
        assert all(self.body[part] for part in ("title", "detail")), self
        return self.status, self.body["code"]

    @property
    def source(self) -> str:
        """Where a read came from."""
        return self.headers["x-source"]


def exchange(address: str, method: str, path: str, payload: bytes | None, headers: Mapping[str, str]) -> Reply:
    """One request on a connection of its own; raises one of `Unanswered`."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, payload, {**headers})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(answer.status, found, json.loads(text) if "json" in found.get("content-type", "") else {})


class Client:
    """Requests to a gateway, each on a connection of its own."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        key: str | None = None,
        raw: bytes | None = None,
        content_type: str = "application/json",
        more: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request, once, with `more` headers; raises one of `Unanswered`."""
        payload = raw if raw is not None or body is None else json.dumps(body).encode()
        headers = {**({"Content-Type": content_type} if payload is not None else {}), **(more or {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if key is not None:
            headers["Idempotency-Key"] = key
        return exchange(self.address, method, path, payload, headers)

    def decided(self, method: str, path: str, body: Any = None, *, token: str | None = None, key: str = "") -> Reply:
        """What becomes of a command: repeated under one key until it is taken, then asked for until it is decided.

        The status is 200 (whatever kind of success it is) or the problem's.
        """
        key = key or secrets.token_hex(8)
        taken = wait_until(lambda: self._taken(method, path, body, token, key), PATIENCE, f"{method} {path} taken")
        if taken.status != 202:
            return taken._replace(status=200) if taken.status < 300 else taken
        decided = wait_until(lambda: self._status(taken, token), PATIENCE, f"{method} {path} decided")
        if decided.body["status"] == "accepted":
            return Reply(200, taken.headers, {**taken.body, **decided.body["result"]})
        problem = decided.body["problem"]
        return Reply(problem["status"], {"content-type": "application/problem+json"}, problem)

    def result(self, method: str, path: str, body: Any = None, *, token: str | None = None, key: str = "") -> Any:
        """The result of a command that must be accepted."""
        reply = self.decided(method, path, body, token=token, key=key)
        assert reply.status == 200, (method, path, reply)
        return reply.body

    def _taken(self, method: str, path: str, body: Any, token: str | None, key: str) -> Reply | None:
        try:
            reply = self.send(method, path, body, token=token, key=key)
        except Unanswered:
            return None
        return None if reply.status == 503 else reply

    def _status(self, taken: Reply, token: str | None) -> Reply | None:
        try:
            reply = self.send("GET", taken.headers["location"], token=token)
        except Unanswered:
            return None
        return reply if reply.status == 200 and reply.body["status"] != "pending" else None


class Person:
    """Somebody who has signed up and logged in."""

    def __init__(self, client: Client, email: str, user: str, token: str) -> None:
        self.client, self.email, self.user, self.token = client, email, user, token

    @classmethod
    def join(cls, client: Client, name: str, **more: Any) -> "Person":
        """Signs up with an address of their own, and logs in."""
        email = f"{name}.{secrets.token_hex(4)}@example.org".lower()
        body = {"email": email, "password": PASSWORD, "name": name, **more}
        account = client.result("POST", "/v1/users", body)
        return cls(client, email, account["id"], cls.log_in(client, email)["token"])

    @staticmethod
    def log_in(client: Client, email: str, password: str = PASSWORD) -> Any:
        """A new session: its tokens, its id, user, expires_at."""
        return client.result("POST", "/v1/sessions", {"email": email, "password": password})

    def again(self, password: str = PASSWORD) -> "Person":
        """The same person in another session."""
        return Person(self.client, self.email, self.user, self.log_in(self.client, self.email, password)["token"])

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> Reply:
        """One request of theirs, once."""
        return self.client.send(method, path, body, token=self.token, **more)

    def do(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """The result of a command of theirs that must be accepted."""
        return self.client.result(method, path, body, token=self.token, key=key)

    def refused(self, method: str, path: str, body: Any = None, *, key: str = "") -> tuple[int, str]:
        """Status and code of a request of theirs that must be turned down."""
        return self.client.decided(method, path, body, token=self.token, key=key).problem

    def refused_read(self, path: str) -> tuple[int, str]:
        """Status and code of a read that must be turned down."""
        return self.send("GET", path).problem

    def read(self, path: str) -> Any:
        """What a read answers, which must be 200."""
        reply = self.send("GET", path)
        assert reply.status == 200, (path, reply)
        return reply.body

    def items(self, path: str, limit: int = 200) -> list[dict[str, Any]]:
        """Every item of a list, page by page."""
        return [item for page in self.pages(path, limit) for item in page]

    def pages(self, path: str, limit: int) -> Iterator[list[dict[str, Any]]]:
        """The pages of a list, by their cursors."""
        cursor: str | None = None
        while True:
            page = self.read(f"{path}?limit={limit}" + (f"&cursor={quote(cursor, safe='')}" if cursor else ""))
            assert len(page["items"]) <= limit
            yield page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def sees(self, path: str, condition: Callable[[Any], Any], what: str = "") -> Any:
        """Waits until a read says what it must, and returns its body."""

        def look() -> Any:
            try:
                reply = self.send("GET", path)
            except Unanswered:
                return None
            return reply.body if reply.status == 200 and condition(reply.body) else None

        return wait_until(look, PATIENCE, what or f"the right answer of {path}")

    def connect(self, other: "Person") -> None:
        """Ask, and be accepted."""
        self.do("POST", "/v1/connections", {"user": other.user, "interest": "interested"})
        other.do("POST", f"/v1/connections/{self.user}/review", {"verdict": "accepted"})

    def say(self, other: "Person", text: str, *, key: str = "") -> Any:
        """The message as it was kept."""
        return self.do("POST", f"/v1/conversations/{other.user}/messages", {"text": text}, key=key)

    def texts(self, other: "Person") -> list[str]:
        """The whole conversation, oldest first."""
        return [item["text"] for item in self.items(f"/v1/conversations/{other.user}/messages")][::-1]

    def hears(self, other: "Person", texts: list[str]) -> None:
        """Waits until the conversation is exactly these texts, oldest first."""
        path = f"/v1/conversations/{other.user}/messages?limit=200"
        self.sees(path, lambda body: [item["text"] for item in body["items"]][::-1] == texts)


def join(system: System, *names: str) -> list[Person]:
    """People of a system, each new."""
    return [Person.join(Client(system.url), name) for name in names]


def set_role(system: System, person: Person, role: str) -> None:
    """As the machine's operator does it; returns when the gateway knows. Rights rise in a new session only."""
    done = system.cli("users", "set-role", person.email, role)
    assert (done.returncode, done.stderr) == (0, ""), done
    person.token = Person.log_in(person.client, person.email)["token"]
    person.sees("/v1/me", lambda account: account["role"] == role)


def shown(system: System, table: str) -> list[dict[str, Any]]:
    """A table's rows as `tables show` gives them on the machine itself."""
    done = system.cli("tables", "show", table, "--json")
    assert done.returncode == 0, done
    rows: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return rows


def same_tables(system: System, analyst: Person, *tables: str, seconds: float = PATIENCE) -> None:
    """Waits until each table says over HTTP what it says on the machine."""
    deadline = time.monotonic() + seconds
    for table in tables:

        def same(table: str = table) -> bool:
            key = TABLES[table].key
            over_http = analyst.items(f"/v1/analytics/tables/{table}")
            return bool(over_http) and sorted(over_http, key=lambda row: str(row[key])) == shown(system, table)

        wait_until(same, max(1.0, deadline - time.monotonic()), f"{table} the same over HTTP and on the machine")
