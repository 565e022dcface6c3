"""How much a caller may do: what handlers ask before they work, and the headers that tell of it."""

import time
from collections.abc import Callable
from functools import lru_cache

from multidict import istr

from devconnect.domain.allowances import TIERS, Allowance, Kind, Policies, Rule, leased
from devconnect.events.base import Tier
from devconnect.ports.allowances import Allowances, Taking
from devconnect.ports.metrics import RATE_LIMITED, Metrics
from web.leases import Leases, UsedUpError
from web.problems import ProblemError

POLICY, LIMIT = istr("RateLimit-Policy"), istr("RateLimit")
#: Header names and values of an answer (draft-ietf-httpapi-ratelimit-headers).
Headers = dict[str, str]

_KINDS: tuple[Kind, ...] = ("requests", "messages", "writes", "reads")
_NAMES = {
    "requests": "connection requests",
    "writes": "commands",
    "reads": "requests",
    "strangers": "requests without a log-in from one network",
}
_SPANS = {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}


class Limits:
    """What the tiers and strangers may do.

    Reads and strangers are leased in blocks: `read` and `stranger` allow a request at once, and say None when the store
    must be asked, which `reads` and `strangers` do. Commands are counted one by one, by their ids: `take`.
    """

    def __init__(
        self,
        policies: Policies,
        allowances: Allowances,
        metrics: Metrics,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policies, self._allowances, self._metrics, self._now = policies, allowances, metrics, now
        self._rules = {(kind, tier): policies.of(tier).rule(kind) for kind in _KINDS for tier in TIERS}
        self._of_tier = {key: (rule,) for key, rule in self._rules.items()}
        self._of_all_tiers = {kind: tuple(self._rules[kind, tier] for tier in TIERS) for kind in _KINDS}
        self._read_rules = {tier: self._rules["reads", tier] for tier in TIERS}
        self._read_policies = {tier: policy_header(rule) for tier, rule in self._read_rules.items()}
        self._stranger = leased("strangers", policies.strangers)
        self._stranger_policy = policy_header(self._stranger)
        self._reads = Leases(allowances, now=now)
        self._strangers = Leases(allowances, now=now)

    def feed(self, tier: Tier) -> int:
        """The largest page of the feed."""
        return self._policies.of(tier).feed

    def read(self, tier: Tier, user: str) -> Headers | None:
        """Allow a read, with nobody asked; None when `reads` must be. ProblemError(rate_limited)."""
        try:
            value = self._reads.take(self._read_rules[tier], user)
        except UsedUpError as error:
            raise self._refused(error.allowance) from None
        return None if value is None else {POLICY: self._read_policies[tier], LIMIT: value}

    async def reads(self, tier: Tier, user: str) -> Headers:
        """The same, with the store asked where that is needed."""
        try:
            value = await self._reads.refill(self._read_rules[tier], user)
        except UsedUpError as error:
            raise self._refused(error.allowance) from None
        return {POLICY: self._read_policies[tier], LIMIT: value}

    def needs_lease(self, user: str) -> bool:
        """Whether the store must be asked for reads: with a block in hand, another would be one less for the others."""
        return self._reads.needs(user)

    def stranger(self, network: str) -> Headers | None:
        """Allow a request of somebody who isn't logged in; None when `strangers` must be asked.

        ProblemError(rate_limited).
        """
        try:
            value = self._strangers.take(self._stranger, network)
        except UsedUpError as error:
            raise self._refused(error.allowance) from None
        return None if value is None else {POLICY: self._stranger_policy, LIMIT: value}

    async def strangers(self, network: str) -> Headers:
        """The same, with the store asked where that is needed."""
        try:
            value = await self._strangers.refill(self._stranger, network)
        except UsedUpError as error:
            raise self._refused(error.allowance) from None
        return {POLICY: self._stranger_policy, LIMIT: value}

    async def take(self, kind: Kind, tier: Tier, user: str, command: str) -> Allowance:
        """Count a command; `headers` has what to answer. ProblemError(rate_limited).

        One that was counted in this window isn't counted again. That, and being refused, costs a read: so neither is
        to be had without end.
        """
        try:
            self._reads.check(self._read_rules[tier], user)
        except UsedUpError as error:
            raise self._refused(error.allowance) from None
        [allowance] = await self._allowances.take([self.taking(kind, user, command, tier=tier)])
        return await self._settled(tier, user, allowance)

    async def give_back(self, kind: Kind, tier: Tier, user: str, command: str) -> None:
        """Count a command no more: it came to nothing, for no fault of who asked."""
        await self._allowances.give_back([self.taking(kind, user, command, tier=tier)])

    def taking(self, kind: Kind, user: str, command: str = "", *, tier: Tier | None = None) -> Taking:
        """What `take` and `reads` ask of the store, to be sent along with something else; then `taken`.

        Without a tier the store goes by the one that it knows.
        """
        rules = self._of_all_tiers[kind] if tier is None else self._of_tier[kind, tier]
        return Taking(subject=user, rules=rules, id=command)

    async def taken(self, kind: Kind, tier: Tier, taking: Taking, allowance: Allowance | None, asked: float) -> Headers:
        """What came of a `taking` that was sent along at the (monotonic) time `asked`: headers, or rate_limited.

        Asks again where there is no allowance (the store couldn't be asked), or it went by another tier.
        """
        user, rule = taking.subject, self._rules[kind, tier]
        known = allowance if allowance is not None and allowance.rule is rule else None
        if kind == "reads":
            if known is not None:
                self._reads.grant(user, known, asked)
            return await self.reads(tier, user)
        if known is None:
            return headers(await self.take(kind, tier, user, taking.id))
        return headers(await self._settled(tier, user, known))

    async def _settled(self, tier: Tier, user: str, allowance: Allowance) -> Allowance:
        if allowance.repeated or not allowance.granted:
            await self.reads(tier, user)
        if not allowance.granted:
            raise self._refused(allowance)
        return allowance

    def _refused(self, allowance: Allowance) -> ProblemError:
        rule, seconds = allowance.rule, retry_after(allowance)
        self._metrics.count(RATE_LIMITED, rule.kind)
        what, span = _NAMES.get(rule.kind, rule.kind), _SPANS.get(rule.quota.seconds, f"{rule.quota.seconds} seconds")
        detail = f"At most {rule.quota.amount} {what} {span}: try again in {seconds} s."
        return ProblemError("rate_limited", detail, headers={**headers(allowance), "Retry-After": str(seconds)})


def headers(allowance: Allowance) -> Headers:
    """The headers that tell of an allowance."""
    rule = allowance.rule
    left = f'"{rule.kind}";r={allowance.remaining};t={retry_after(allowance)}'
    return {POLICY: policy_header(rule), LIMIT: left}


@lru_cache(64)
def policy_header(rule: Rule) -> str:
    """The value of RateLimit-Policy."""
    return f'"{rule.kind}";q={rule.quota.amount};w={rule.quota.seconds}'


def retry_after(allowance: Allowance) -> int:
    """Whole seconds, at least one, until there is more."""
    return max(1, -(-allowance.wait_ms // 1000))
