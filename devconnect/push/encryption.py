"""What only the browser that has subscribed can read: RFC 8291, by the coding of RFC 8188."""

import base64
import binascii

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec

#: Bytes that a push service takes at least, and so at most what it is sent; and what of them is left for a payload.
BODY_MAX = 4096
OVERHEAD = 16 + 4 + 1 + 65 + 1 + 16
PAYLOAD_MAX = BODY_MAX - OVERHEAD
#: Bytes of a subscription's keys.
POINT, AUTH = 65, 16


def encrypt(payload: bytes, p256dh: str, auth: str) -> bytes:
    """The body of a push message; ValueError when the payload is empty or too long, or a key is none."""
    if not 0 < len(payload) <= PAYLOAD_MAX:
        raise ValueError(f"a payload has a byte, and at most {PAYLOAD_MAX} bytes, not {len(payload)}")
    body: bytes = http_ece.encrypt(
        payload,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=point(p256dh),
        auth_secret=secret(auth),
        version="aes128gcm",
    )
    return body


def point(p256dh: str) -> bytes:
    """A subscription's public key; ValueError when it is no point of P-256, uncompressed, in base64url."""
    data = decoded(p256dh)
    if len(data) != POINT or data[0] != 4:
        raise ValueError("no uncompressed point")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    return data


def secret(auth: str) -> bytes:
    """A subscription's secret; ValueError when it isn't 16 bytes in base64url."""
    data = decoded(auth)
    if len(data) != AUTH:
        raise ValueError("not 16 bytes")
    return data


def decoded(text: str) -> bytes:
    """The bytes that a text in base64url stands for, with or without its padding; ValueError when it is none."""
    bare = text.rstrip("=")
    if not bare.isascii() or "+" in bare or "/" in bare:
        raise ValueError("not base64url")
    try:
        data = base64.b64decode(bare.replace("-", "+").replace("_", "/") + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
    return data
