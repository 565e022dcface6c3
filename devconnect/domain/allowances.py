"""How much each may do: quotas, the tiers' policies made of them, and the words that settings say them in.

Small quotas are exact: never more than so many in any stretch of the window's length. Big ones are counted in windows
that begin with their first use, and may be leased in blocks.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from devconnect.events.base import Tier

Kind = Literal["requests", "messages", "writes", "reads", "strangers"]
#: The kinds of a tier's policy, in the order in which settings say them.
KINDS: tuple[Kind, ...] = ("requests", "messages", "writes", "reads")
TIERS: tuple[Tier, ...] = get_args(Tier)

#: The parts that a big quota is leased in.
BLOCKS = 20
#: What settings may say. An exact quota keeps each id that it counts, so it must be small.
EXACT_MOST, COUNTED_MOST, FEED_MOST = 10_000, 1_000_000, 200

_UNITS: Mapping[str, int] = {"sec": 1, "min": 60, "hour": 3600, "day": 86_400}


class PolicyError(ValueError):
    """A text that says no policy; the message says what is wrong with it."""


class Quota(Struct, frozen=True):
    """So many in a window of so many seconds."""

    amount: int
    seconds: int


class Rule(Struct, frozen=True, kw_only=True):
    """A quota and how it is kept: exactly, by ids, or counted and taken `block` at a time."""

    kind: str
    quota: Quota
    exact: bool = False
    block: int = 1


class Allowance(Struct, frozen=True):
    """What became of asking by a rule: how many were granted, how many are left, and milliseconds until there are more.

    `repeated` is a command that was counted before: granted, and not counted twice.
    """

    rule: Rule
    granted: int
    remaining: int
    wait_ms: int
    repeated: bool = False


class Policy(Struct, frozen=True, kw_only=True):
    """What a tier may do; `requests` is None where connection requests have no quota of their own."""

    requests: Quota | None
    messages: Quota
    writes: Quota
    reads: Quota
    #: The largest page of the feed.
    feed: int

    def rule(self, kind: Kind) -> Rule:
        """The rule for a kind. Requests without a quota of their own count as writes: none is without limit."""
        match kind:
            case "requests" if self.requests is not None:
                return exact("requests", self.requests)
            case "messages":
                return exact("messages", self.messages)
            case "reads":
                return leased("reads", self.reads)
            case "requests" | "writes":
                return exact("writes", self.writes)
            case _:
                raise ValueError(f"{kind} belong to no tier")


def exact(kind: str, quota: Quota) -> Rule:
    """A rule that counts ids, each once."""
    return Rule(kind=kind, quota=quota, exact=True)


def leased(kind: str, quota: Quota) -> Rule:
    """A rule that is taken in blocks."""
    return Rule(kind=kind, quota=quota, block=max(1, quota.amount // BLOCKS))


FREE = Policy(requests=Quota(10, 86_400), messages=Quota(20, 60), writes=Quota(60, 60), reads=Quota(600, 60), feed=10)
SILVER = Policy(
    requests=Quota(100, 86_400), messages=Quota(60, 60), writes=Quota(300, 60), reads=Quota(3_000, 60), feed=100
)
GOLD = Policy(requests=None, messages=Quota(300, 60), writes=Quota(1_200, 60), reads=Quota(12_000, 60), feed=200)
STRANGERS = Quota(60, 60)


class Policies(Struct, frozen=True, kw_only=True):
    """Everybody's: those of the tiers, and the quota of an address that nobody is logged in at."""

    free: Policy = FREE
    silver: Policy = SILVER
    gold: Policy = GOLD
    strangers: Quota = STRANGERS

    def of(self, tier: Tier) -> Policy:
        """The policy of a tier."""
        return {"free": self.free, "silver": self.silver, "gold": self.gold}[tier]


def parse_policy(text: str, default: Policy) -> Policy:
    """The policy that "requests=10/day messages=20/min feed=10" says; what it leaves out is as in the default.

    Raises PolicyError.
    """
    said: dict[str, Quota | int | None] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or name not in (*KINDS, "feed"):
            raise PolicyError(f"{word!r} is none of requests=, messages=, writes=, reads= and feed=")
        if name in said:
            raise PolicyError(f"{name} is there twice")
        if name == "feed":
            said[name] = _whole(name, value, FEED_MOST)
        elif (name, value) == ("requests", "none"):
            said[name] = None
        else:
            said[name] = parse_quota(value, name, COUNTED_MOST if name == "reads" else EXACT_MOST)
    return replace(default, **said)


def parse_quota(text: str, name: str = "the quota", most: int = COUNTED_MOST) -> Quota:
    """The quota that "20/min" says. Raises PolicyError."""
    amount, slash, unit = text.partition("/")
    if not slash or unit not in _UNITS:
        raise PolicyError(f"{name}={text} is not a number /sec, /min, /hour or /day")
    return Quota(_whole(name, amount, most), _UNITS[unit])


def _whole(name: str, text: str, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:10]) <= most:
        raise PolicyError(f"{name} is a whole number from 1 to {most}, not {text!r}")
    return int(text)
