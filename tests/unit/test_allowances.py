"""Quotas: as settings say them, and as one process counts them, held against the rule in so many words."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, strategies as st

from devconnect.adapters.local.allowances import CountingWindow, LocalAllowances, SlidingWindow
from devconnect.domain.allowances import (
    FREE,
    GOLD,
    Policies,
    PolicyError,
    Quota,
    Rule,
    exact,
    leased,
    parse_policy,
    parse_quota,
)
from devconnect.ports.allowances import Taking
from devconnect.settings import Settings, SettingsError


def test_a_policy_is_what_its_text_says_and_the_default_elsewhere() -> None:
    found = parse_policy("requests=3/hour feed=50  reads=1000000/sec", FREE)
    assert (found.requests, found.feed, found.reads) == (Quota(3, 3600), 50, Quota(1_000_000, 1))
    assert (found.messages, found.writes) == (FREE.messages, FREE.writes)
    assert parse_policy("requests=none", FREE).requests is None
    assert parse_policy("", GOLD) == GOLD


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("request=10/day", "'request=10/day' is none of requests="),
        ("feed", "'feed' is none of"),
        ("feed=10 feed=20", "feed is there twice"),
        ("feed=201", "feed is a whole number from 1 to 200, not '201'"),
        ("messages=none", "messages=none is not a number /sec"),
        ("messages=10", "messages=10 is not a number /sec"),
        ("messages=10/year", "messages=10/year is not a number /sec"),
        ("messages=0/min", "messages is a whole number from 1 to 10000, not '0'"),
        ("messages=10001/min", "from 1 to 10000"),
        ("messages=-1/min", "not '-1'"),
        ("messages=²/min", "not '²'"),
        ("reads=1000001/min", "from 1 to 1000000"),
    ],
)
def test_a_text_that_says_no_policy_is_told_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(text, FREE)
    assert says in str(raised.value)


def test_settings_have_them_and_a_wrong_one_is_named() -> None:
    found = Settings.load({"LIMITS_GOLD": "feed=20", "LIMITS_STRANGERS": "6/sec", "TRUSTED_PROXIES": "10.0.0.0/8, ::1"})
    assert found.policies.gold.feed == 20
    assert found.policies.free == FREE
    assert found.policies.strangers == Quota(6, 1) == parse_quota("6/sec")
    assert [str(network) for network in found.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    with pytest.raises(SettingsError, match=r"LIMITS_FREE is 'feed=0': expected quotas such as .* \(feed is a whole"):
        Settings.load({"LIMITS_FREE": "feed=0"})
    for name, value in (("LIMITS_STRANGERS", "lots"), ("TRUSTED_PROXIES", "10.0.0.1/8"), ("PASSWORD_MIN_LENGTH", "7")):
        with pytest.raises(SettingsError, match=name):
            Settings.load({name: value})


def test_each_kind_has_its_rule_and_requests_without_a_quota_are_writes() -> None:
    free, gold = Policies().of("free"), Policies().of("gold")
    assert free.rule("requests") == Rule(kind="requests", quota=Quota(10, 86_400), exact=True)
    assert gold.rule("requests") == gold.rule("writes") == exact("writes", Quota(1200, 60))
    assert free.rule("reads") == leased("reads", Quota(600, 60))
    assert [leased("reads", Quota(n, 60)).block for n in (1, 19, 20, 600)] == [1, 1, 1, 30]
    with pytest.raises(ValueError, match="strangers"):
        free.rule("strangers")


#: What happens to a window: so many milliseconds pass, then this id is taken.
steps = st.lists(st.tuples(st.integers(0, 1500), st.sampled_from("abcdefgh")), max_size=60)
quotas = st.builds(Quota, st.integers(1, 5), st.integers(1, 3))


@given(steps, quotas)
def test_a_sliding_window_never_holds_more_than_the_quota_and_refuses_nobody_before(
    steps: list[tuple[int, str]], quota: Quota
) -> None:
    window, rule, now = SlidingWindow(), exact("messages", quota), 0
    counted: list[tuple[int, str]] = []
    for passed, id in steps:
        now += passed
        held = [(at, each) for at, each in counted if at > now - quota.seconds * 1000]
        known = id in [each for _, each in held]
        found = window.take(rule, id, now)
        assert found.repeated == known
        assert found.granted == (known or len(held) < quota.amount)
        if found.granted and not known:
            held.append((now, id))
            counted.append((now, id))
        assert found.remaining == quota.amount - len(held) == quota.amount - len(window)
        assert found.wait_ms == held[0][0] + quota.seconds * 1000 - now > 0


@given(st.lists(st.integers(0, 1500), max_size=80), quotas, st.integers(1, 4))
def test_a_counting_window_begins_with_its_first_use_and_grants_the_quota_in_all(
    steps: list[int], quota: Quota, block: int
) -> None:
    window, rule, now = CountingWindow(), Rule(kind="reads", quota=quota, block=block), 0
    began, used = -(10**9), 0
    for passed in steps:
        now += passed
        if now >= began + quota.seconds * 1000:
            began, used = now, 0
        found = window.take(rule, "", now)
        assert found.granted == min(block, quota.amount - used)
        used += found.granted
        assert found.remaining == quota.amount - used >= 0
        assert found.wait_ms == began + quota.seconds * 1000 - now > 0


def test_a_quota_that_became_smaller_waits_until_enough_have_left() -> None:
    window = SlidingWindow()
    for n in range(4):
        window.take(exact("messages", Quota(4, 60)), str(n), n * 1000)
    found = window.take(exact("messages", Quota(2, 60)), "new", 10_000)
    assert (found.granted, found.remaining, found.wait_ms) == (0, 0, 52_000)


def taking(subject: str, rule: Rule, id: str = "") -> Taking:
    return Taking(subject=subject, rules=(rule,), id=id)


def ask(store: LocalAllowances, *takings: Taking) -> Any:
    return [found.granted for found in asyncio.run(store.take(takings))]


def test_subjects_and_kinds_are_counted_apart_and_what_is_given_back_is_there_again() -> None:
    store, one, block = LocalAllowances(now=lambda: 5.0), exact("messages", Quota(1, 60)), leased("reads", Quota(1, 60))
    assert ask(store, taking("ada", one, "a"), taking("ada", one, "b"), taking("bob", one, "b")) == [1, 0, 1]
    assert ask(store, taking("ada", block), taking("ada", block), taking("bob", block)) == [1, 0, 1]
    asyncio.run(store.give_back([taking("ada", one, "a"), taking("ada", block), taking("nobody", block)]))
    assert ask(store, taking("ada", one, "b"), taking("ada", one, "c"), taking("ada", block)) == [1, 0, 1]
    asyncio.run(store.give_back([], clear=[taking("ada", one), taking("nobody", one)]))
    assert ask(store, taking("ada", one, "c"), taking("ada", one, "c")) == [1, 1]
    assert len(store) == 4 + 2


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9), st.booleans()), max_size=300))
def test_the_memory_is_bounded_and_well_counted(takings: list[tuple[int, int, bool]]) -> None:
    store = LocalAllowances(now=lambda: 5.0, room=20)
    rules = {True: exact("messages", Quota(8, 60)), False: leased("reads", Quota(8, 60))}
    for subject, id, sliding in takings:
        ask(store, taking(str(subject), rules[sliding], str(id)))
        assert len(store) <= 20
        windows = store._windows.values()
        assert len(store) == len(windows) + sum(map(len, windows))
