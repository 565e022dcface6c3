"""Presence: online while any device or gateway is, each only as long as it said; last seen never lies ahead."""

from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, strategies as st

from devconnect.domain.model import RelationState
from devconnect.domain.presence import (
    SOCKETS_MS,
    Standing,
    change,
    died_at,
    is_online,
    joined,
    last_seen,
    left,
    may_see,
)
from devconnect.events.base import Audience

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


def test_last_seen_is_not_ahead_of_now_though_a_clock_was() -> None:
    assert last_seen({}, NOW + 5, NOW) == NOW


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
    longest = {"any": max(found.values(), default=0)}
    assert is_online(longest, now) == is_online(found, now)
    assert last_seen(longest, seen_at, now) == last_seen(found, seen_at, now)


# -- sockets


def test_a_second_gateway_that_goes_changes_nothing() -> None:
    one = joined(Standing(), "g1", NOW)
    assert change(Standing(), one, NOW) is True
    both = joined(one, "g2", NOW + 1)
    assert change(one, both, NOW + 1) is None
    again = left(both, "g1", NOW + 2, NOW + 2)
    assert change(both, again, NOW + 2) is None
    none = left(again, "g2", NOW + 3, NOW + 3)
    assert change(again, none, NOW + 3) is False
    assert last_seen(none.leases, none.seen, NOW + 9) == NOW + 3


def test_a_device_over_http_keeps_somebody_here_whose_sockets_go() -> None:
    person = joined(Standing({"d:phone": NOW + 100}), "g1", NOW)
    gone = left(person, "g1", NOW + 1, NOW + 1)
    assert change(person, gone, NOW + 1) is None
    assert not is_online(gone.leases, NOW + 100)
    assert last_seen(gone.leases, gone.seen, NOW + 200) == NOW + 100


def test_who_goes_twice_goes_once() -> None:
    person = left(joined(Standing(), "g1", NOW), "g1", NOW + 5, NOW + 5)
    assert left(person, "g1", NOW + 9, NOW + 9) == person


def test_a_gateway_is_believed_for_as_long_as_it_was_asked_to_be() -> None:
    person = joined(Standing(), "g1", NOW)
    assert is_online(person.leases, NOW + SOCKETS_MS - 1)
    assert not is_online(person.leases, NOW + SOCKETS_MS)


def test_those_of_a_dead_gateway_were_seen_when_it_was_last_known_to_live() -> None:
    """Or when they came, where that was later; never ahead of now, whatever the gateway's clock was."""
    person = joined(Standing(), "g1", NOW)
    until = NOW + 10_500
    assert died_at(until, 10_000) == NOW + 500
    assert left(person, "g1", died_at(until, 10_000), NOW + 11_000).seen == NOW + 500
    assert left(person, "g1", NOW - 700, NOW + 11_000).seen == NOW
    assert left(person, "g1", NOW + 99_000, NOW + 11_000).seen == NOW + 11_000


def test_what_happens_changes_no_argument() -> None:
    person = joined(Standing(), "g1", NOW)
    joined(person, "g2", NOW + 1)
    left(person, "g1", NOW + 1, NOW + 1)
    assert person == Standing({"g1": NOW + SOCKETS_MS}, NOW)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("xyz"), st.integers(0, 1000))))
def test_changes_come_in_turn(steps: list[tuple[bool, str, int]]) -> None:
    """Whoever hears of them hears come, gone, come, …, and at the end what is so."""
    person, now, heard = Standing(), NOW, [False]
    for is_join, gateway, later in steps:
        now += later
        after = joined(person, gateway, now) if is_join else left(person, gateway, now, now)
        told = change(person, after, now)
        heard += [] if told is None else [told]
        person = after
    assert all(one != other for one, other in pairwise(heard))
    assert heard[-1] == is_online(person.leases, now)


def test_who_sees_a_presence() -> None:
    seen = {
        (audience, state)
        for audience in get_args(Audience)
        for state in get_args(RelationState)
        if may_see(audience, state)
    }
    everybody = {("everybody", state) for state in get_args(RelationState) if state not in ("blocked", "barred")}
    assert seen == everybody | {("connections", "accepted")}
