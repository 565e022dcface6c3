"""The key that push messages are signed with (RFC 8292): kept in the data folder unless the settings have it."""

import base64
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02, VapidException

from devconnect.mail.server import parse_sender
from devconnect.settings import Settings, SettingsError, make_once

#: Seconds that a token is good for, and before its end from which on another one is signed. 24 hours are allowed.
LIFETIME = 12 * 3600
RENEWED_BEFORE = 3600
#: Tokens that are kept, one for each push service.
KEPT = 1_000


class Vapid:
    """Signs for push services; a token is used for many messages."""

    def __init__(self, private_key: str, subject: str) -> None:
        """`private_key` is 32 bytes in base64url; ValueError when it is no key."""
        self._signer = Vapid02.from_raw(private_key.encode())
        self._subject = subject
        self._tokens: dict[str, tuple[int, str]] = {}

    @property
    def public_key(self) -> str:
        """What browsers subscribe with: the point, uncompressed, in base64url."""
        point = self._signer.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return base64.urlsafe_b64encode(point).rstrip(b"=").decode()

    def authorization(self, endpoint: str, now: int) -> str:
        """The header for a message to this URL, `now` in seconds; ValueError when it is none that can be signed for."""
        parts = urlsplit(endpoint)
        audience = f"{parts.scheme}://{parts.netloc}"
        ends, header = self._tokens.get(audience, (0, ""))
        if ends - RENEWED_BEFORE <= now:
            ends = now + LIFETIME
            try:
                signed = self._signer.sign({"aud": audience, "exp": ends, "sub": self._subject})
            except VapidException as error:
                raise ValueError(str(error)) from None
            header = signed["Authorization"]
            if len(self._tokens) >= KEPT:
                self._tokens.clear()
            self._tokens[audience] = ends, header
        return header


def vapid(settings: Settings) -> Vapid:
    """The key of the settings, or the one in `DATA_DIR/vapid-key`, which is made when it isn't there.

    SettingsError when it is none.
    """
    key = settings.vapid_private_key
    where = "VAPID_PRIVATE_KEY"
    if key is None:
        path = settings.data_dir / "vapid-key"
        make_once(path, new_private_key)
        key, where = path.read_text("utf-8").strip(), str(path)
    try:
        return Vapid(key, subject(settings))
    except ValueError:
        raise SettingsError(f"{where} holds no private key of P-256: 32 bytes in base64url") from None


def subject(settings: Settings) -> str:
    """Whom push services turn to: VAPID_SUBJECT, else the address of MAIL_FROM."""
    return settings.vapid_subject or f"mailto:{parse_sender(settings.mail_from).address}"


def new_private_key() -> str:
    """A fresh key."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
