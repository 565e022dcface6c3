"""Decides who is told of what, in their list and by mail, and puts it into their list."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from agents.processing import Slice, Step
from agents.search import IndexMessages, ListTalks
from agents.several import Several
from devconnect.domain import inbox, mail, notifications, projections
from devconnect.domain.projections import AddNotification
from devconnect.events.facts import AnyEvent, NotificationRaised
from devconnect.events.topics import (
    INBOX_EVENTS,
    MAIL_REQUESTS,
    MESSAGE_EVENTS,
    NOTIFICATION_EVENTS,
    Topic,
    inbox_events,
    mail_requests,
    notification_events,
)
from devconnect.ports.listings import Listings
from devconnect.ports.projections import Projections
from devconnect.ports.publisher import Publisher, Record
from devconnect.ports.truth import Truth


class DecideNotifications:
    """From the events of one topic to `notification-events` and `mail-requests`, keyed by recipient."""

    def __init__(self, topic: Topic, publisher: Publisher) -> None:
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        self.name = f"notify-{topic.name}"
        self.codec = topic.codec
        self._publisher = publisher

    async def apply(self, slices: Sequence[Slice[AnyEvent]]) -> None:
        """Raise the notifications, and ask for the mails, that these events call for."""
        events = [event for part in slices for event in part.values]
        raised = [
            replace(found, source=inbox.source_of(part.topic, part.partition))
            for part in slices
            for event in part.values
            if (found := notifications.decide(event)) is not None
        ]
        if raised:
            records = [Record(event.key.encode(), notification_events.encode(event)) for event in raised]
            await self._publisher.spread(NOTIFICATION_EVENTS.name, records)
        asked = [request for event in events if (request := mail.decide(event)) is not None]
        if asked:
            records = [Record(request.key.encode(), mail_requests.encode(request)) for request in asked]
            await self._publisher.spread(MAIL_REQUESTS.name, records)


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
            if event.source
            for entry in inbox.entries(event, f"n{event.source}")
        ]
        if records:
            await self._publisher.spread(INBOX_EVENTS.name, records)


def on_events(topic: Topic, publisher: Publisher, listings: Listings) -> Step[Any]:
    """What the notification workers do with the events of a topic."""
    notify = DecideNotifications(topic, publisher)
    if topic is not MESSAGE_EVENTS:
        return notify
    return Several(ListTalks(listings), IndexMessages(listings), then=notify)
