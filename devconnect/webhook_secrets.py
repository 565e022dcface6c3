"""What webhooks are signed with (standardwebhooks.com): a secret each, which follows from its id; kept nowhere."""

import base64
import hmac

from devconnect.keys import derive

PREFIX = "whsec_"


class WebhookSecrets:
    """Gives the secrets of webhooks, and signs with them."""

    def __init__(self, secret: str) -> None:
        """`secret` is `keys.id_secret`, the same in every process."""
        self._key = derive(secret, "webhook secrets")

    def secret(self, webhook: str) -> str:
        """What the owner of a webhook is shown: whsec_, and 32 bytes in base64."""
        return PREFIX + base64.b64encode(self._bytes(webhook)).decode()

    def signature(self, webhook: str, message: str, at: int, body: bytes) -> str:
        """The header webhook-signature for a body sent at `at`, in seconds."""
        signed = f"{message}.{at}.".encode() + body
        mac = hmac.digest(self._bytes(webhook), signed, "sha256")
        return "v1," + base64.b64encode(mac).decode()

    def _bytes(self, webhook: str) -> bytes:
        return hmac.digest(self._key, webhook.encode(), "sha256")
