"""Who is told of what by which channel: each rule decides what its explanation says."""

from typing import Any

import pytest
from msgspec.structs import replace

from devconnect.domain import delivering as d, notifications as n
from devconnect.domain.delivering import Circumstances, Rule
from devconnect.domain.model import Channels, User
from devconnect.events import facts as f
from devconnect.events.base import Channel
from tests.delivery_fakes import SET_UP, WEBHOOK, a_delivery

#: A Thursday in November 2026, 12:00 UTC.
NOW = 1_795_694_400_000
HOUR = 3_600_000
ALL_ON = f.Switches(email=True)
EVERYTHING = f.KindSwitches(**dict.fromkeys(f.KindSwitches.__struct_fields__, ALL_ON))
NIGHT = f.QuietHours(start="11:00", end="13:30")
TELLING: tuple[Channel, ...] = ("push", "email", "webhook")


def a_user(**fields: Any) -> User:
    usual: dict[str, Any] = {
        "notification_preferences": f.NotificationPreferences(kinds=EVERYTHING),
        "email_verified": True,
        "created_at": 1,
    }
    return User(
        id="bob",
        seq=1,
        email="bob@example.org",
        profile=f.Profile(name="Bob"),
        tier="free",
        role="member",
        updated_at=1,
        **{**usual, **fields},
    )


def prefers(**fields: Any) -> User:
    return a_user(notification_preferences=f.NotificationPreferences(**{"kinds": EVERYTHING, **fields}))


def raised(kind: str = n.NEW_MESSAGE, number: int = 0, **fields: Any) -> f.NotificationRaised:
    about = {"user": "ann", "conversation": "ann.bob", "message": f"m{number}"} if kind == n.NEW_MESSAGE else {}
    at = fields.pop("at", NOW + number)
    return f.NotificationRaised(
        id=f"c{number}.0",
        seq=256 + number,
        at=at,
        notification=f"{at:013d}-c{number}.0",
        recipient="bob",
        kind=kind,
        cause=f"c{number}.0",
        about=about,
        **fields,
    )


def decided(
    event: f.NotificationRaised,
    channel: Channel,
    user: User | None,
    *,
    channels: Channels = SET_UP,
    now: int = NOW,
    screen: str = "",
) -> tuple[str, Rule, int]:
    around = Circumstances(user, channels, now, frozenset((screen,) if screen else ()))
    made, _ = d.decide(event, channel, around, None, 1)
    return made.state, made.rule, made.due


@pytest.mark.parametrize("channel", TELLING)
def test_what_is_wanted_goes_at_once(channel: Channel) -> None:
    assert decided(raised(), channel, a_user()) == ("queued", Rule.WANTED, 0)


def test_what_is_in_the_list_is_there() -> None:
    assert decided(raised(), "in_app", a_user()) == ("delivered", Rule.WANTED, 0)
    assert decided(raised(listed=False), "in_app", a_user()) == ("skipped", Rule.SWITCHED_OFF, 0)


@pytest.mark.parametrize("channel", TELLING)
def test_what_is_switched_off_is_not_sent(channel: Channel) -> None:
    off = replace(EVERYTHING, message_received=replace(ALL_ON, **{channel: False}))
    assert decided(raised(), channel, prefers(kinds=off)) == ("skipped", Rule.SWITCHED_OFF, 0)


@pytest.mark.parametrize("kind", [n.NEW_MESSAGE, n.PASSWORD_CHANGED])
def test_what_has_nowhere_to_go_is_asked_for_nowhere(kind: str) -> None:
    off = replace(SET_UP, push={}, webhooks={"w": replace(WEBHOOK, disabled_at=NOW)})
    for channels in (replace(SET_UP, push={}, webhooks={}), off):
        for channel in ("push", "webhook"):
            assert decided(raised(kind), channel, a_user(), channels=channels) == ("skipped", Rule.NOT_SET_UP, 0)
        assert decided(raised(n.NEW_MESSAGE), "email", a_user(), channels=channels)[1] == Rule.WANTED
    off_too = decided(
        raised(),
        "push",
        prefers(kinds=f.KindSwitches(message_received=f.Switches(push=False))),
        channels=replace(SET_UP, push={}),
    )
    assert off_too[1] == Rule.SWITCHED_OFF, "what somebody has said comes before what they haven't"


def test_what_is_on_screen_makes_no_push_and_goes_everywhere_else() -> None:
    found = {channel: decided(raised(), channel, a_user(), screen="conversation:ann.bob") for channel in TELLING}
    assert found["push"] == ("skipped", Rule.ON_SCREEN, 0)
    assert found["email"] == found["webhook"] == ("queued", Rule.WANTED, 0)
    assert decided(raised(), "push", a_user(), screen="conversation:bob.eve") == ("queued", Rule.WANTED, 0)


def test_quiet_hours_hold_what_makes_a_sound_until_they_end() -> None:
    found = {channel: decided(raised(), channel, prefers(quiet_hours=NIGHT)) for channel in TELLING}
    assert found["push"] == found["email"] == ("held", Rule.QUIET_HOURS, NOW + HOUR + HOUR // 2)
    assert found["webhook"] == ("queued", Rule.WANTED, 0)


@pytest.mark.parametrize("kind", sorted(n.CRITICAL))
def test_what_is_about_the_account_s_safety_always_passes(kind: str) -> None:
    user = a_user(
        notification_preferences=f.NotificationPreferences(quiet_hours=NIGHT, digest=f.Digest(every="daily")),
        email_verified=False,
    )
    for channel in ("push", "webhook"):
        assert decided(raised(kind), channel, user) == ("queued", Rule.CRITICAL, 0)
    assert decided(raised(kind), "in_app", user) == ("delivered", Rule.CRITICAL, 0)
    assert decided(raised(kind), "email", user) == ("skipped", Rule.OWN_MAIL, 0)


def test_mail_goes_to_proven_addresses_only() -> None:
    assert decided(raised(), "email", a_user(email_verified=False)) == ("skipped", Rule.UNPROVEN_ADDRESS, 0)


def test_who_gets_a_digest_gets_no_mail_of_each() -> None:
    user = prefers(digest=f.Digest(every="daily"))
    assert decided(raised(), "email", user) == ("skipped", Rule.IN_DIGEST, 0)
    for kind in (n.DIGEST, n.WEBHOOK_DISABLED, n.WELCOME, n.SUGGESTIONS):
        assert decided(raised(kind), "email", user) == ("queued", Rule.WANTED, 0), "no digest tells of it"
    off = replace(EVERYTHING, digest=replace(ALL_ON, email=False))
    assert decided(raised(), "email", prefers(digest=f.Digest(every="daily"), kinds=off))[1] == Rule.WANTED


@pytest.mark.parametrize("channel", TELLING)
def test_what_is_no_news_any_more_is_not_sent_though_it_is_listed(channel: Channel) -> None:
    late = NOW + d.STALE_MS + 1
    assert decided(raised(), channel, a_user(), now=late) == ("skipped", Rule.TOO_OLD, 0)
    assert decided(raised(), channel, a_user(), now=late - 1) == ("queued", Rule.WANTED, 0)
    assert decided(raised(), "in_app", a_user(), now=late)[0] == "delivered"


@pytest.mark.parametrize("user", [None, a_user(deleted=True)])
def test_nobody_is_told_of_anything_once_the_account_is_closed(user: User | None) -> None:
    for channel in d.CHANNELS:
        assert decided(raised(), channel, user) == ("skipped", Rule.ACCOUNT_CLOSED, 0)


def test_what_follows_a_first_one_is_gathered_into_one_that_is_held_until_the_window_ends() -> None:
    window, found = None, []
    for number in range(4):
        around = Circumstances(a_user(), SET_UP, NOW + number * 1_000)
        made, after = d.decide(raised(number=number), "push", around, window, number + 1)
        window = after or window
        found.append(made)
    first, second, third, fourth = found
    assert (first.state, first.rule) == ("queued", Rule.WANTED)
    assert (second.state, second.rule) == ("held", Rule.GATHERED)
    assert (second.due, second.opener) == (NOW + d.GATHER_MS["push"], first.id)
    assert {(each.state, each.rule, each.into) for each in (third, fourth)} == {("skipped", Rule.GROUPED, second.id)}


def test_in_quiet_hours_what_follows_is_counted_in_the_first() -> None:
    user = prefers(quiet_hours=NIGHT)
    first, window = d.decide(raised(), "push", Circumstances(user, SET_UP, NOW), None, 1)
    second, after = d.decide(raised(number=1), "push", Circumstances(user, SET_UP, NOW + HOUR), window, 2)
    assert (first.state, second.state, second.into, after) == ("held", "skipped", first.id, None)


def test_a_window_that_ends_in_quiet_hours_lasts_until_they_end() -> None:
    window = d.Window(id="bob:push:conversation:ann.bob", seq=1, ends=NOW + 1_000, opener="first")
    around = Circumstances(prefers(quiet_hours=NIGHT), SET_UP, NOW)
    made, after = d.decide(raised(), "push", around, window, 2)
    assert (made.rule, made.due, made.opener) == (Rule.QUIET_HOURS, NOW + HOUR + HOUR // 2, "first")
    assert after is not None
    assert (after.ends, after.gatherer) == (made.due, made.id)


def held(**fields: Any) -> d.Delivery:
    return a_delivery(kind=n.NEW_MESSAGE, state="held", rule=Rule.QUIET_HOURS, due=NOW, **fields)


def test_what_is_due_is_asked_for_with_what_it_counts() -> None:
    after = d.when_due(held(), 3, a_user(), NOW)
    assert (after.state, after.count, after.moved_at) == ("queued", 3, NOW)
    asked = d.request_of(after)
    assert isinstance(asked, f.DeliveryRequested)
    assert (asked.id, asked.count, asked.expires_at) == (after.id, 3, NOW + d.MESSAGE_WORTH_MS)


def test_what_was_seen_before_it_was_due_is_not_sent() -> None:
    after = d.when_due(held(), 0, a_user(), NOW)
    assert (after.state, after.rule) == ("skipped", Rule.SEEN_ALREADY)


def test_what_is_due_obeys_what_was_said_since() -> None:
    quiet = d.when_due(held(), 1, prefers(quiet_hours=NIGHT), NOW)
    assert (quiet.state, quiet.rule, quiet.due) == ("held", Rule.QUIET_HOURS, NOW + HOUR + HOUR // 2)
    off = prefers(kinds=replace(EVERYTHING, message_received=replace(ALL_ON, push=False)))
    assert d.when_due(held(), 1, off, NOW).rule == Rule.SWITCHED_OFF
    assert d.when_due(held(), 1, None, NOW).rule == Rule.ACCOUNT_CLOSED


def test_a_mail_is_asked_for_as_mails_are() -> None:
    asked = d.request_of(a_delivery(channel="email", count=2))
    assert isinstance(asked, f.MailRequested)
    assert (asked.id, asked.kind, asked.to, asked.count) == (a_delivery(channel="email").id, n.REQUEST_ACCEPTED, "", 2)
    assert asked.notification == "1700000000000-c7.0"
    with pytest.raises(ValueError, match="list"):
        d.request_of(a_delivery(channel="in_app"))


def test_every_rule_is_explained_in_a_sentence_of_its_own() -> None:
    assert d.EXPLAINED.keys() == set(Rule)
    assert len(set(d.EXPLAINED.values())) == len(Rule)
    assert all(text[0].isupper() and text.endswith(".") for text in d.EXPLAINED.values())
