"""Builds the channels besides mail: what sends push messages and calls webhooks, as the settings say."""

import asyncio
from typing import Any

from agents.delivering import Sender, Way
from agents.processing import Step
from agents.push import PushWay, queue_push
from agents.webhooks import WebhookWay, queue_webhooks
from devconnect.adapters.http.client import Outbound
from devconnect.adapters.http.push import WebPush
from devconnect.adapters.http.webhooks import Webhooks
from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.deliveries import MongoDeliveries
from devconnect.adapters.mongo.outbox import MongoOutbox
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.events.topics import PUSH_REQUESTS, WEBHOOK_REQUESTS
from devconnect.keys import id_secret
from devconnect.ports.clock import SystemClock
from devconnect.push.vapid import vapid
from devconnect.webhook_secrets import WebhookSecrets
from workers.runtime import Worker


def run_channels(worker: Worker) -> None:
    """A queue and a sender for each; the senders have no connection in common."""
    outbox, deliveries, clock = MongoOutbox(worker.mongo), MongoDeliveries(worker.mongo), worker.clock
    worker.add(PUSH_REQUESTS, queue_push(worker.truth, outbox, deliveries, clock))
    worker.add(WEBHOOK_REQUESTS, queue_webhooks(worker.truth, outbox, deliveries, clock))
    settings = worker.settings
    signing, secrets = vapid(settings), WebhookSecrets(id_secret(settings))

    def outbound() -> Outbound:
        return Outbound(private=settings.outbound_private, now=lambda: clock.now_ms() / 1000)

    async def send(way: Way, to: Outbound) -> None:
        async with to:
            sender = Sender(
                way,
                outbox=outbox,
                truth=worker.truth,
                publisher=worker.publisher,
                deliveries=deliveries,
                clock=clock,
                metrics=worker.metrics,
            )
            await sender.run()

    def start() -> None:
        to_browsers, to_servers = outbound(), outbound()
        ways: list[tuple[Way, Outbound]] = [
            (PushWay(WebPush(to_browsers, signing, clock), clock), to_browsers),
            (WebhookWay(Webhooks(to_servers, secrets, clock)), to_servers),
        ]
        for way, to in ways:
            worker.background(asyncio.create_task(send(way, to), name=f"send-{way.channel}"))

    worker.on_start(start)


def resend(db: Database) -> list[Step[Any]]:
    """What has the workers send what is a dead letter: since it was given up, or never came as far as the outbox."""
    truth, outbox, deliveries, clock = MongoTruth(db), MongoOutbox(db), MongoDeliveries(db), SystemClock()
    return [
        make(truth, outbox, deliveries, clock, again=again)
        for make in (queue_push, queue_webhooks)
        for again in (True, False)
    ]
