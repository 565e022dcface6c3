"""The notification workers: they decide who is told of what, and tell them."""

from agents.notifications import DecideNotifications, DeliverInApp
from devconnect.events.topics import EVENT_TOPICS, NOTIFICATION_EVENTS
from workers.runtime import Worker, main


def wire(worker: Worker) -> None:
    """One deciding agent an events topic, and the delivery into people's lists."""
    for topic in EVENT_TOPICS:
        worker.add(topic, DecideNotifications(topic, worker.publisher))
    worker.add(NOTIFICATION_EVENTS, DeliverInApp(worker.truth, worker.projections))


if __name__ == "__main__":
    main("notifications", 8013, wire)
