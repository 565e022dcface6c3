"""Presence: a person is online while any of their devices is, and each device only for as long as it said."""

from collections.abc import Mapping

#: How long a device is taken to be here after it said so, in milliseconds; it says so again before that.
LEASE_MS = 60_000


def is_online(devices: Mapping[str, int], now: int) -> bool:
    """`devices` maps each device to the time until which it is here, in milliseconds since 1970."""
    return any(until > now for until in devices.values())


def last_seen(devices: Mapping[str, int], seen_at: int, now: int) -> int:
    """When the person was last here: now while online, else the latest sight or end of a lease."""
    if is_online(devices, now):
        return now
    return max([seen_at, *(until for until in devices.values() if until <= now)])


def sight(until: int, seen_at: int, now: int) -> tuple[bool, int]:
    """Both at once, of somebody whose devices are here until `until` at the latest (0 without any)."""
    return (True, now) if until > now else (False, max(seen_at, until))
