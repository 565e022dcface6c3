"""Device tokens: whoever has logged in somewhere is known there as one who could (OWASP: device cookies).

A token opens nothing. It only keeps those apart who try a password where its owner has been from those who try it
anywhere else, so that the latter can't lock the former out.
"""

import hmac
import re
import secrets

from devconnect.ports.clock import Clock

#: How long a device is known for after its last log-in.
LIFETIME_MS = 180 * 86_400_000

_TOKEN = re.compile(r"d1\.([0-9a-f]{32})\.([0-9]{13})\.([0-9a-f]{64})", re.A)


class DeviceTokens:
    """Makes the tokens, and knows them again. Each is bound to the e-mail address of an account, which isn't in it."""

    def __init__(self, key: str, clock: Clock) -> None:
        self._key = hmac.digest(key.encode(), b"devconnect device tokens", "sha256")
        self._clock = clock

    def make(self, address: str) -> str:
        """A new token for the device that has just logged in with this address."""
        device, at = secrets.token_hex(16), f"{self._clock.now_ms():013d}"
        return f"d1.{device}.{at}.{self._signature(address, device, at)}"

    def device(self, token: str | None, address: str) -> str | None:
        """The device that a token is of; None unless it is ours, for this address, and not too old."""
        match = _TOKEN.fullmatch(token or "")
        if match is None:
            return None
        device, at, signature = match.groups()
        if not hmac.compare_digest(signature, self._signature(address, device, at)):
            return None
        return device if self._clock.now_ms() - int(at) < LIFETIME_MS else None

    def _signature(self, address: str, device: str, at: str) -> str:
        return hmac.digest(self._key, f"{device}.{at}.{address}".encode(), "sha256").hex()
