"""Handing a push message or a webhook's call to whoever it is for."""

from typing import Protocol

from msgspec import Struct

from devconnect.domain.delivery import Outcome
from devconnect.domain.model import PushSubscription, Webhook


class ForbiddenError(Exception):
    """We don't send there, now or ever; the text says why."""


class UnreachableError(Exception):
    """Nothing was answered: it may have come, or not."""


class PushMessage(Struct, frozen=True, kw_only=True):
    """A message for one browser. `payloads` are the same one in fewer and fewer words; `ttl` is in seconds.

    One with the same `topic` that the browser hasn't had yet is replaced; "" replaces none.
    """

    payloads: tuple[bytes, ...]
    ttl: int
    urgency: str
    topic: str


class PushService(Protocol):
    """Sends to browsers by the service that each has subscribed with."""

    async def push(self, to: PushSubscription, message: PushMessage, smaller: int = 0) -> Outcome:
        """What became of it; a payload that doesn't fit, or with `smaller` so many more of the largest, is left out."""


class WebhookCaller(Protocol):
    """Calls webhooks."""

    async def call(self, webhook: str, to: Webhook, message: str, body: bytes) -> Outcome:
        """What became of it. `webhook` is its id, `message` that of what is said: the same at each try."""
