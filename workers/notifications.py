"""The notification workers: they decide who is told of what, and tell them; and list in the database what was said."""

from agents.notifications import DeliverInApp, on_events
from devconnect.events.topics import EVENT_TOPICS, NOTIFICATION_EVENTS
from workers.runtime import Worker, main


def wire(worker: Worker) -> None:
    """One deciding agent an events topic, and the delivery into people's lists."""
    for topic in EVENT_TOPICS:
        worker.add(topic, on_events(topic, worker.publisher, worker.listings))
    worker.add(NOTIFICATION_EVENTS, DeliverInApp(worker.truth, worker.projections))


if __name__ == "__main__":
    main("notifications", 8013, wire)
