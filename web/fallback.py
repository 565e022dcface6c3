"""Counting in Redis, and in this process while Redis can't be asked: limits are never off."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from devconnect.deadlines import Within
from devconnect.domain.allowances import Allowance
from devconnect.ports.allowances import Allowances, Taking
from devconnect.ports.metrics import LIMITS_LOCAL, Metrics
from devconnect.ports.truth import UnavailableError
from web.reads import Breaker

T = TypeVar("T")

#: Seconds that the shared store has to answer.
WITHIN = 0.25


class FallbackAllowances(Allowances):
    """Asks `shared`, and `local` when that fails or has failed a moment ago. Raises no UnavailableError.

    The breaker may be one that others of the same store have too: what one has learned, none of them waits for again.
    """

    def __init__(
        self, shared: Allowances, local: Allowances, breaker: Breaker, metrics: Metrics, *, within: float = WITHIN
    ) -> None:
        self._shared, self._local = shared, local
        self._breaker, self._metrics, self._within = breaker, metrics, Within(within)

    def take(self, takings: Sequence[Taking]) -> Coroutine[Any, Any, list[Allowance]]:
        return self._first(lambda store: store.take(takings))

    async def give_back(self, takings: Sequence[Taking], *, clear: Sequence[Taking] = ()) -> None:
        await self._first(lambda store: store.give_back(takings, clear=clear))

    async def _first(self, ask: Callable[[Allowances], Awaitable[T]]) -> T:
        if self._breaker.allows():
            try:
                with self._within():
                    found = await ask(self._shared)
            except (UnavailableError, TimeoutError):
                self._breaker.failed()
            else:
                self._breaker.worked()
                return found
        self._metrics.count(LIMITS_LOCAL)
        return await ask(self._local)
