"""Decides who is told of what, in their list and by mail, and puts it into their list."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from agents.deliveries import DecideDeliveries, KeepDeliveries, user_of
from agents.processing import Slice, Step
from agents.search import IndexMessages, ListTalks
from agents.several import Several
from devconnect.domain import inbox, mail, notifications, preferences, projections
from devconnect.domain.model import Ref
from devconnect.domain.projections import AddNotification
from devconnect.events.facts import AnyEvent, NotificationRaised
from devconnect.events.topics import (
    INBOX_EVENTS,
    MAIL_REQUESTS,
    MESSAGE_EVENTS,
    NOTIFICATION_EVENTS,
    USER_EVENTS,
    Topic,
    inbox_events,
    mail_requests,
    notification_events,
)
from devconnect.ports.deliveries import Deliveries, Digests, Occasions
from devconnect.ports.listings import Listings
from devconnect.ports.projections import Projections
from devconnect.ports.publisher import Publisher, Record
from devconnect.ports.truth import Truth


class DecideNotifications:
    """From the events of one topic to `notification-events` and `mail-requests`, keyed by recipient."""

    def __init__(self, topic: Topic, publisher: Publisher, truth: Truth, occasions: Occasions) -> None:
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        self.name = f"notify-{topic.name}"
        self.codec = topic.codec
        self._publisher = publisher
        self._truth = truth
        self._occasions = occasions

    async def apply(self, slices: Sequence[Slice[AnyEvent]]) -> None:
        """Raise the notifications, and ask for the mails, that these events call for."""
        events = [event for part in slices for event in part.values]
        raised = [
            replace(found, source=inbox.source_of(part.topic, part.partition))
            for part in slices
            for event in part.values
            if (found := notifications.decide(event)) is not None
        ]
        raised = await self._once(await self._as_wanted(raised))
        if raised:
            records = [Record(event.key.encode(), notification_events.encode(event)) for event in raised]
            await self._publisher.spread(NOTIFICATION_EVENTS.name, records)
        asked = [request for event in events if (request := mail.decide(event)) is not None]
        if asked:
            records = [Record(request.key.encode(), mail_requests.encode(request)) for request in asked]
            await self._publisher.spread(MAIL_REQUESTS.name, records)

    async def _once(self, raised: Sequence[NotificationRaised]) -> list[NotificationRaised]:
        """Without those that another event has raised before, on the same occasion."""
        wanted: dict[str, str] = {}
        for each in raised:
            if (occasion := notifications.occasion(each)) is not None:
                wanted.setdefault(occasion, each.cause)
        winners = await self._occasions.claim(wanted) if wanted else {}
        return [
            each
            for each in raised
            if (occasion := notifications.occasion(each)) is None or winners[occasion] == each.cause
        ]

    async def _as_wanted(self, raised: Sequence[NotificationRaised]) -> list[NotificationRaised]:
        """Those that suit their recipient, each saying whether it belongs into their list: whoever builds that anew
        finds it there.
        """
        users = await self._truth.load({Ref("user", each.recipient) for each in raised}) if raised else {}
        found = []
        for each in raised:
            user = user_of(users, each.recipient)
            if not notifications.suits(each, user):
                continue
            listed = user is None or preferences.wants(user.notification_preferences, each.kind, "in_app")
            found.append(each if listed else replace(each, listed=False))
        return found


class DeliverInApp:
    """From `notification-events` into the recipient's list, and to their devices.

    A notification is its id, so it is there once.
    """

    name = "deliver-in-app"
    codec = notification_events

    def __init__(self, truth: Truth, store: Projections, publisher: Publisher) -> None:
        self._truth = truth
        self._store = store
        self._publisher = publisher

    async def apply(self, slices: Sequence[Slice[NotificationRaised]]) -> None:
        """Keep the notifications in the database, then show them, then tell of them."""
        updates = [update for part in slices for event in part.values for update in projections.project(event)]
        await self._truth.add_notifications([update for update in updates if isinstance(update, AddNotification)])
        await self._store.apply(updates)
        records = [
            Record(entry.key.encode(), inbox_events.encode(entry))
            for part in slices
            for event in part.values
            # One from before sources were named can't be told from its own repeat.
            if event.source and event.listed
            for entry in inbox.entries(event, f"n{event.source}")
        ]
        if records:
            await self._publisher.spread(INBOX_EVENTS.name, records)


class Telling(NamedTuple):
    """What the notification workers know by, besides what they read."""

    truth: Truth
    occasions: Occasions
    deliveries: Deliveries
    digests: Digests


def on_events(topic: Topic, publisher: Publisher, listings: Listings, telling: Telling) -> Step[Any]:
    """What the notification workers do with the events of a topic."""
    notify = DecideNotifications(topic, publisher, telling.truth, telling.occasions)
    if topic is USER_EVENTS:
        return Several(KeepDeliveries(telling.deliveries, telling.digests), then=notify)
    if topic is not MESSAGE_EVENTS:
        return notify
    return Several(ListTalks(listings), IndexMessages(listings), then=notify)


def on_notifications(deliver: DeliverInApp, decide: DecideDeliveries) -> Step[NotificationRaised]:
    """What they do with notifications: into the list first, so that whoever is told otherwise finds it there."""
    return Several(deliver, then=decide)
