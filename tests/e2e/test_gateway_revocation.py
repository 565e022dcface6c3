"""A session that has ended is turned away by every gateway within a second, whatever becomes of Redis; keys change."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import jwt
import pytest

from devconnect.keys import id_secret
from devconnect.links import Links
from tests.e2e.background import Background
from tests.e2e.gateways import REVOKED, Beside, Twins, ask, at_once, paused, up
from tests.e2e.people import PASSWORD, Client, Person, Unanswered
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.timeout(300)

ANOTHER = "another battery, another staple"
#: Seconds for which nothing that has ended may come back, from when Redis is there again.
AFTERWARDS = 4.0


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with Twins(tmp_path_factory.mktemp("revocation")).running() as found:
        yield found


class Before(NamedTuple):
    """The key of the beginning, and who has logged in with it."""

    kid: str
    people: list[Person]
    renewals: list[str]


@pytest.fixture(scope="module", autouse=True)
def before(twins: Twins) -> Before:
    people = twins.people("Ann", "Bob")
    opened = [Person.log_in(each.client, each.email) for each in people]
    for person, session in zip(people, opened, strict=True):
        person.token = session["token"]
    done = twins.system.cli("keys", "rotate")
    assert done.returncode == 0, done
    return Before(_kid(people[0].token), people, [session["renewal_token"] for session in opened])


class Victim:
    """A token that works everywhere, and what ends it. `ends` gives its moment, `time.monotonic`."""

    #: What it asks, and is answered as long as it works.
    path = "/v1/me"

    def __init__(self, twins: Twins, name: str) -> None:
        self.name, self.twins = name, twins
        [self.person] = twins.people(name)
        self.token = self.person.token
        self.prepare()

    def prepare(self) -> None:
        """Whatever must be there before it can be ended."""

    def end(self) -> int:
        """Do it, at the gateway of `run`; the status that this was answered with."""
        return self.send("DELETE", "/v1/sessions/current")

    def send(self, method: str, path: str, body: Any = None, token: str | None = None) -> int:
        return ask(self.twins.system.url, method, path, body, token=token or self.token).reply.status

    def status(self, url: str) -> int:
        return ask(url, "GET", self.path, token=self.token).reply.status

    def works(self) -> bool:
        """On every process: connections are spread over those of one port."""
        return all(self.status(url) == 200 for url in (self.twins.system.url, *[self.twins.beside.url] * 8))


class Bystander(Victim):
    """Nothing ends theirs."""

    def end(self) -> int:
        return 200


class LogOut(Victim):
    pass


class Everywhere(Victim):
    def prepare(self) -> None:
        self.other = self.person.log_in(self.person.client, self.person.email)["token"]

    def end(self) -> int:
        return self.send("DELETE", "/v1/sessions", token=self.other)


class PasswordChange(Everywhere):
    def end(self) -> int:
        body = {"current_password": PASSWORD, "new_password": ANOTHER}
        return self.send("PUT", "/v1/me/password", body, self.other)


class Reset(Victim):
    def prepare(self) -> None:
        asked = ask(self.twins.system.url, "POST", "/v1/password-resets", {"email": self.person.email}).reply
        ticket = asked.headers["command-id"]
        until = int(time.time() * 1000) + 600_000
        links = Links(id_secret(self.twins.system.settings))
        self.link = links.sign(
            "reset-password", user=self.person.user, ticket=ticket, expires_at=until, email=self.person.email
        )

        def accepted() -> bool:
            found = ask(self.twins.system.url, "GET", f"/v1/commands/{ticket}").reply
            return bool(found.body.get("status") == "accepted")

        wait_until(accepted, PATIENCE, "the reset asked for")

    def end(self) -> int:
        return self.send("POST", "/v1/password-resets/confirm", {"token": self.link, "new_password": ANOTHER})


class Reuse(Victim):
    """Two renewals later the first renewal token is a thief's."""

    def prepare(self) -> None:
        opened = self.person.log_in(self.person.client, self.person.email)
        self.first, self.token = opened["renewal_token"], opened["token"]
        following = self.first
        for _ in range(2):
            renewed = self.person.client.result("POST", "/v1/sessions/renew", {"renewal_token": following})
            following, self.token = renewed["renewal_token"], renewed["token"]

    def end(self) -> int:
        status = self.send("POST", "/v1/sessions/renew", {"renewal_token": self.first})
        return 200 if status == 401 else status


class Deletion(Victim):
    def end(self) -> int:
        return self.send("DELETE", "/v1/me", {"password": PASSWORD})


class RoleTaken(Victim):
    """The session stays, but what it was good for is over."""

    def prepare(self) -> None:
        self.token = self.twins.give_role(self.person, "operator").token
        self.path = f"/v1/users/{self.person.user}/audit"

    def end(self) -> int:
        return self.send("PUT", f"/v1/users/{self.person.user}/role", {"role": "member"}, self.twins.operator().token)


WAYS = (Bystander, LogOut, Everywhere, PasswordChange, Reset, Reuse, Deletion, RoleTaken)


def victims(twins: Twins) -> list[Victim]:
    """One for each way, each known to work on all gateways."""
    twins.operator()
    found = at_once([lambda way=way: way(twins, way.__name__) for way in WAYS])
    for each in found:
        wait_until(each.works, PATIENCE, f"the token of {each.name} good everywhere")
    return found


class Watch(Background):
    """From when a victim was ended on: its token mustn't work anywhere after that and a second, nor ever again."""

    def __init__(self, victim: Victim, url: str) -> None:
        super().__init__()
        self._victim, self._url = victim, url
        self.ended_at = float("inf")
        #: When it last worked, and which answers there were after the second.
        self.last_worked = 0.0
        self.later: set[int] = set()

    def step(self) -> None:
        asked = time.monotonic()
        try:
            status = self._victim.status(self._url)
        except Unanswered:
            return
        if status == 200:
            self.last_worked = asked
        if asked > self.ended_at + REVOKED:
            self.later.add(status)
        self.over.wait(0.05)


@contextmanager
def ended(twins: Twins, found: list[Victim]) -> Iterator[None]:
    """End all of them at once; the body brings back what is away. No gateway takes any of them meanwhile or after."""
    watches = [(victim, [Watch(victim, url) for url in (*twins.urls, twins.beside.url)]) for victim in found]

    def end(victim: Victim, own: list[Watch]) -> None:
        status = victim.end()
        assert status in (200, 201), (victim.name, status)
        for watch in own:
            watch.ended_at = time.monotonic()

    with ExitStack() as stack:
        for _, own in watches:
            for watch in own:
                stack.enter_context(watch)
        at_once([lambda each=each: end(*each) for each in watches])
        time.sleep(REVOKED)
        yield
        time.sleep(AFTERWARDS)
    for victim, own in watches:
        for watch in own:
            if isinstance(victim, Bystander):
                assert watch.later == {200}
                continue
            late = max(0.0, watch.last_worked - watch.ended_at)
            assert late <= REVOKED, f"{victim.name}: the token still worked after {late:.2f} s"
            assert watch.later <= {403} if isinstance(victim, RoleTaken) else watch.later <= {401}, victim.name
            assert watch.later, victim.name


def again(twins: Twins) -> None:
    """Returns when somebody new is read from the cache by all gateways: Redis is believed."""
    [person] = twins.people("Again")

    def is_cached() -> bool:
        return all(
            ask(url, "GET", "/v1/me", token=person.token).reply.headers.get("x-source") == "cache" for url in twins.urls
        )

    wait_until(is_cached, PATIENCE, "reads from the cache")


def test_with_redis_there(twins: Twins) -> None:
    with ended(twins, victims(twins)):
        pass


def test_with_redis_standing_still_and_going_on_as_if_nothing_had_happened(twins: Twins) -> None:
    found = victims(twins)
    with paused(twins.system.parts()["redis"]) as go_on, ended(twins, found):
        go_on()
    again(twins)


def test_with_redis_killed_and_back_with_what_it_had(twins: Twins) -> None:
    found = victims(twins)
    twins.system.kill("redis")
    with ended(twins, found):
        up(twins.system)
        again(twins)


def test_with_redis_wiped(twins: Twins) -> None:
    found = victims(twins)
    twins.redis().flushall()
    with ended(twins, found):
        twins.redis().flushall()
        again(twins)


def test_with_redis_back_in_an_older_state(twins: Twins, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As when a replica takes over that hadn't heard of it."""
    found = victims(twins)
    data, copy = twins.system.data_dir / "redis", tmp_path_factory.mktemp("older") / "redis"
    # What is written to the file reaches it within a second; a copy while nothing happens is whole.
    time.sleep(1.5)
    shutil.copytree(data, copy)
    with ended(twins, found):
        twins.system.kill("redis")
        shutil.rmtree(data)
        shutil.copytree(copy, data)
        up(twins.system)
        again(twins)


def test_a_gateway_that_starts_later_knows_what_has_ended(twins: Twins) -> None:
    """Also where Redis, which stood still, has missed it."""
    found = victims(twins)
    with paused(twins.system.parts()["redis"]) as go_on:
        for victim in found:
            assert victim.end() in (200, 201), victim.name
        third = Beside(twins.system)
        try:
            third.start(ready=False)
            go_on()
            statuses = {victim.name: victim.status(third.url) for victim in found}
        finally:
            third.stop()
    right = {victim.name: 401 for victim in found} | {"RoleTaken": 403, "Bystander": 200}
    assert statuses == right


def test_a_new_key_logs_nobody_out_and_an_old_one_that_is_retired_lets_nobody_in(twins: Twins, before: Before) -> None:
    """The rotation has begun before everything else here, and people have worked through it."""
    [ann, bob] = before.people
    new = wait_until(lambda: _signing(twins, before.kid), PATIENCE, "another key that signs")
    assert {ask(url, "GET", "/v1/me", token=each.token).reply.status for url in twins.urls for each in (ann, bob)} == {
        200
    }
    renewed = ann.client.result("POST", "/v1/sessions/renew", {"renewal_token": before.renewals[0]})
    assert _kid(renewed["token"]) == _kid(renewed["renewal_token"]) == new
    assert twins.system.cli("keys", "retire", before.kid).returncode == 0

    def refused() -> bool:
        return all(ask(url, "GET", "/v1/me", token=bob.token).reply.status == 401 for url in [*twins.urls] * 16)

    wait_until(refused, 10, "the old key's tokens refused")
    again = ask(twins.beside.url, "POST", "/v1/sessions/renew", {"renewal_token": before.renewals[1]}).reply
    assert again.problem == (401, "not_logged_in")
    for url in twins.urls:
        assert ask(url, "GET", "/v1/me", token=ann.token).reply.status == 401
        assert ask(url, "GET", "/v1/me", token=renewed["token"]).reply.status == 200
    last = ann.client.result("POST", "/v1/sessions/renew", {"renewal_token": renewed["renewal_token"]})
    assert ask(twins.beside.url, "GET", "/v1/me", token=last["token"]).reply.status == 200


def _signing(twins: Twins, old: str) -> str | None:
    """The key of new tokens, once that is another one at all gateways."""
    [person] = twins.people("Newer")
    opened = [Person.log_in(Client(url), person.email)["token"] for url in [*twins.urls] * 3]
    kids = {_kid(token) for token in opened}
    return kids.pop() if len(kids) == 1 and old not in kids else None


def _kid(token: str) -> str:
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid
