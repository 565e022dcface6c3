"""Decides by which channels people are told of notifications, and asks the channels: at once, or when it is due."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from agents.processing import Slice
from devconnect.domain import delivering, notifications, preferences
from devconnect.domain.channels import channels_of
from devconnect.domain.delivering import Circumstances, Delivery, Window
from devconnect.domain.model import Conversation, Ref, Snapshot, User
from devconnect.events.base import Channel
from devconnect.events.facts import (
    AnyUserEvent,
    NotificationPreferencesChanged,
    NotificationRaised,
    NotificationsRead,
    NotificationsSeen,
    UserDeleted,
)
from devconnect.events.topics import (
    MAIL_REQUESTS,
    NOTIFICATION_EVENTS,
    PUSH_REQUESTS,
    WEBHOOK_REQUESTS,
    Topic,
    notification_events,
    user_events,
)
from devconnect.ports import metrics as m
from devconnect.ports.clock import Clock
from devconnect.ports.deliveries import Deliveries, Digests, DueDigest, Schedule
from devconnect.ports.focus import Focus
from devconnect.ports.metrics import Metrics
from devconnect.ports.publisher import Publisher, Record
from devconnect.ports.truth import Truth, UnavailableError

logger = logging.getLogger(__name__)

#: Seconds between two looks at what is due.
LOOK_SECONDS = 1.0
#: Milliseconds for which what is due is left alone: whoever decides with a clock that is behind may still add to it.
SLACK_MS = 2_000
#: What is done in one look.
MOST = 100
#: Where each channel's requests go.
REQUESTS: Mapping[Channel, Topic] = {"push": PUSH_REQUESTS, "email": MAIL_REQUESTS, "webhook": WEBHOOK_REQUESTS}


class DecideDeliveries:
    """From `notification-events` to deliveries, and to requests for those that needn't wait.

    A decision is made once; a replay carries on from it. A request may be made again: channels know it by its id.
    """

    name = "decide-deliveries"
    codec = notification_events

    def __init__(
        self,
        *,
        truth: Truth,
        deliveries: Deliveries,
        focus: Focus,
        publisher: Publisher,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._truth = truth
        self._deliveries = deliveries
        self._focus = focus
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics

    async def apply(self, slices: Sequence[Slice[NotificationRaised]]) -> None:
        """Decide what wasn't decided before, and ask for what goes at once."""
        placed = [
            (record.offset + 1, event)
            for part in slices
            for record, event in zip(part.records, part.values, strict=True)
        ]
        if not placed:
            return
        events = [event for _, event in placed]
        around = await self._circumstances(events)
        windows = {name for event in events for name in _windows(event, around[event.recipient])}
        stored = dict(await self._deliveries.windows(windows)) if windows else {}
        known: dict[str, Delivery] = {}
        while True:
            decided, moved = _decide(placed, around, known, stored)
            fresh = [made for made in decided.values() if made.id not in known]
            # What was decided before, by whomever, stays: what follows rests on that.
            if not await self._deliveries.decide(fresh):
                break
            known |= await self._deliveries.find({made.id for made in fresh})
        await self._deliveries.put_windows(moved)
        for made in fresh:
            self._metrics.count(m.DECIDED_DELIVERIES, made.channel, made.rule)
        await request(self._publisher, [each for each in decided.values() if each.state == "queued"])

    async def _circumstances(self, events: Sequence[NotificationRaised]) -> dict[str, Circumstances]:
        """What is known of each recipient now."""
        people = {event.recipient for event in events}
        state = await self._truth.load({ref for user in people for ref in (Ref("user", user), Ref("channels", user))})
        now = self._clock.now_ms()
        around = {user: Circumstances(user_of(state, user), channels_of(state, user), now) for user in people}
        looking = {
            event.recipient
            for event in events
            if delivering.on_screen_of(event.about) and around[event.recipient].reachable("push")
        }
        screens = await self._focus.on_screen(looking, now) if looking else {}
        return around | {user: replace(around[user], on_screen=shown) for user, shown in screens.items()}


def _decide(
    placed: Sequence[tuple[int, NotificationRaised]],
    around: Mapping[str, Circumstances],
    known: Mapping[str, Delivery],
    stored: Mapping[str, Window],
) -> tuple[dict[str, Delivery], list[Window]]:
    """All deliveries there are, those that are known among them, and the windows that are others after them."""
    decided = dict(known)
    windows = dict(stored)
    moved: dict[str, Window] = {}
    for seq, event in placed:
        circumstances = around[event.recipient]
        for channel in delivering.CHANNELS:
            name = delivering.delivery_id(event.recipient, event.notification, channel)
            if name in decided:
                window = windows.get(delivering.window_id(event.recipient, channel, decided[name].group))
                after = delivering.window_after(decided[name], window, seq)
            else:
                window = windows.get(delivering.window_of(event, channel, circumstances))
                decided[name], after = delivering.decide(event, channel, circumstances, window, seq)
            if after is not None:
                windows[after.id] = moved[after.id] = after
    return decided, list(moved.values())


class KeepDeliveries:
    """From `user-events`: what was seen or read is so in the deliveries, and digests are due as people want them."""

    name = "keep-deliveries"
    codec = user_events

    def __init__(self, deliveries: Deliveries, digests: Digests) -> None:
        self._deliveries = deliveries
        self._digests = digests

    async def apply(self, slices: Sequence[Slice[AnyUserEvent]]) -> None:
        """In the order of the events."""
        events = [event for part in slices for event in part.values]
        schedules = [found for event in events if (found := _schedule(event)) is not None]
        if schedules:
            await self._digests.schedule(schedules)
        for event in events:
            if isinstance(event, NotificationsRead):
                await self._deliveries.read(event.user, event.notifications, event.at)
            elif isinstance(event, NotificationsSeen):
                await self._deliveries.seen(event.user, event.up_to, event.at)


def _schedule(event: AnyUserEvent) -> Schedule | None:
    match event:
        case NotificationPreferencesChanged():
            due = preferences.next_digest(event.preferences, event.at)
            return Schedule(user=event.user, seq=event.seq, at=due, since=event.at)
        case UserDeleted():
            return Schedule(user=event.user, seq=event.seq, at=None, since=event.at)
        case _:
            return None


class SendDue:
    """Lets go of what was held, once it is due: asks for it, or finds that it needn't be sent any more.

    Any number of workers may do so at once: each asks for the same.
    """

    def __init__(self, *, truth: Truth, deliveries: Deliveries, publisher: Publisher, clock: Clock) -> None:
        self._truth = truth
        self._deliveries = deliveries
        self._publisher = publisher
        self._clock = clock

    async def tick(self) -> bool:
        """One look; whether there was as much as one can do."""
        now = self._clock.now_ms()
        due = await self._deliveries.due(now - SLACK_MS, MOST)
        if not due:
            return False
        groups = {held.id: [held, *(await self._deliveries.gathered(held.id) if held.group else ())] for held in due}
        openers = await self._deliveries.find({held.opener for held in due if held.opener})
        everything = [each for group in groups.values() for each in group] + list(openers.values())
        state = await self._truth.load({ref for each in everything for ref in _resting_on(each)})
        seen = await self._seen(everything, state)
        for held in due:
            news = sum(each.id not in seen for each in groups[held.id])
            before = openers.get(held.opener)
            if held.channel == "push" and news and before is not None and before.id not in seen:
                news += 1  # the device shows one in place of the other
            after = delivering.when_due(held, news, user_of(state, held.user), now)
            try:
                await self._let_go(after)
            except UnavailableError:
                raise
            except Exception:
                logger.exception("the delivery %s is due and can't be asked for; the others go on", held.id)
        return len(due) == MOST

    async def _let_go(self, after: Delivery) -> None:
        # Asked for first: a crash in between asks for it once more, and the channel knows its id.
        await request(self._publisher, [after] if after.state == "queued" else [])
        await self._deliveries.let_go(after)

    async def _seen(self, everything: Sequence[Delivery], state: Snapshot) -> set[str]:
        """The deliveries of what was seen or read in the meantime, in the list or where it was said."""
        seen = await self._deliveries.seen_ones({(each.user, each.notification) for each in everything})
        return {each.id for each in everything if (each.user, each.notification) in seen or _was_read(each, state)}


class RaiseDigests:
    """Raises the digests that are due, for those who have anything unread; any number of workers may at once."""

    def __init__(self, *, truth: Truth, digests: Digests, publisher: Publisher, clock: Clock) -> None:
        self._truth = truth
        self._digests = digests
        self._publisher = publisher
        self._clock = clock

    async def tick(self) -> bool:
        """One look; whether there was as much as one can do."""
        now = self._clock.now_ms()
        due = await self._digests.due(now, MOST)
        users = await self._truth.load({Ref("user", digest.user) for digest in due}) if due else {}
        for digest in due:
            user = user_of(users, digest.user)
            if user is None or user.deleted:
                await self._digests.done(digest, None)
                continue
            await self._raise(digest, user)
            await self._digests.done(digest, preferences.next_digest(user.notification_preferences, now))
        return len(due) == MOST

    async def _raise(self, digest: DueDigest, user: User) -> None:
        if user.notification_preferences.digest.every == "off":
            return
        found = await self._digests.unread(digest.user, digest.since, digest.at)
        counts = {kind: count for kind, count in sorted(found.items()) if kind in notifications.DIGESTED}
        if counts:
            listed = preferences.wants(user.notification_preferences, notifications.DIGEST, "in_app")
            raised = notifications.digest(digest.user, digest.at, counts, listed=listed)
            record = Record(raised.key.encode(), notification_events.encode(raised))
            await self._publisher.spread(NOTIFICATION_EVENTS.name, [record])


async def look_for_ever(*looks: SendDue | RaiseDigests) -> None:
    """Do what is due, again and again; a store that is down is waited for."""
    while True:
        more = False
        for look in looks:
            try:
                more = await look.tick() or more
            except UnavailableError as exc:
                logger.warning("what is due waits: %s", exc)
        if not more:
            await asyncio.sleep(LOOK_SECONDS)


async def request(publisher: Publisher, deliveries: Sequence[Delivery]) -> None:
    """Ask the channels for these."""
    for channel, topic in REQUESTS.items():
        asked = [delivering.request_of(each) for each in deliveries if each.channel == channel]
        if asked:
            await publisher.spread(topic.name, [Record(each.key.encode(), topic.encode(each)) for each in asked])


def user_of(state: Snapshot, user: str) -> User | None:
    """An account, if it is there."""
    found = state.get(Ref("user", user))
    return found if isinstance(found, User) else None


def _windows(event: NotificationRaised, around: Circumstances) -> list[str]:
    return [name for channel in delivering.GATHER_MS if (name := delivering.window_of(event, channel, around))]


def _resting_on(each: Delivery) -> list[Ref]:
    user = Ref("user", each.user)
    return [user, Ref("conversation", each.about["conversation"])] if each.place else [user]


def _was_read(each: Delivery, state: Snapshot) -> bool:
    """Whether a message was read where it was said."""
    said = state.get(Ref("conversation", each.about["conversation"])) if each.place else None
    position = said.positions.get(each.user) if isinstance(said, Conversation) else None
    return position is not None and position.read >= each.place
