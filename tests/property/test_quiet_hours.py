"""Quiet hours are those of the person's own clock on every day of it, and nothing that comes is told of twice."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from devconnect.domain import delivering as d, preferences as p
from devconnect.domain.model import User
from devconnect.events import facts as f
from tests.delivery_fakes import SET_UP
from tests.unit.test_delivering import NOW, a_user, prefers, raised

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/St_Johns",
    "Africa/Casablanca",
)
#: From 2020 to 2031, each whole second.
times = st.integers(1_577_836_800, 1_924_992_000).map(lambda second: second * 1000)
clocks = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))


@st.composite
def quiet(draw: st.DrawFn) -> f.NotificationPreferences:
    start, end = draw(st.tuples(clocks, clocks).filter(lambda pair: pair[0] != pair[1]))
    return f.NotificationPreferences(
        time_zone=draw(st.sampled_from(ZONES)), quiet_hours=f.QuietHours(start=start, end=end)
    )


def shown(at: int, zone: str) -> str:
    return datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).strftime("%H:%M")


def jumps(at: int, zone: str) -> bool:
    """Whether the clock is put forward or back within a day and a half of then."""
    around = (at + hours * 3_600_000 for hours in range(-36, 37, 6))
    return len({datetime.fromtimestamp(each / 1000, ZoneInfo(zone)).utcoffset() for each in around}) > 1


@given(times, quiet())
def test_it_is_quiet_when_the_persons_clock_says_so(at: int, wanted: f.NotificationPreferences) -> None:
    assert wanted.quiet_hours is not None
    start, end, now = wanted.quiet_hours.start, wanted.quiet_hours.end, shown(at, wanted.time_zone)
    until = p.quiet_until(wanted, at)
    if not jumps(at, wanted.time_zone):
        inside = start <= now < end if start < end else now >= start or now < end
        assert (until is not None) == inside
        assert until is None or shown(until, wanted.time_zone) == end


@given(times, quiet())
def test_quiet_hours_end_after_now_within_a_day_and_then_it_is_quiet_no_more(
    at: int, wanted: f.NotificationPreferences
) -> None:
    until = p.quiet_until(wanted, at)
    if until is not None:
        # A day may have 25 hours where the clock is put back, and Apia has left out a whole one before.
        assert at < until <= at + timedelta(hours=25) // timedelta(milliseconds=1)
        assert p.quiet_until(wanted, until) is None
        assert p.quiet_until(wanted, (at + until) // 2) == until


@pytest.mark.parametrize(
    ("start", "end", "now", "ends"),
    [
        # On 29 March 2026 Berlin goes from 2:00 to 3:00, on 25 October from 3:00 back to 2:00.
        ("22:00", "07:00", (2026, 3, 29, 0, 59), (2026, 3, 29, 5, 0)),
        ("22:00", "07:00", (2026, 10, 25, 0, 30), (2026, 10, 25, 6, 0)),
        ("22:00", "02:30", (2026, 3, 29, 0, 30), (2026, 3, 29, 1, 30)),
        ("22:00", "02:30", (2026, 10, 25, 0, 15), (2026, 10, 25, 1, 30)),
        ("22:00", "02:30", (2026, 10, 25, 1, 15), (2026, 10, 25, 1, 30)),
        ("02:30", "04:00", (2026, 3, 29, 1, 30), (2026, 3, 29, 2, 0)),
    ],
)
def test_where_the_clock_jumps_quiet_hours_are_as_it_shows(
    start: str, end: str, now: tuple[int, ...], ends: tuple[int, ...]
) -> None:
    wanted = f.NotificationPreferences(time_zone="Europe/Berlin", quiet_hours=f.QuietHours(start=start, end=end))
    assert p.quiet_until(wanted, instant(*now)) == instant(*ends)


def instant(*when: int) -> int:
    year, month, day, hour, minute = when
    return round(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() * 1000)


@given(times, st.sampled_from(ZONES), st.integers(0, 23), st.sampled_from(("daily", "weekly")))
def test_a_digest_is_due_at_its_hour_of_a_day_to_come(after: int, zone: str, hour: int, every: str) -> None:
    wanted = f.NotificationPreferences(time_zone=zone, digest=f.Digest(every=every, hour=hour))
    due = p.next_digest(wanted, after)
    assert due is not None
    days = 1 if every == "daily" else 7
    assert after < due <= after + (days * 24 + 2) * 3_600_000
    if not jumps(due, zone):
        assert shown(due, zone) == f"{hour:02d}:00"
        assert every == "daily" or datetime.fromtimestamp(due / 1000, ZoneInfo(zone)).weekday() == 0


def test_who_wants_no_digest_has_none_due() -> None:
    assert p.next_digest(f.NotificationPreferences(), NOW) is None


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("time_zone", {"time_zone": "Mars/Olympus"}),
        ("time_zone", {"time_zone": "../../etc/passwd"}),
        ("time_zone", {"time_zone": ""}),
        ("time_zone", {"time_zone": "x" * 65}),
        ("quiet_hours.end", {"quiet_hours": f.QuietHours(start="22:00", end="22:00")}),
    ],
)
def test_what_can_not_be_is_named(field: str, fields: dict[str, object]) -> None:
    found = p.trouble(f.NotificationPreferences(**fields))
    assert found is not None
    assert found[0] == field


@given(quiet())
def test_all_else_can_be(wanted: f.NotificationPreferences) -> None:
    assert p.trouble(wanted) is None


def around(user: User, now: int) -> d.Circumstances:
    return d.Circumstances(user, SET_UP, now)


gaps = st.lists(st.integers(0, 200_000), min_size=1, max_size=30)


@given(gaps, st.booleans())
def test_each_message_is_told_of_once_and_no_two_pushes_come_within_a_window(steps: list[int], is_quiet: bool) -> None:
    """As long as none of them is seen; the gathered ones are let go of when they are due."""
    user = prefers(quiet_hours=f.QuietHours(start="12:05", end="12:20")) if is_quiet else a_user()
    now, window, made = NOW, None, []
    for number, step in enumerate(steps):
        now += step
        delivery, after = d.decide(raised(number=number), "push", d.Circumstances(user, SET_UP, now), window, number)
        window = after or window
        made.append(delivery)
    leaders = [each for each in made if each.state in ("queued", "held")]
    assert len(leaders) + sum(bool(each.into) for each in made) == len(made)
    assert {each.into for each in made if each.into} <= {each.id for each in leaders if each.state == "held"}
    goes = [each.due or each.decided_at for each in leaders]
    assert goes == sorted(goes)
    # One at once and one at the window's end, at most, for each window that has passed.
    span = d.GATHER_MS["push"]
    for first, third in zip(goes, goes[2:], strict=False):
        assert third - first >= span


@given(gaps, st.integers(0, 30))
def test_a_window_that_was_lost_in_a_crash_is_what_the_deliveries_say(steps: list[int], lost_after: int) -> None:
    now, window, made = NOW, None, []
    for number, step in enumerate(steps):
        now += step
        delivery, after = d.decide(raised(number=number), "push", around(a_user(), now), window, number + 1)
        window = after or window
        made.append(delivery)
    found = None
    for number, delivery in enumerate(made):
        if number >= lost_after:
            found = d.window_after(delivery, found, number + 1) or found
    if lost_after == 0:
        assert found == window
