"""Which fault comes when, drawn from a seed: the same seed and number, the same schedule."""

from random import Random
from typing import NamedTuple

ROLES = ("commands", "projections", "notifications", "analytics")
SERVERS = ("kafka", "redis", "mongo")
#: What the worker of a role waits for with its batches.
STORES = {"commands": "mongo", "projections": "redis", "notifications": "mongo"}

#: What happens to whom.
#: kill: kill -9; it comes back, a server with its data folder. restart: the same by SIGTERM.
#: pause: SIGSTOP for some seconds. stuck: the store of a worker is paused, and the worker killed with batches in hand.
#: zombie: a second worker of the role joins, the first is stopped (SIGSTOP) for longer than its session, and goes on
#: after that. crowd: a second and a third worker join, then one is killed and one leaves.
KINDS = {
    "kill": (*ROLES, *SERVERS, "gateway"),
    "restart": (*ROLES, *SERVERS, "gateway"),
    "zombie": ROLES,
    "crowd": ROLES,
    "pause": ("kafka", "gateway"),
    "stuck": tuple(STORES),
}


class Fault(NamedTuple):
    """`kind` happens to `target` (a role of Procfile or a part of the stack) `after` seconds from the fault before it.

    `draw` is a number in [0, 1) for whatever else there is to choose.
    """

    kind: str
    target: str
    after: float
    draw: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


def plan(seed: int, faults: int, seconds: float) -> list[Fault]:
    """`faults` faults, `seconds` apart on average: each kind of each target before any comes again."""
    random = Random(seed)
    deck: list[tuple[str, str]] = []
    while len(deck) < faults:
        hand = [(kind, target) for kind, targets in KINDS.items() for target in targets]
        random.shuffle(hand)
        deck += hand
    return [Fault(*each, seconds * random.uniform(0.5, 1.5), random.random()) for each in deck[:faults]]
