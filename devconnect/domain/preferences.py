"""How somebody wants to be told of things: what may be said, and what is quiet when. Pure."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec.structs import replace

from devconnect.events.base import Channel
from devconnect.events.facts import CLOCK, Digest, KindSwitches, NotificationPreferences, QuietHours, Switches

#: The kinds that can be switched.
KINDS = KindSwitches.__struct_fields__
#: Longest name of a time zone that is looked up.
ZONE_MAX = 64
_CLOCK = re.compile(CLOCK)
_DAY = timedelta(days=1)


def trouble(preferences: NotificationPreferences) -> tuple[str, str] | None:
    """The field that can't be so, and what it is meant to be; None where all is well."""
    if not _is_zone(preferences.time_zone):
        return "time_zone", "is a name of the IANA time zone database, such as Europe/Berlin"
    quiet = preferences.quiet_hours
    if quiet is not None:
        for name, said in (("start", quiet.start), ("end", quiet.end)):
            if not _CLOCK.fullmatch(said):
                return f"quiet_hours.{name}", "is a time of day such as 22:30"
        if quiet.start == quiet.end:
            return "quiet_hours.end", "is another time than the start: quiet hours that never end are switches"
    if not 0 <= preferences.digest.hour <= 23:
        return "digest.hour", "is an hour from 0 to 23"
    return None


def switched(preferences: NotificationPreferences, kind: str, channel: Channel, *, on: bool) -> NotificationPreferences:
    """The same with one switch turned; nothing changes for a kind that can't be switched."""
    if kind not in KINDS:
        return preferences
    before: Switches = getattr(preferences.kinds, kind)
    return replace(preferences, kinds=replace(preferences.kinds, **{kind: replace(before, **{channel: on})}))


def wants(preferences: NotificationPreferences, kind: str, channel: Channel) -> bool:
    """Whether somebody is told of this kind of thing by this channel; of what has no switches they always are."""
    switches: Switches = getattr(preferences.kinds, kind, _ALL_ON)
    wanted: bool = getattr(switches, channel)
    return wanted


def quiet_until(preferences: NotificationPreferences, at: int) -> int | None:
    """When the quiet hours end that it is in `at` (both in milliseconds since 1970); None where it is in none.

    They are those of the person's clock. Where that jumps over their start or end, it is meant as the clock stood
    before the jump; what the clock shows twice is meant the first time as their start, the second time as their end.
    """
    quiet = preferences.quiet_hours
    if quiet is None:
        return None
    zone = zone_of(preferences)
    today = datetime.fromtimestamp(at / 1000, zone)
    for back in (0, 1):
        day = (today - back * _DAY).replace(tzinfo=None)
        start, end = _span(quiet, day, zone)
        if start <= at < end:
            return end
    return None


def _span(quiet: QuietHours, day: datetime, zone: tzinfo) -> tuple[int, int]:
    """The quiet hours that begin on a day."""
    last = day if quiet.start < quiet.end else day + _DAY
    return _instant(day, quiet.start, zone, fold=0), _instant(last, quiet.end, zone, fold=1)


def _instant(day: datetime, clock: str, zone: tzinfo, *, fold: int) -> int:
    """When the clock shows this on a day."""
    hour, minute = int(clock[:2]), int(clock[3:])
    shown = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold)
    if shown.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != shown.replace(tzinfo=None):
        shown = shown.replace(fold=0)  # jumped over: as the clock stood before
    return round(shown.timestamp() * 1000)


def next_digest(preferences: NotificationPreferences, after: int) -> int | None:
    """When the first digest behind `after` is due, in milliseconds since 1970; None for whoever wants none."""
    digest: Digest = preferences.digest
    if digest.every == "off":
        return None
    zone = zone_of(preferences)
    day = datetime.fromtimestamp(after / 1000, zone).replace(tzinfo=None)
    # Eight days hold a Monday whose hour is still to come.
    for ahead in range(9):
        that = day + ahead * _DAY
        if digest.every == "weekly" and that.weekday() != 0:
            continue
        due = _instant(that, f"{digest.hour:02d}:00", zone, fold=0)
        if due > after:
            return due
    raise ValueError(f"no digest within nine days of {after}")


def zone_of(preferences: NotificationPreferences) -> tzinfo:
    """The person's time zone; UTC where it is known no more."""
    return _zone(preferences.time_zone) or UTC


def _is_zone(name: str) -> bool:
    return _zone(name) is not None


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    if not name or len(name) > ZONE_MAX:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


_ALL_ON = Switches(email=True)
