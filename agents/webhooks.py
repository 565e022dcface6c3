"""Calls the webhooks of those who are to be told."""

import uuid
from datetime import UTC, datetime

import msgspec

from agents.delivering import Queue
from devconnect.domain.delivery import WEBHOOK_WAITS, Outcome
from devconnect.domain.model import Channels, Ref, Snapshot
from devconnect.events.base import RequestChannel
from devconnect.events.commands import DisableWebhook
from devconnect.events.facts import DeliveryRequested
from devconnect.events.topics import WEBHOOK_REQUESTS, delivery_requests
from devconnect.ports.clock import Clock
from devconnect.ports.deliveries import Deliveries, Progress
from devconnect.ports.delivery import WebhookCaller
from devconnect.ports.outbox import Outbox, Parcel
from devconnect.ports.truth import Truth

_NAMESPACE = uuid.UUID("0b4d4b55-6a0e-4b1c-9a0f-1f6a2c9d7e42")


def queue_webhooks(truth: Truth, outbox: Outbox, deliveries: Deliveries, clock: Clock, *, again: bool = False) -> Queue:
    """From `webhook-requests` into the outbox; with `again` it is for dead letters."""
    return Queue(
        "send-webhook" if again else "queue-webhooks",
        "webhook",
        Channels.called,
        truth=truth,
        outbox=outbox,
        deliveries=deliveries,
        clock=clock,
        again=again,
    )


class WebhookWay:
    """To a server, as long as it isn't switched off."""

    channel: RequestChannel = "webhook"
    topic = WEBHOOK_REQUESTS
    waits: tuple[int, ...] = WEBHOOK_WAITS
    taken: Progress = "delivered"

    def __init__(self, caller: WebhookCaller) -> None:
        self._caller = caller

    async def send(self, parcel: Parcel, state: Snapshot) -> Outcome | None:
        """What became of a try."""
        channels = state.get(Ref("channels", parcel.user))
        to = channels.webhooks.get(parcel.target) if isinstance(channels, Channels) else None
        if to is None or to.disabled_at is not None:
            return None
        request = _request(parcel)
        return await self._caller.call(parcel.target, to, request.id, body(request))

    def refs(self, parcel: Parcel) -> set[Ref]:
        """The documents that it takes."""
        return {Ref("channels", parcel.user)}

    def farewell(self, parcel: Parcel, outcome: Outcome, now: int) -> DisableWebhook:
        """It is switched off, and its owner is told."""
        return DisableWebhook(
            id=uuid.uuid5(_NAMESPACE, parcel.target).hex,
            actor=parcel.user,
            at=now,
            webhook=parcel.target,
            reason="gone" if outcome.verdict == "gone" else "failing",
        )


def body(request: DeliveryRequested) -> bytes:
    """What a server is told: the same at each try."""
    said = datetime.fromtimestamp(request.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {"notification": request.notification, "user": request.user, "count": request.count, "about": request.about}
    return msgspec.json.encode({"type": request.kind, "timestamp": said, "data": data})


def _request(parcel: Parcel) -> DeliveryRequested:
    return delivery_requests.decode(parcel.request.encode())
