"""Presence: a person is online while any device or gateway says so, and each only for as long as it said.

Times are milliseconds since 1970. A device that says so over HTTP has a lease of its own; a gateway answers for all the
sockets that somebody has there.
"""

from collections.abc import Mapping

from msgspec import Struct

from devconnect.domain.model import RelationState
from devconnect.events.base import Audience

#: How long a device is taken to be here after it said so; it says so again before that.
LEASE_MS = 60_000
#: How long a gateway is believed in what it said of one person. It says so again every third of that. What ends the
#: presence of a gateway that dies is the end of its own, much shorter lease: this is for what is lost in a cluster.
SOCKETS_MS = 1_800_000


class Standing(Struct, frozen=True):
    """Until when each device and each gateway says that somebody is here, and when they were last seen besides."""

    leases: Mapping[str, int] = {}
    seen: int = 0


def is_online(devices: Mapping[str, int], now: int) -> bool:
    """`devices` maps each device, or gateway, to the time until which it is here."""
    return any(until > now for until in devices.values())


def last_seen(devices: Mapping[str, int], seen_at: int, now: int) -> int:
    """When the person was last here: now while online, else the latest sight or end of a lease; never ahead of now."""
    if is_online(devices, now):
        return now
    return min(now, max([seen_at, *(until for until in devices.values() if until <= now)]))


def joined(person: Standing, gateway: str, now: int) -> Standing:
    """The gateway says that it has sockets of theirs, for the first time or again."""
    return Standing({**person.leases, gateway: now + SOCKETS_MS}, max(person.seen, now))


def left(person: Standing, gateway: str, at: int, now: int) -> Standing:
    """The last socket there went at that time; nothing happens where the gateway had none."""
    if gateway not in person.leases:
        return person
    others = {name: until for name, until in person.leases.items() if name != gateway}
    return Standing(others, max(person.seen, min(at, now)))


def change(before: Standing, after: Standing, now: int) -> bool | None:
    """Whether somebody has come (True) or gone (False): what those who watch are told. None: neither."""
    is_here = is_online(after.leases, now)
    return None if is_here == is_online(before.leases, now) else is_here


def died_at(until: int, lease: int) -> int:
    """When a gateway was last known to live whose lease, of so many milliseconds, ran out then: when it took it."""
    return until - lease


def may_see(audience: Audience, relation: RelationState) -> bool:
    """Whether a presence is shown between two who have this relation, to either: whoever is in a block sees nothing."""
    match audience:
        case "everybody":
            return relation not in ("blocked", "barred")
        case "connections":
            return relation == "accepted"
        case "nobody":
            return False
