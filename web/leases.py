"""Allowances that are taken in blocks, so that nearly every request is allowed without asking anybody."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from devconnect.domain.allowances import Allowance, Rule
from devconnect.ports.allowances import Allowances, Taking

#: Leases that are held; beyond them those that were refilled longest ago go, and what was left of them is lost.
ROOM = 50_000


class UsedUpError(Exception):
    """Nothing is left until the window ends."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(allowance.rule.kind)
        self.allowance = allowance


class _Lease:
    """What is left of a block, what the store had beyond it, and when the window ends by our monotonic clock."""

    __slots__ = ("beyond", "ends", "left", "rule")

    def __init__(self, rule: Rule, left: int, beyond: int, ends: float) -> None:
        self.rule, self.left, self.beyond, self.ends = rule, left, beyond, ends

    def follows(self, rule: Rule) -> bool:
        """Whether it is of this rule, or can go on by it: another tier's, which counts in the same place.

        Otherwise whoever changes their tier often would lose a block each time.
        """
        if self.rule is rule:
            return True
        before = self.rule
        if (before.kind, before.quota.seconds) != (rule.kind, rule.quota.seconds):
            return False
        used = before.quota.amount - self.left - self.beyond
        self.rule, self.left = rule, min(self.left, max(0, rule.quota.amount - used))
        self.beyond = max(0, rule.quota.amount - used - self.left)
        return True


class Leases:
    """The leases of one kind, by subject.

    A lease ends no later than its window in the store: the store says how long that lasts, and here it is counted from
    before the store was asked. What isn't used by then is lost, so all gateways together stay within the quota.
    """

    def __init__(self, allowances: Allowances, *, now: Callable[[], float] = time.monotonic, room: int = ROOM) -> None:
        self._allowances, self._now, self._room = allowances, now, room
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._refills: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def take(self, rule: Rule, subject: str) -> str | None:
        """Use one up: the value of the RateLimit header, or None when the store must be asked: `refill` then.

        Raises UsedUpError where the store has said that nothing is left. `rule` is compared by identity.
        """
        lease = self._leases.get(subject)
        if lease is None or not lease.follows(rule):
            return None
        seconds = lease.ends - self._now()
        if seconds <= 0:
            return None
        if lease.left == 0:
            if lease.beyond:
                return None
            raise UsedUpError(Allowance(rule, 0, 0, math.ceil(seconds * 1000)))
        lease.left -= 1
        return f'"{rule.kind}";r={lease.left + lease.beyond};t={math.ceil(seconds)}'

    def check(self, rule: Rule, subject: str) -> None:
        """Raises UsedUpError as `take` would; uses nothing up."""
        lease = self._leases.get(subject)
        if lease is not None and lease.follows(rule) and not lease.left and not lease.beyond:
            seconds = lease.ends - self._now()
            if seconds > 0:
                raise UsedUpError(Allowance(rule, 0, 0, math.ceil(seconds * 1000)))

    def needs(self, subject: str) -> bool:
        """Whether the store must be asked before `take` can say anything, as far as can be seen without the rule."""
        lease = self._leases.get(subject)
        return lease is None or lease.ends <= self._now() or (not lease.left and bool(lease.beyond))

    async def refill(self, rule: Rule, subject: str) -> str:
        """`take`, with the store asked for as long as that is needed; those who wait for one subject ask once."""
        while (found := self.take(rule, subject)) is None:
            task = self._refills.get(subject)
            # One that is over may be there for a moment still: waiting for it would let nobody else have a turn.
            if task is None or task.done():
                task = self._refills[subject] = asyncio.create_task(self._ask(rule, subject))
                task.add_done_callback(partial(self._forget, subject))
            # Who gives up waiting doesn't take the answer from the others.
            await asyncio.shield(task)
        return found

    def _forget(self, subject: str, task: asyncio.Task[None]) -> None:
        if self._refills.get(subject) is task:
            del self._refills[subject]

    def grant(self, subject: str, allowance: Allowance, asked: float) -> None:
        """Hold what the store has granted; `asked` is our monotonic time before it was asked."""
        before = self._leases.pop(subject, None)
        ends = asked + allowance.wait_ms / 1000
        kept = before.left if before is not None and before.rule is allowance.rule and before.ends > self._now() else 0
        self._leases[subject] = _Lease(allowance.rule, kept + allowance.granted, allowance.remaining, ends)
        if len(self._leases) > self._room:
            self._leases.popitem(last=False)

    async def _ask(self, rule: Rule, subject: str) -> None:
        asked = self._now()
        [allowance] = await self._allowances.take([Taking(subject=subject, rules=(rule,))])
        self.grant(subject, allowance, asked)
