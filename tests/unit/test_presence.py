"""Presence: online while any device is, each only as long as it said; last seen never lies ahead."""

import pytest
from hypothesis import given, strategies as st

from devconnect.domain.presence import is_online, last_seen, sight

NOW = 1_700_000_000_000
times = st.integers(NOW - 100_000, NOW + 100_000)
devices = st.dictionaries(st.sampled_from("abc"), st.one_of(st.just(0), times))


def test_a_person_without_devices_is_offline() -> None:
    assert not is_online({}, NOW)
    assert last_seen({}, NOW - 5, NOW) == NOW - 5


@pytest.mark.parametrize(("until", "online"), [(NOW - 1, False), (NOW, False), (NOW + 1, True), (0, False)])
def test_a_device_is_here_until_the_end_of_its_lease(until: int, online: bool) -> None:
    assert is_online({"phone": until}, NOW) is online


def test_one_device_is_enough() -> None:
    assert is_online({"phone": 0, "laptop": NOW + 1, "tablet": NOW - 1}, NOW)


def test_who_is_online_was_last_seen_now() -> None:
    assert last_seen({"phone": NOW + 1}, NOW - 500, NOW) == NOW


def test_a_lease_that_ran_out_was_the_last_sight() -> None:
    """Nobody said good-bye: the person was here until then, as far as anybody knows."""
    assert last_seen({"phone": NOW - 10, "laptop": NOW - 20}, NOW - 500, NOW) == NOW - 10


def test_a_good_bye_is_the_last_sight_even_after_other_leases() -> None:
    assert last_seen({"phone": 0, "laptop": NOW - 20}, NOW - 5, NOW) == NOW - 5


@given(devices, times)
def test_a_person_is_online_exactly_while_a_lease_runs(found: dict[str, int], now: int) -> None:
    assert is_online(found, now) == (max(found.values(), default=0) > now)


@given(devices, st.integers(NOW - 200_000, NOW - 100_000), times)
def test_last_seen_is_neither_ahead_of_now_nor_behind_the_last_sight(
    found: dict[str, int], seen_at: int, now: int
) -> None:
    assert seen_at <= last_seen(found, seen_at, now) <= now


@given(devices, st.integers(NOW - 200_000, NOW - 100_000), times, st.integers(0, 100_000))
def test_last_seen_never_goes_back_as_time_goes_on(found: dict[str, int], seen_at: int, now: int, later: int) -> None:
    was_here_before = last_seen(found, seen_at, now)
    if not is_online(found, now):
        assert last_seen(found, seen_at, now + later) >= was_here_before


@given(devices, st.integers(NOW - 200_000, NOW + 100_000), times)
def test_the_device_that_is_here_for_longest_stands_for_all_of_them(
    found: dict[str, int], seen_at: int, now: int
) -> None:
    until = max(found.values(), default=0)
    assert sight(until, seen_at, now) == (is_online(found, now), last_seen(found, seen_at, now))
