"""ports.delivery.WebhookCaller: a signed POST, as the Standard Webhooks have it."""

from devconnect.adapters.http.client import Outbound
from devconnect.domain.delivery import Outcome, webhook_outcome
from devconnect.domain.model import Webhook
from devconnect.ports.clock import Clock
from devconnect.ports.delivery import ForbiddenError, UnreachableError
from devconnect.webhook_secrets import WebhookSecrets


class Webhooks:
    """Calls webhooks."""

    def __init__(self, outbound: Outbound, secrets: WebhookSecrets, clock: Clock) -> None:
        self._outbound = outbound
        self._secrets = secrets
        self._clock = clock

    async def call(self, webhook: str, to: Webhook, message: str, body: bytes) -> Outcome:
        """What became of it."""
        at = self._clock.now_ms() // 1000
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(at),
            "webhook-signature": self._secrets.signature(webhook, message, at, body),
        }
        try:
            answer = await self._outbound.post(to.url, body, headers)
        except ForbiddenError as error:
            # No fault of ours that an operator should look at, and it won't be otherwise at the next one.
            return Outcome("gone", str(error))
        except UnreachableError as error:
            return Outcome("later", str(error))
        return webhook_outcome(answer.status, answer.text, answer.retry_after)
