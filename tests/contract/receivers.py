"""A push service that reads what it gets, and a server that is called, each of which answers as a test wants it to."""

import asyncio
import base64
import hmac
from typing import Any

import jwt
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devconnect.domain.model import PushSubscription


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def data(encoded: str) -> bytes:
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


class Browser:
    """A subscription's private half: reads what was encrypted for it, by RFC 8291 and 8188, with nothing of ours."""

    def __init__(self, number: int = 1) -> None:
        self.key = ec.derive_private_key(1000 + number, ec.SECP256R1())
        self.auth = bytes([number % 256]) * 16

    @property
    def point(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def subscription(self, endpoint: str, session: str = "s1") -> PushSubscription:
        keys = {"p256dh": text(self.point), "auth": text(self.auth)}
        return PushSubscription(endpoint=endpoint, session=session, created_at=1, **keys)

    def read(self, body: bytes) -> bytes:
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, record = body[21 : 21 + length], body[21 + length :]
        assert len(record) <= size
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        secret = derived(shared, self.auth, b"WebPush: info\x00" + self.point + sender, 32)
        key = derived(secret, salt, b"Content-Encoding: aes128gcm\x00", 16)
        nonce = derived(secret, salt, b"Content-Encoding: nonce\x00", 12)
        plain = AESGCM(key).decrypt(nonce, record, None)
        return plain.rstrip(b"\x00")[:-1]


class Receiver:
    """Takes POSTs at any path. `answers` holds statuses by path, the last of which stays; otherwise it is 201."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: dict[str, list[int]] = {}
        self.headers: dict[str, str] = {}
        self.hanging: set[str] = set()
        self._server: TestServer | None = None

    async def start(self, port: int | None = None) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._handle)
        self._server = TestServer(app, port=port)
        await self._server.start_server()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.close()

    def url(self, path: str) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.port}/{path}"

    @property
    def origin(self) -> str:
        return self.url("")[:-1]

    async def _handle(self, request: web.Request) -> web.Response:
        path, body = request.match_info["path"], await request.read()
        self.asked.append((path, dict(request.headers), body))
        if path in self.hanging:
            await asyncio.Event().wait()
        answers = self.answers.get(path, [201])
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        if status < 300:
            self.taken.append((path, dict(request.headers), body))
        return web.Response(status=status, headers={} if status < 300 else self.headers, text="x" * 10_000)

    def pushed(self, browser: Browser, path: str) -> list[dict[str, Any]]:
        """What a browser was sent, in the clear."""
        return [msgspec.json.decode(browser.read(body)) for to, _, body in self.taken if to == path]


def insist_on_vapid(headers: dict[str, str], origin: str, public_key: str, now: float) -> dict[str, Any]:
    """What RFC 8292 wants of a push service; returns the claims."""
    scheme, _, rest = headers["Authorization"].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert (scheme.lower(), parts["k"]) == ("vapid", public_key)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data(parts["k"]))
    claims = jwt.decode(parts["t"], key, algorithms=["ES256"], audience=origin, options={"verify_exp": False})
    assert now < claims["exp"] <= now + 24 * 3600
    return claims


def insist_on_signature(secret: str, headers: dict[str, str], body: bytes) -> None:
    """What a receiver of Standard Webhooks does."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert wanted in headers["webhook-signature"].split(" ")
