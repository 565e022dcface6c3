"""The read models with sessions at hand: a session that is in use costs no round trip."""

import time
from collections.abc import Callable
from functools import lru_cache

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.near import CAPACITY, NearCache
from devconnect.adapters.redis.reads import RedisReads, session_commands, session_views
from devconnect.adapters.redis.wire import Wire
from devconnect.ports.metrics import Metrics
from devconnect.ports.reads import SessionView, UserView

#: Whether all that had happened to this user by that time (milliseconds since 1970) is in the read models.
CaughtUp = Callable[[str, int], bool]


class NearReads(RedisReads):
    """Remembers sessions and users as `session` has read them, for as long as NearCache can answer for them.

    Only what may be wholly believed is remembered: by a server that is known to have every log-out there was, while the
    read models are complete. A server that is started anew loses the connection, and so all that was remembered of it.

    One that is reached again after a while may still have to be told what happened meanwhile. Until it was, it is
    believed in nothing but ends: what somebody may do mustn't go back to what it was before.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        metrics: Metrics | None = None,
        capacity: int = CAPACITY,
        caught_up: CaughtUp | None = None,
    ) -> None:
        """The wire mustn't have been used yet. Without `caught_up` every server that is reached counts as so."""
        super().__init__(wire)
        self._near = NearCache(wire, metrics=metrics, capacity=capacity)
        self._caught_up = caught_up or (lambda user, since: True)

    async def session(self, session: str, user: str) -> tuple[SessionView | None, UserView | None]:
        """The session and the user as Redis has them, in one round trip; remembered from then on."""
        with self._near.expect(_names(session, user)) as expected:
            epoch, sure, login, account = session_commands(session, user)
            found = await self._near.read([epoch, login, account], [sure])
            witness = found[3] if self._caught_up(user, self._near.back_at) else None
            view, holder = session_views(session, user, [found[0], witness, found[1], found[2]])
            # An account comes only with what is sure.
            if view is not None and holder is not None and not view.ended and view.expires_at > _now():
                expected.keep([True, view, holder])
        return view, holder

    def remembered(self, session: str, user: str) -> tuple[SessionView, UserView] | None:
        """Both, where they are at hand and known to be current; None otherwise. It may have expired meanwhile."""
        found = self._near.at_hand(_names(session, user))
        return None if found is None else (found[1], found[2])


def reads_on(client: Client, *, metrics: Metrics | None = None, caught_up: CaughtUp | None = None) -> RedisReads:
    """The reads for a client of connect.connect_fast: sessions are remembered where it is a wire."""
    return NearReads(client, metrics=metrics, caught_up=caught_up) if isinstance(client, Wire) else RedisReads(client)


@lru_cache(20_000)
def _names(session: str, user: str) -> tuple[str, str, str]:
    return (keys.EPOCH, keys.session(session), keys.user(user))


def _now() -> int:
    return time.time_ns() // 1_000_000
