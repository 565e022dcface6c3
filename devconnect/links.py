"""Links that we have signed: whom one is for, what it is good for, and how long. Pure.

That it is good once, and that no later one has taken its place, is decided against the ticket in the user's document.
"""

import base64
import binascii
import hmac
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from devconnect.keys import derive

Purpose = Literal["verify-email", "reset-password", "unsubscribe"]

#: Bytes of a signature.
MAC = 16
#: Characters that a token has at most: twice what the longest address needs.
TOKEN_MAX = 1_000


class Link(Struct, frozen=True, kw_only=True):
    """What a link says; `expires_at` is in milliseconds since 1970, `email` the address that it was sent to."""

    purpose: Purpose
    user: str
    ticket: str
    email: str
    expires_at: int


class _Body(Struct, frozen=True, array_like=True):
    user: str
    ticket: str
    email: str
    expires_at: int


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Body)


class Links:
    """Signs links and reads them, with a key of its own for each purpose: a link is good for no other."""

    def __init__(self, secret: str) -> None:
        """`secret` is `keys.id_secret`, the same in every process."""
        self._keys: dict[Purpose, bytes] = {purpose: derive(secret, f"link {purpose}") for purpose in get_args(Purpose)}

    def sign(self, purpose: Purpose, *, user: str, ticket: str, expires_at: int, email: str = "") -> str:
        """The token of a link, of letters, digits, - and _."""
        body = _ENCODER.encode(_Body(user, ticket, email, expires_at))
        return _text(self._mac(purpose, body) + body)

    def read(self, purpose: Purpose, token: str, now: int) -> Link | None:
        """What a token says; None when we haven't signed it for this purpose, or it is over."""
        data = _bytes(token)
        if data is None or not hmac.compare_digest(data[:MAC], self._mac(purpose, data[MAC:])):
            return None
        body = _DECODER.decode(data[MAC:])
        if body.expires_at <= now:
            return None
        return Link(purpose=purpose, user=body.user, ticket=body.ticket, email=body.email, expires_at=body.expires_at)

    def _mac(self, purpose: Purpose, body: bytes) -> bytes:
        return hmac.digest(self._keys[purpose], body, "sha256")[:MAC]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(token: str) -> bytes | None:
    """The bytes of a token, which only one text stands for; None when this is none."""
    if len(token) > TOKEN_MAX or not token.isascii():
        return None
    try:
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (ValueError, binascii.Error):
        return None
    return data if _text(data) == token else None
