"""ports.delivery.PushService: an encrypted message to the service of a subscription (RFC 8030, 8291, 8292)."""

from devconnect.adapters.http.client import Outbound
from devconnect.domain.delivery import Outcome, push_outcome
from devconnect.domain.model import PushSubscription
from devconnect.ports.clock import Clock
from devconnect.ports.delivery import ForbiddenError, PushMessage, UnreachableError
from devconnect.push.encryption import PAYLOAD_MAX, encrypt
from devconnect.push.vapid import Vapid


class WebPush:
    """Sends push messages."""

    def __init__(self, outbound: Outbound, vapid: Vapid, clock: Clock) -> None:
        self._outbound = outbound
        self._vapid = vapid
        self._clock = clock

    async def push(self, to: PushSubscription, message: PushMessage, smaller: int = 0) -> Outcome:
        """What became of it; a payload that doesn't fit, or with `smaller` so many more of the largest, is left out."""
        fitting = [payload for payload in message.payloads if len(payload) <= PAYLOAD_MAX][smaller:]
        if not fitting:
            return Outcome("refused", "too large, however short")
        try:
            body = encrypt(fitting[0], to.p256dh, to.auth)
            headers = self._headers(to.endpoint, message)
        except ValueError as error:
            return Outcome("refused", str(error))
        try:
            answer = await self._outbound.post(to.endpoint, body, headers)
        except ForbiddenError as error:
            # No fault of ours that an operator should look at, and it won't be otherwise at the next one.
            return Outcome("gone", str(error))
        except UnreachableError as error:
            return Outcome("later", str(error))
        return push_outcome(answer.status, answer.text, answer.retry_after)

    def _headers(self, endpoint: str, message: PushMessage) -> dict[str, str]:
        headers = {
            "Authorization": self._vapid.authorization(endpoint, self._clock.now_ms() // 1000),
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(message.ttl),
            "Urgency": message.urgency,
        }
        return {**headers, "Topic": message.topic} if message.topic else headers
