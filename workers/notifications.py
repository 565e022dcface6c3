"""The notification workers: they decide who is told of what, by which channel and when, and tell them.

They also list in the database what was said.
"""

import asyncio
import logging

from agents.deliveries import look_for_ever
from agents.notifications import DeliverInApp, on_events, on_notifications
from devconnect.events.topics import EVENT_TOPICS, MAIL_REQUESTS, NOTIFICATION_EVENTS
from devconnect.settings import public_url
from workers.channels import run_channels
from workers.deliveries import decide_deliveries, looks, telling
from workers.mail import send_mail
from workers.runtime import Worker, main

logger = logging.getLogger(__name__)

#: Seconds that what happens is let gather: the messages of a moment are a few writes then, not a few each, and those
#: who wait for a message don't wait for these.
LINGER_SECONDS = 0.1


def wire(worker: Worker) -> None:
    """One deciding agent an events topic, the delivery into people's lists, what is due later, and the channels."""
    known = telling(worker.mongo)
    for topic in EVENT_TOPICS:
        worker.add(topic, on_events(topic, worker.publisher, worker.listings, known))
    decide = decide_deliveries(worker.mongo, worker.redis, worker.publisher, worker.metrics)
    in_app = DeliverInApp(worker.truth, worker.projections, worker.publisher)
    worker.add(NOTIFICATION_EVENTS, on_notifications(in_app, decide))
    due = looks(worker.mongo, worker.publisher)
    worker.on_start(lambda: worker.background(asyncio.create_task(look_for_ever(*due), name="what is due")))
    settings = worker.settings
    if settings.smtp_url is None:
        logger.warning("SMTP_URL isn't set: mails go to nobody, each is a file in %s", settings.data_dir / "mail")
    elif settings.public_url is None:
        logger.warning("PUBLIC_URL isn't set: links in mails lead to %s", public_url(settings))
    post = send_mail(settings, worker.mongo, worker.metrics)
    worker.health.stirs_with(lambda: post.tries)
    worker.add(MAIL_REQUESTS, post)
    run_channels(worker)


if __name__ == "__main__":
    main("notifications", 8013, wire, linger_seconds=LINGER_SECONDS)
