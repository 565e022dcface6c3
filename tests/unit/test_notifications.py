"""Who is told of what: of what others did to them, once, in the order of time."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, strategies as st

from devconnect.domain import notifications
from devconnect.domain.notifications import (
    DAY_MS,
    EMAIL_CHANGED,
    NEW_MESSAGE,
    NEW_REQUEST,
    PASSWORD_CHANGED,
    REQUEST_ACCEPTED,
    SUGGESTIONS,
    WEBHOOK_DISABLED,
    WELCOME,
)
from devconnect.events import facts as f
from devconnect.events.base import Event, type_of
from tests.property.strategies import event_logs

EVENTS: tuple[type[Event], ...] = get_args(f.AnyEvent)
GOLDEN = json.loads(Path(__file__).with_name("golden_records.json").read_text())
KINDS = {kind.__struct_config__.tag: kind for kind in EVENTS}
#: One event of each type: what ann does to bob.
SAMPLES: dict[str, Any] = {
    record["type"]: msgspec.convert(record, KINDS[record["type"]]) for record in GOLDEN if record["type"] in KINDS
}

#: Who is told of what, with which words; nobody is told of any other event.
TOLD: dict[str, tuple[str, str, dict[str, str]]] = {
    "user.signed_up": ("ann", WELCOME, {"user": "ann"}),
    "user.webhook_disabled": ("ann", WEBHOOK_DISABLED, {"user": "ann", "webhook": "w1"}),
    "user.logged_in": ("ann", SUGGESTIONS, {"feed": "/v1/feed"}),
    "user.password_changed": ("ann", PASSWORD_CHANGED, {}),
    "user.email_changed": ("ann", EMAIL_CHANGED, {}),
    "connection.requested": ("bob", NEW_REQUEST, {"user": "ann"}),
    "connection.accepted": ("bob", REQUEST_ACCEPTED, {"user": "ann"}),
    "message.sent": ("bob", NEW_MESSAGE, {"user": "ann", "conversation": "ann.bob", "message": "c7"}),
}


OWN = {WELCOME, WEBHOOK_DISABLED, SUGGESTIONS, PASSWORD_CHANGED, EMAIL_CHANGED}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_who_is_told_of_what(name: str) -> None:
    event = SAMPLES[name]
    raised = notifications.decide(event)
    if name not in TOLD:
        assert raised is None
        return
    assert raised is not None
    assert (raised.recipient, raised.kind, raised.about) == TOLD[name]
    assert (raised.cause, raised.seq, raised.at) == (event.id, event.seq, event.at)
    assert raised.key == raised.recipient


@given(event_logs())
def test_nobody_is_told_of_their_own_doing(log: tuple[f.AnyEvent, ...]) -> None:
    """But what is theirs alone they are told: they are welcomed, and it may not have been them."""
    for event in log:
        raised = notifications.decide(event)
        if raised is not None and raised.kind not in OWN:
            actor = event.sender if isinstance(event, f.MessageSent) else getattr(event, "by", None)
            assert raised.recipient != actor
            assert raised.about["user"] == actor


@pytest.mark.parametrize(
    "name",
    [
        "connection.ignored",
        "connection.rejected",
        "connection.removed",
        "connection.withdrawn",
        "connection.blocked",
        "connection.unblocked",
        "connection.reported",
        "connection.report_closed",
    ],
)
def test_nobody_is_told_that_they_were_passed_by_turned_down_blocked_or_reported(name: str) -> None:
    assert notifications.decide(SAMPLES[name]) is None


@given(event_logs())
def test_a_replay_raises_the_same_notification(log: tuple[f.AnyEvent, ...]) -> None:
    assert [notifications.decide(event) for event in log] == [notifications.decide(event) for event in log]


@given(event_logs())
def test_ids_are_unique_a_recipient(log: tuple[f.AnyEvent, ...]) -> None:
    raised = [found for event in log if (found := notifications.decide(event))]
    assert len({(found.recipient, found.notification) for found in raised}) == len(raised)


ids = st.from_regex(r"[0-9a-f]{32}\.[0-9]", fullmatch=True)
#: From 2001 to 2286 milliseconds since 1970 have as many digits as the id makes room for, or one fewer.
times = st.integers(0, 9_999_999_999_999)


@given(st.lists(st.tuples(times, ids), max_size=20))
def test_ids_sort_by_time_and_then_by_event(found: list[tuple[int, str]]) -> None:
    names = [
        notifications.notification_id(f.UserLoggedOut(id=i, seq=1, at=at, user="u", session="s")) for at, i in found
    ]
    assert sorted(names) == [name for _, name in sorted(zip(found, names, strict=True))]


def test_people_to_meet_are_raised_once_a_day_a_person() -> None:
    def occasion(user: str, at: int) -> str | None:
        raised = notifications.decide(f.UserLoggedIn(id="c.0", seq=1, at=at, user=user, session="s", expires_at=9))
        assert raised is not None
        return notifications.occasion(raised)

    morning = 20_000 * DAY_MS
    assert occasion("ann", morning) == occasion("ann", morning + DAY_MS - 1) is not None
    assert len({occasion("ann", morning), occasion("bob", morning), occasion("ann", morning + DAY_MS)}) == 3


@pytest.mark.parametrize("name", sorted(TOLD.keys() - {"user.logged_in"}))
def test_everything_else_is_raised_for_each_event(name: str) -> None:
    raised = notifications.decide(SAMPLES[name])
    assert raised is not None
    assert notifications.occasion(raised) is None


def test_every_event_type_has_a_sample_here() -> None:
    assert {type_of(event) for event in SAMPLES.values()} == set(KINDS)
