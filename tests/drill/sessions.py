"""What people of a drill do to their accounts and sessions."""

import itertools
import time
from random import Random

from devconnect.domain.addresses import VERIFICATION_MS
from devconnect.domain.presence import LEASE_MS
from devconnect.replay.client import Done
from tests.counting import Fact
from tests.drill.asking import Asker
from tests.drill.book import Person, Session

PASSWORD = "correct horse battery staple"


class Accounts:
    """Sign-ups, log-ins and whatever ends sessions."""

    def __init__(self, asker: Asker, run: str) -> None:
        self._asker, self._book = asker, asker.book
        self._run, self._names = run, itertools.count()

    async def join(self) -> Person:
        """Sign up and log in."""
        email = self._address()
        body = {"email": email, "password": PASSWORD, "name": "Somebody"}
        done = await self._asker.ask("POST", "/v1/users", body)
        assert isinstance(done, Done), done
        user, at = done.result["id"], done.result["created_at"]
        facts = Fact("user.signed_up", at, user), Fact("user.email_verification_requested", at, user)
        self._asker.accept(done, *facts)
        person = Person(user, email, PASSWORD)
        self._book.everybody.append(person)
        person.session = await self.log_in(person)
        return person

    async def log_in(self, person: Person) -> Session:
        """Another session of theirs."""
        body = {"email": person.email, "password": person.password, "device": "drill"}
        done = await self._asker.ask("POST", "/v1/sessions", body)
        at = done.result["expires_at"] - self._asker.idle_ms if isinstance(done, Done) else 0
        result = self._asker.accept(done, Fact("user.logged_in", at, person.user))
        tokens = str(result.get("token")), str(result.get("renewal_token"))
        opened = Session(str(result.get("session")), *tokens)
        person.open[opened.id] = 0
        return opened

    async def renew(self, person: Person, session: Session) -> Session:
        """The same session with its next tokens; the access token from before is good as long as it was."""
        key = self._asker.key()
        done = await self._asker.twice("renewal", lambda: self._asker.gateway.renew(session.renewal, key=key))
        result = self._asker.accept(done, Fact("user.session_renewed", 0, person.user))
        generation = session.generation + 1
        if (result.get("session"), result.get("generation")) != (session.id, generation):
            self._book.wrong.append(f"{session.id} was renewed as {result.get('session')}, {result.get('generation')}")
        person.open[session.id] = generation
        return Session(session.id, str(result.get("token")), str(result.get("renewal_token")), generation)

    async def go_on(self, random: Random, person: Person) -> None:
        """Renew the session that they ask by."""
        person.session = await self.renew(person, person.session)

    async def log_in_and_out(self, random: Random, person: Person) -> None:
        """A session of a moment."""
        session = await self.log_in(person)
        command = await self._asker.last("DELETE", "/v1/sessions/current", None, person, session.token)
        self._book.accept(command, Fact("user.logged_out", 0, person.user))
        self._book.end(person, session.id, session.token)

    async def log_out_elsewhere(self, random: Random, person: Person) -> None:
        """All sessions but the one that asks."""
        others = [await self.log_in(person) for _ in range(random.randrange(3))]
        done = await self._asker.ask("DELETE", "/v1/sessions?keep_current=true", None, person)
        over = [session for session in person.open if session != person.session.id]
        result = self._asker.accept(done, *(Fact("user.logged_out", 0, person.user) for _ in over))
        if result.get("ended") != len(over):
            self._book.wrong.append(f"{result.get('ended')} sessions were ended in place of {over}")
        tokens = {session.id: session.token for session in others}
        for session in over:
            self._book.end(person, session, tokens.get(session, ""))

    async def be_robbed(self, random: Random, person: Person) -> None:
        """A renewal token is used that was used twice over: the session ends."""
        first = await self.log_in(person)
        third = await self.renew(person, await self.renew(person, first))
        key = self._asker.key()
        reused = await self._asker.twice("reuse", lambda: self._asker.gateway.renew(first.renewal, key=key))
        self._asker.refuse(reused, "token_reused", Fact("user.logged_out", 0, person.user))
        self._book.end(person, first.id, third.token)

    async def change_password(self, random: Random, person: Person) -> None:
        """Every session ends; whoever hears of the answer or not, they log in with the new one."""
        new = f"{random.getrandbits(64):x} battery staple"
        body = {"current_password": person.password, "new_password": new}
        async with person.changing:
            command = await self._asker.last("PUT", "/v1/me/password", body, person, person.token)
            over, by = list(person.open), person.user
            ends = [Fact("user.logged_out", 0, by) for _ in over]
            self._book.accept(command, Fact("user.password_changed", 0, by), *ends, Fact("user.logged_in", 0, by))
            person.password = new
            for session in over:
                self._book.end(person, session, person.token if session == person.session.id else "")
            person.open[self._asker.session(command)] = 0
            person.session = await self.log_in(person)

    async def move(self, random: Random, person: Person) -> None:
        """To another address, by the link that is mailed there."""
        email = self._address()
        done = await self._asker.ask("PUT", "/v1/me/email", {"email": email, "password": person.password}, person)
        self._asker.accept(done, Fact("user.email_verification_requested", 0, person.user))
        assert isinstance(done, Done), done
        until = time.time_ns() // 1_000_000 + VERIFICATION_MS
        token = self._asker.links.sign(
            "verify-email", user=person.user, ticket=done.command, expires_at=until, email=email
        )
        confirmed = await self._asker.ask("POST", "/v1/email-verifications", {"token": token})
        self._asker.accept(confirmed, Fact("user.email_changed", 0, person.user))
        person.email = email

    async def newcomer(self, random: Random, person: Person) -> None:
        """Somebody joins, and some leave for good."""
        if random.random() < 0.3:
            new = await self.join()
            if random.random() < 0.5:
                await self._leave(new)

    async def _leave(self, person: Person) -> None:
        command = await self._asker.last("DELETE", "/v1/me", {"password": person.password}, person, person.token)
        over = list(person.open)
        ends = [Fact("user.logged_out", 0, person.user) for _ in over]
        self._book.accept(command, *ends, Fact("user.deleted", 0, person.user))
        for session in over:
            self._book.end(person, session, person.token)
        person.gone = True

    async def change_profile(self, random: Random, person: Person) -> None:
        """Say something else of oneself."""
        done = await self._asker.ask("PATCH", "/v1/me", {"headline": f"{random.random()}"}, person)
        self._asker.accept(done, Fact("user.profile_changed", 0, person.user))

    async def come_online(self, random: Random, person: Person) -> None:
        """Be here."""
        done = await self._asker.ask("PUT", "/v1/me/presence", {"online": True}, person)
        at = done.result["until"] - LEASE_MS if isinstance(done, Done) else 0
        self._asker.accept(done, Fact("user.came_online", at, person.user))

    async def read_notifications(self, random: Random, person: Person) -> None:
        """The newest three."""
        page = await self._asker.gateway.read("/v1/me/notifications?limit=3", person.token)
        ids = [item["id"] for item in page["items"]]
        if ids:
            done = await self._asker.ask("POST", "/v1/me/notifications/read", {"notifications": ids}, person)
            self._asker.accept(done, Fact("user.notifications_read", 0, person.user))

    def _address(self) -> str:
        return f"person.{next(self._names)}.{self._run}@example.org"
