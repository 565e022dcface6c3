"""Reads: from the cache, and from the database where the cache can't be had or doesn't know."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal, TypeVar

from devconnect.domain.model import RelationState
from devconnect.ports.clock import Clock
from devconnect.ports.metrics import READS_FALLEN_BACK, Metrics
from devconnect.ports.reads import (
    ConversationView,
    CursorExpiredError,
    HistoryPage,
    NotificationView,
    Page,
    PositionView,
    PresenceView,
    Reads,
    RelationView,
    SessionView,
    Source,
    UserView,
)
from devconnect.ports.truth import UnavailableError

T = TypeVar("T")
#: Whose doing it is that something stands.
Side = Literal["any", "mine", "theirs"]

#: Milliseconds for which a cache that failed isn't asked.
OPEN_MS = 1000


class Breaker:
    """Keeps everybody off a cache that failed a moment ago, but for one who looks whether it is back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0

    def allows(self) -> bool:
        """Whether the cache may be asked. Tell `worked` or `failed` what came of it."""
        if self._until == 0:
            return True
        now = self._clock.now_ms()
        if now < self._until <= now + OPEN_MS:
            return False
        self._until = now + OPEN_MS
        return True

    def worked(self) -> None:
        self._until = 0

    def failed(self) -> None:
        self._until = self._clock.now_ms() + OPEN_MS


class ReadModels:
    """The two stores and the breaker between them."""

    def __init__(self, cache: Reads, database: Reads, breaker: Breaker, metrics: Metrics) -> None:
        self.cache, self.database, self.metrics = cache, database, metrics
        self.breaker = breaker

    def reading(self) -> "Reading":
        """The reads of one request."""
        return Reading(self)


class Reading:
    """The reads of one request; `source` is "database" once any of them had to go there.

    Every method raises UnavailableError when neither store can be asked, or neither knows.
    """

    def __init__(self, models: ReadModels) -> None:
        self._models = models
        self.source: Source = "cache"

    async def session(self, session: str, user: str) -> tuple[SessionView | None, UserView | None]:
        """The session and the user; None for what neither store holds. Over in one store is over."""
        found, who = await self._from_cache(lambda store: store.session(session, user)) or (None, None)
        if found is not None and (found.ended or who is not None):
            return found, who
        stored, holder = await self._from_database(lambda store: store.session(session, user))
        if stored is not None and (found is None or stored.ended):
            found = stored
        return found, who or holder

    async def users(self, ids: Sequence[str]) -> list[UserView | None]:
        """The users, in the order asked for; None for those who don't exist."""
        if not ids:
            return []
        found = dict(zip(ids, await self._from_cache(lambda store: store.users(ids)) or (), strict=False))
        missing = [user for user in dict.fromkeys(ids) if found.get(user) is None]
        if missing:
            stored = await self._from_database(lambda store: store.users(missing))
            found.update(zip(missing, stored, strict=True))
        return [found[user] for user in ids]

    async def feed(self, user: str, skills: Sequence[str], cursor: str | None, limit: int) -> Page[str]:
        """Ids of people with whom the user, who has these skills, has nothing yet."""
        return await self._known(lambda store: store.feed(user, cursor, limit, skills))

    async def relations(
        self, user: str, state: RelationState, cursor: str | None, limit: int, *, side: Side = "any"
    ) -> Page[RelationView]:
        """What stands in this state between the user and others, of one side only where that is said."""
        theirs, mine = side == "theirs", side == "mine"
        return await self._known(
            lambda store: store.relations(user, state, cursor, limit, by_others=theirs, by_me=mine)
        )

    async def relations_to(self, user: str, others: Sequence[str]) -> list[RelationView]:
        """What is between the user and each of these, in the order asked for."""
        if not others:
            return []
        return await self._known(lambda store: store.relations_to(user, others))

    async def conversations(self, user: str, cursor: str | None, limit: int) -> Page[ConversationView]:
        """The user's conversations, the one in which something was said last first."""
        return await self._known(lambda store: store.conversations(user, cursor, limit))

    def history_json(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> Coroutine[Any, Any, HistoryPage]:
        """Messages as they are sent, newest first or oldest first, with the positions of both."""
        return self._known(lambda store: store.history_json(conversation, cursor, limit, forward=forward))

    async def positions(self, conversation: str) -> list[PositionView]:
        """How far each of the two has got."""
        return await self._known(lambda store: store.positions(conversation))

    def presence(self, ids: Sequence[str], now: int, reader: str) -> Coroutine[Any, Any, list[PresenceView]]:
        """Who is here, in the order asked for, as far as they show that to the reader."""
        return self._known(lambda store: store.presence(ids, now, reader))

    async def notifications(self, user: str, cursor: str | None, limit: int) -> Page[NotificationView]:
        """Notifications, newest first."""
        return await self._known(lambda store: store.notifications(user, cursor, limit))

    async def unread_notifications(self, user: str) -> int:
        """How many are not read."""
        return await self._known(lambda store: store.unread_notifications(user))

    async def unseen_notifications(self, user: str) -> int:
        """How many were not seen."""
        return await self._known(lambda store: store.unseen_notifications(user))

    async def table(self, name: str, cursor: str | None, limit: int) -> Page[dict[str, str | int]]:
        """Rows of an analytics table's view. The cache alone has them: what it takes for no cursor is none."""
        found = await self._from_cache(lambda store: store.table(name, cursor, limit), is_alone=True)
        if found is None:
            raise UnavailableError("the cache doesn't know, and nobody else does")
        return found

    async def _known(self, ask: Callable[[Reads], Awaitable[T | None]]) -> T:
        found = await self._from_cache(ask)
        if found is None:
            found = await self._from_database(ask)
        if found is None:
            raise UnavailableError("neither store knows")
        return found

    async def _from_cache(self, ask: Callable[[Reads], Awaitable[T]], *, is_alone: bool = False) -> T | None:
        breaker = self._models.breaker
        if not breaker.allows():
            return None
        try:
            found: T | None = await ask(self._models.cache)
        except UnavailableError:
            breaker.failed()
            return None
        except ValueError as error:
            breaker.worked()
            if is_alone or isinstance(error, CursorExpiredError):
                raise
            return None  # a cursor that the database gave, perhaps: it will know
        breaker.worked()
        return found

    async def _from_database(self, ask: Callable[[Reads], Awaitable[T]]) -> T:
        found = await ask(self._models.database)
        self.source = "database"
        self._models.metrics.count(READS_FALLEN_BACK)
        return found
