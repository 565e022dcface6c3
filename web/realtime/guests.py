"""Who is on the sockets of this process: let in by their sessions, shown as here, and sent away when a session ends."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from aiohttp import web

from devconnect.domain.inbox import read_cursor
from devconnect.ports.clock import Clock
from devconnect.ports.gateway import EndedSessions
from devconnect.ports.roster import Roster, Watcher, Watching
from devconnect.ports.truth import UnavailableError
from web.auth import Gate
from web.life import Life
from web.problems import ProblemError, not_logged_in, unavailable
from web.realtime.buckets import Bucket
from web.realtime.hub import Hub
from web.realtime.sockets import Refused, Socket
from web.realtime.tellings import presence_frame
from web.tokens import Claims
from web.who import Caller

logger = logging.getLogger(__name__)

#: Sockets that one person has at most on one process.
EACH = 50
#: Messages of one socket, of any kind: so many a second, and so many at once.
RATE, BURST = 50.0, 200.0
#: The same of those that cost no quota.
TELLING_RATE, TELLING_BURST = 5.0, 30.0
#: Milliseconds between looks whether a session is still open, as the stores have it; an end that is heard of acts at
#: once. Seconds between rounds.
LOOK_MS = 60_000
ROUND = 5.0


class Guest:
    """Who is behind a socket."""

    __slots__ = ("claims", "has_focus", "look_at", "packets", "since", "tellings", "watcher")

    def __init__(self, claims: Claims, since: tuple[int, int] | None, look_at: int, now: float) -> None:
        self.claims = claims
        #: Epoch and cursor from which on its client wants to be told.
        self.since = since
        #: When to look whether the session is still open, in milliseconds since 1970.
        self.look_at = look_at
        #: Whether they have somebody's conversation on the screen.
        self.has_focus = False
        self.packets = Bucket(RATE, BURST, now)
        self.tellings = Bucket(TELLING_RATE, TELLING_BURST, now)
        self.watcher: Watcher | None = None


class Guests:
    """All of them. `start` it in a running loop, `stop` it at the end."""

    def __init__(
        self,
        gate: Gate,
        hub: Hub,
        *,
        roster: Roster,
        watching: Watching,
        ends: EndedSessions,
        clock: Clock,
        life: Life,
        grace: float,
    ) -> None:
        """`grace` is how many seconds somebody without a socket still counts as here."""
        self._gate, self._hub, self._roster, self._watching = gate, hub, roster, watching
        self._ends, self._clock, self._life, self._grace = ends, clock, life, grace
        self._users: dict[str, set[Socket]] = {}
        self._sessions: dict[str, set[Socket]] = {}
        #: Whose last socket has closed, until the grace for another is over.
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        ends.tell(self.ended)

    def start(self) -> None:
        """Look after the sessions from now on."""
        self.spawn(self._look_after())

    async def stop(self) -> None:
        """Look no more."""
        for timer in self._leaving.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def let_in(self, socket: Socket, auth: Any, request: web.Request) -> None:
        """Find out whose socket it is. Raises Refused."""
        try:
            token, since = _introduced(auth)
            claims = self._gate.socket_claims(request, token)
            caller = self._gate.holds(claims) or await self._gate.let_in(claims)
        except ProblemError as problem:
            raise Refused(problem.code, problem.detail) from None
        except UnavailableError:
            nobody = unavailable()
            raise Refused(nobody.code, nobody.detail) from None
        if len(self._users.get(claims.user, ())) >= EACH:
            raise Refused("rate_limited", f"At most {EACH} sockets a person: close another one.")
        socket.data = Guest(claims, since, self._next_look(caller), _now())

    async def welcome(self, socket: Socket) -> None:
        """Show them as here, tell them what they have missed, and from then on what comes."""
        guest: Guest = socket.data
        user, session = guest.claims.user, guest.claims.session
        self._sessions.setdefault(session, set()).add(socket)
        here = self._users.setdefault(user, set())
        here.add(socket)
        if len(here) == 1:
            self._stay(user)
            self.spawn(self._roster.join(user))
        if self._ends.ended(session):
            self._send_away((socket,))
            return
        try:
            await self._hub.attach(socket, user, guest.since)
        except UnavailableError:
            socket.close("behind")

    def gone(self, socket: Socket) -> None:
        """They have closed it, or were sent away."""
        guest: Guest | None = socket.data
        if guest is None:
            return
        user = guest.claims.user
        self._hub.detach(socket, user)
        if guest.watcher is not None:
            guest.watcher.close()
            guest.watcher = None
        _drop(self._sessions, guest.claims.session, socket)
        if _drop(self._users, user, socket) and not self._life.draining:
            # Whoever is here again by then was never gone. On its way out a gateway leaves that to its lease.
            self._stay(user)
            self._leaving[user] = asyncio.get_running_loop().call_later(self._grace, self._left, user)

    def _stay(self, user: str) -> None:
        timer = self._leaving.pop(user, None)
        if timer is not None:
            timer.cancel()

    def _left(self, user: str) -> None:
        del self._leaving[user]
        self.spawn(self._roster.leave(user))

    def ended(self, session: str, user: str) -> None:
        """A session is over: so are its sockets, at once."""
        self._send_away(self._sessions.get(session, ()))

    @staticmethod
    def _send_away(sockets: Iterable[Socket]) -> None:
        for socket in tuple(sockets):
            socket.emit("session_ended", b"{}")
            socket.close("session_ended", final=True)

    async def caller(self, socket: Socket) -> Caller:
        """Who asks, as they are now; ProblemError(not_logged_in) when their session is over."""
        claims = socket.data.claims
        return self._gate.holds(claims) or await self._gate.let_in(claims)

    def watcher(self, socket: Socket) -> Watcher:
        """The socket's eye on people. ProblemError where it is gone meanwhile: nobody would close it."""
        guest: Guest = socket.data
        if socket.closed:
            raise not_logged_in("This connection is over.")
        if guest.watcher is None:
            guest.watcher = self._watching.watcher(guest.claims.user, _presence_of(socket))
        return guest.watcher

    async def _look_after(self) -> None:
        """Look now and then whether the sessions are still open: they also end by themselves."""
        while True:
            await asyncio.sleep(ROUND)
            now = self._clock.now_ms()
            due = [sockets for sockets in self._sessions.values() if any(each.data.look_at <= now for each in sockets)]
            for sockets in due:
                try:
                    await self._look_at(sockets)
                except Exception:
                    logger.exception("a session can't be looked at")

    async def _look_at(self, sockets: set[Socket]) -> None:
        some = next(iter(sockets), None)
        if some is None:
            return
        try:
            look_at = self._next_look(await self.caller(some))
        except ProblemError:
            self._send_away(sockets)
            return
        except UnavailableError:
            look_at = self._clock.now_ms() + LOOK_MS
        for socket in sockets:
            socket.data.look_at = look_at

    def _next_look(self, caller: Caller) -> int:
        return min(caller.session.expires_at, self._clock.now_ms() + LOOK_MS)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do this beside the rest; it ends with all of it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _introduced(auth: Any) -> tuple[str | None, tuple[int, int] | None]:
    """Token and cursor as a client gives them. ProblemError for what is neither."""
    if auth is None:
        return None, None
    if not isinstance(auth, dict) or auth.keys() - {"token", "cursor"}:
        raise ProblemError(
            "invalid_body", "`auth` is an object with `token` and `cursor`, each of which may be absent."
        )
    token, cursor = auth.get("token"), auth.get("cursor")
    if token is not None and not isinstance(token, str):
        raise ProblemError("invalid_body", "`token`: is a text")
    if cursor is None:
        return token, None
    since = read_cursor(cursor) if isinstance(cursor, str) else None
    if since is None:
        raise ProblemError("invalid_body", "`cursor`: is that of the last event; leave it out to begin anew")
    return token, since


def _drop(found: dict[str, set[Socket]], key: str, socket: Socket) -> bool:
    """Whether it was the last one."""
    sockets = found.get(key)
    if sockets is None:
        return False
    sockets.discard(socket)
    if sockets:
        return False
    del found[key]
    return True


def _presence_of(socket: Socket) -> Callable[[Any], None]:
    return lambda views: socket.send(presence_frame(views))


def _now() -> float:
    return asyncio.get_running_loop().time()
