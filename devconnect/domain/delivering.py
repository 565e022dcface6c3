"""Whether somebody is told of a notification, by which channel, when, and by which rule. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from devconnect.domain import notifications as n, preferences as p
from devconnect.domain.model import Channels, User
from devconnect.events.base import Channel, Urgency
from devconnect.events.facts import DeliveryRequested, MailRequested, NotificationPreferences, NotificationRaised

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
#: What is older is no news any more, and only in the list.
STALE_MS = 3 * DAY_MS
#: Milliseconds for which what follows a first one of its group is gathered, so that it is told of in one.
GATHER_MS: Mapping[Channel, int] = {"push": 2 * MINUTE_MS, "email": 15 * MINUTE_MS}
#: Milliseconds for which a request is worth something, unless it says otherwise.
WORTH_MS = 3 * DAY_MS
MESSAGE_WORTH_MS = DAY_MS
CHANNELS: tuple[Channel, ...] = ("in_app", "push", "email", "webhook")
#: What waits while it is quiet: what makes a sound.
LOUD: tuple[Channel, ...] = ("push", "email")

State = Literal["held", "queued", "failed", "sent", "delivered", "seen", "skipped"]


class Rule(StrEnum):
    """What decides; `EXPLAINED` says each in plain words."""

    WANTED = "wanted"
    CRITICAL = "critical"
    OWN_MAIL = "own_mail"
    SWITCHED_OFF = "switched_off"
    NOT_SET_UP = "not_set_up"
    ON_SCREEN = "on_screen"
    QUIET_HOURS = "quiet_hours"
    GATHERED = "gathered"
    GROUPED = "grouped"
    IN_DIGEST = "in_digest"
    UNPROVEN_ADDRESS = "unproven_address"
    TOO_OLD = "too_old"
    SEEN_ALREADY = "seen_already"
    ACCOUNT_CLOSED = "account_closed"


EXPLAINED: Mapping[Rule, str] = {
    Rule.WANTED: "Your preferences ask for it, and nothing spoke against it.",
    Rule.CRITICAL: "It is about the safety of your account: that always comes, whatever the hour.",
    Rule.OWN_MAIL: "A mail of its own about this goes out at once, whatever your preferences say.",
    Rule.SWITCHED_OFF: "Your preferences say that you aren't told of this kind of thing in this way.",
    Rule.NOT_SET_UP: "There is nowhere to send it to: no browser of yours takes push messages, or no webhook is on.",
    Rule.ON_SCREEN: "You had it on the screen of one of your devices when it came.",
    Rule.QUIET_HOURS: "It came in your quiet hours, and waits until they end.",
    Rule.GATHERED: "You were told of another of its kind just before: it waits for those that follow, to come as one.",
    Rule.GROUPED: "It is counted in one that was waiting already, and comes with that.",
    Rule.IN_DIGEST: "You get a digest by mail: it tells of this, if you haven't read it by then.",
    Rule.UNPROVEN_ADDRESS: "It isn't proven yet that your e-mail address is yours.",
    Rule.TOO_OLD: "It was no news any more when it could have been sent.",
    Rule.SEEN_ALREADY: "You had seen it before it was due.",
    Rule.ACCOUNT_CLOSED: "The account is closed.",
}


class Delivery(Struct, frozen=True, kw_only=True):
    """One notification and one channel: what was decided, by which rule, and what has become of it.

    `at` is when it happened, `decided_at` when this was decided, `due` until when it is held (0: it isn't), `moved_at`
    when it came to its state. `into` is the delivery that it is counted in, `opener` the one, sent already, that began
    what this one gathers. `place` is a message's seq. `count` are told of in it, once it is requested.
    """

    id: str
    user: str
    notification: str
    channel: Channel
    kind: str
    cause: str
    about: dict[str, str]
    at: int
    decided_at: int
    state: State
    rule: Rule
    due: int = 0
    group: str = ""
    into: str = ""
    opener: str = ""
    place: int = 0
    count: int = 1
    tries: int = 0
    why: str = ""
    moved_at: int = 0


class Window(Struct, frozen=True, kw_only=True):
    """What was told last of a group by a channel: `id` is `window_id`, `seq` the place of what made it so.

    Until `ends` what comes is gathered: in `gatherer`, once there is one. `opener` is what began it.
    """

    id: str
    seq: int
    ends: int
    opener: str
    gatherer: str = ""


class Circumstances(Struct, frozen=True):
    """What is known of a person when something is decided: their account, where they are told of things, the time.

    `on_screen` is what their devices show; it matters for push only.
    """

    user: User | None
    channels: Channels
    now: int
    on_screen: frozenset[str] = frozenset()

    def reachable(self, channel: Channel) -> bool:
        """Whether there is anywhere to send it to."""
        match channel:
            case "push":
                return bool(self.channels.push)
            case "webhook":
                return bool(self.channels.called())
            case _:
                return True


def delivery_id(user: str, notification: str, channel: Channel) -> str:
    """Names a delivery, and the request for it."""
    return f"{user}:{notification}:{channel}"


def window_id(user: str, channel: Channel, group: str) -> str:
    """Names what is grouped of a person's by a channel."""
    return f"{user}:{channel}:{group}"


def group_of(kind: str, about: Mapping[str, str]) -> str:
    """What belongs together, so that it is told of in one; "" for what stands for itself."""
    if kind == n.NEW_MESSAGE:
        return on_screen_of(about)
    return kind if kind in (n.NEW_REQUEST, n.REQUEST_ACCEPTED) else ""


def on_screen_of(about: Mapping[str, str]) -> str:
    """What somebody looks at who sees this happen; "" for nothing in particular."""
    return f"conversation:{about['conversation']}" if "conversation" in about else ""


def window_of(raised: NotificationRaised, channel: Channel, around: Circumstances) -> str:
    """The window that a notification falls in by a channel; "" for none, as where it isn't sent at all."""
    group = group_of(raised.kind, raised.about) if channel in GATHER_MS else ""
    if not group or _alone(raised, channel, around)[0] not in ("queued", "held"):
        return ""
    return window_id(raised.recipient, channel, group)


def decide(
    raised: NotificationRaised, channel: Channel, around: Circumstances, window: Window | None, seq: int
) -> tuple[Delivery, Window | None]:
    """The delivery, and the window as it is after it (None where it doesn't change). `seq` is the record's place."""
    state, rule, due = _alone(raised, channel, around)
    group = group_of(raised.kind, raised.about) if channel in GATHER_MS else ""
    made = Delivery(
        id=delivery_id(raised.recipient, raised.notification, channel),
        user=raised.recipient,
        notification=raised.notification,
        channel=channel,
        kind=raised.kind,
        cause=raised.cause,
        about=raised.about,
        at=raised.at,
        decided_at=around.now,
        state=state,
        rule=rule,
        due=due,
        group=group,
        place=raised.seq if raised.kind == n.NEW_MESSAGE else 0,
        moved_at=around.now,
    )
    if not group or state not in ("queued", "held"):
        return made, None
    return _in_group(made, window, seq)


def _alone(raised: NotificationRaised, channel: Channel, around: Circumstances) -> tuple[State, Rule, int]:
    """What becomes of it for itself: its state, the rule, and until when it is held."""
    user, kind = around.user, raised.kind
    if user is None or user.deleted:
        return "skipped", Rule.ACCOUNT_CLOSED, 0
    if channel == "in_app":
        if not raised.listed:
            return "skipped", Rule.SWITCHED_OFF, 0
        return "delivered", Rule.CRITICAL if kind in n.CRITICAL else Rule.WANTED, 0
    if around.now - raised.at > STALE_MS:
        return "skipped", Rule.TOO_OLD, 0
    if kind in n.CRITICAL:
        return _critical(channel, around)
    refused = _refused(raised, channel, around, user)
    if refused is not None:
        return "skipped", refused, 0
    until = p.quiet_until(user.notification_preferences, around.now) if channel in LOUD else None
    return ("held", Rule.QUIET_HOURS, until) if until is not None else ("queued", Rule.WANTED, 0)


def _critical(channel: Channel, around: Circumstances) -> tuple[State, Rule, int]:
    if channel == "email":
        return "skipped", Rule.OWN_MAIL, 0
    return ("queued", Rule.CRITICAL, 0) if around.reachable(channel) else ("skipped", Rule.NOT_SET_UP, 0)


def _refused(raised: NotificationRaised, channel: Channel, around: Circumstances, user: User) -> Rule | None:
    """Why it is not sent at all, if it isn't."""
    preferences = user.notification_preferences
    if not p.wants(preferences, raised.kind, channel):
        return Rule.SWITCHED_OFF
    if not around.reachable(channel):
        return Rule.NOT_SET_UP
    if channel == "push" and on_screen_of(raised.about) in around.on_screen:
        return Rule.ON_SCREEN
    if channel == "email":
        return _not_by_mail(preferences, raised.kind, user)
    return None


def _not_by_mail(preferences: NotificationPreferences, kind: str, user: User) -> Rule | None:
    if not user.email_verified:
        return Rule.UNPROVEN_ADDRESS
    digest = preferences.digest.every != "off" and p.wants(preferences, n.DIGEST, "email")
    return Rule.IN_DIGEST if digest and kind in n.DIGESTED else None


def _in_group(made: Delivery, window: Window | None, seq: int) -> tuple[Delivery, Window | None]:
    """The same beside what was told of its group: within a window it is gathered, else it opens one."""
    now, name = made.decided_at, window_id(made.user, made.channel, made.group)
    ends = now + GATHER_MS[made.channel]
    if window is None or now >= window.ends:
        if made.state == "held":
            return made, Window(id=name, seq=seq, ends=made.due, opener="", gatherer=made.id)
        return made, Window(id=name, seq=seq, ends=ends, opener=made.id)
    if window.gatherer:
        return replace(made, state="skipped", rule=Rule.GROUPED, due=0, into=window.gatherer), None
    held = replace(
        made,
        state="held",
        rule=made.rule if made.state == "held" else Rule.GATHERED,
        due=max(window.ends, made.due),
        opener=window.opener,
    )
    return held, replace(window, seq=seq, ends=held.due, gatherer=made.id)


def window_after(stored: Delivery, window: Window | None, seq: int) -> Window | None:
    """The window as a delivery that was decided before has left it; None where it doesn't change.

    So that a decision whose window was lost in a crash has its effect all the same.
    """
    if not stored.group or stored.into or (stored.state == "skipped" and not stored.due):
        return None
    if window is not None and window.seq >= seq:
        return None
    name = window_id(stored.user, stored.channel, stored.group)
    if stored.due:
        return Window(id=name, seq=seq, ends=stored.due, opener=stored.opener, gatherer=stored.id)
    ends = stored.decided_at + GATHER_MS[stored.channel]
    return Window(id=name, seq=seq, ends=ends, opener=stored.id)


def when_due(held: Delivery, news: int, user: User | None, now: int) -> Delivery:
    """What was held, as it is now that it is due: `news` is how many that it tells of weren't seen yet."""
    if user is None or user.deleted:
        return _left(held, Rule.ACCOUNT_CLOSED, now)
    if not p.wants(user.notification_preferences, held.kind, held.channel):
        return _left(held, Rule.SWITCHED_OFF, now)
    if not news:
        return _left(held, Rule.SEEN_ALREADY, now)
    until = p.quiet_until(user.notification_preferences, now) if held.channel in LOUD else None
    if until is not None:
        return replace(held, rule=Rule.QUIET_HOURS, due=until, moved_at=now)
    return replace(held, state="queued", count=news, moved_at=now)


def _left(held: Delivery, rule: Rule, now: int) -> Delivery:
    return replace(held, state="skipped", rule=rule, moved_at=now)


def request_of(delivery: Delivery) -> DeliveryRequested | MailRequested:
    """What its channel is asked for; the same each time. ValueError for one that is asked for nothing."""
    lasts = MESSAGE_WORTH_MS if delivery.kind == n.NEW_MESSAGE else WORTH_MS
    expires_at = (delivery.due or delivery.decided_at) + lasts
    if delivery.channel == "email":
        return MailRequested(
            id=delivery.id,
            kind=delivery.kind,
            user=delivery.user,
            to="",
            at=delivery.at,
            expires_at=expires_at,
            about=delivery.about,
            notification=delivery.notification,
            count=delivery.count,
        )
    if delivery.channel == "in_app":
        raise ValueError("what is in the list is asked for nowhere")
    return DeliveryRequested(
        id=delivery.id,
        user=delivery.user,
        channel=delivery.channel,
        notification=delivery.notification,
        kind=delivery.kind,
        at=delivery.at,
        expires_at=expires_at,
        about=delivery.about,
        count=delivery.count,
        group=delivery.group,
        urgency=_URGENCY.get(delivery.kind, "low"),
    )


_URGENCY: Mapping[str, Urgency] = {
    n.PASSWORD_CHANGED: "high",
    n.EMAIL_CHANGED: "high",
    n.NEW_MESSAGE: "normal",
    n.NEW_REQUEST: "normal",
    n.SUGGESTIONS: "very-low",
}
