"""The notification workers: they decide who is told of what, and tell them, in their list and by mail.

They also list in the database what was said.
"""

import logging

from agents.notifications import DeliverInApp, on_events
from devconnect.events.topics import EVENT_TOPICS, MAIL_REQUESTS, NOTIFICATION_EVENTS
from devconnect.settings import public_url
from workers.channels import run_channels
from workers.mail import send_mail
from workers.runtime import Worker, main

logger = logging.getLogger(__name__)


def wire(worker: Worker) -> None:
    """One deciding agent an events topic, the delivery into people's lists, the post, push messages and webhooks."""
    for topic in EVENT_TOPICS:
        worker.add(topic, on_events(topic, worker.publisher, worker.listings))
    worker.add(NOTIFICATION_EVENTS, DeliverInApp(worker.truth, worker.projections))
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
    main("notifications", 8013, wire)
