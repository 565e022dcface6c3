"""Session tokens: JWTs that name a user and a session. Whether that session is open is another question."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt

from devconnect.ports.clock import Clock

ALGORITHM = "HS256"
#: Verified tokens that are remembered: a signature costs more to check than Redis does to ask.
REMEMBERED = 20_000


class Claims(NamedTuple):
    """What a token says: user id, session id, and its end in seconds since 1970."""

    user: str
    session: str
    expires: int


class Tokens:
    """Makes tokens, and reads those that this key has signed."""

    def __init__(self, key: str, clock: Clock) -> None:
        self._key, self._clock = key, clock
        self._kid = hashlib.sha256(b"kid:" + key.encode()).hexdigest()[:16]
        self._known: dict[str, Claims] = {}

    def make(self, user: str, session: str, expires_at: int) -> str:
        """A token that is good until `expires_at` (milliseconds since 1970), if the session is open."""
        claims = {"sub": user, "sid": session, "iat": self._clock.now_ms() // 1000, "exp": expires_at // 1000}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self._kid})

    def read(self, token: str) -> Claims | None:
        """What a token says; None when it is none of ours, or is over."""
        claims = self._known.get(token)
        if claims is None:
            claims = self._verified(token)
            if claims is None:
                return None
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[token] = claims
        if claims.expires * 1000 > self._clock.now_ms():
            return claims
        self._known.pop(token, None)
        return None

    def _verified(self, token: str) -> Claims | None:
        """The signature and the claims; the times are checked against our own clock."""
        options: Mapping[str, Any] = {"require": ["sub", "sid", "exp"], "verify_exp": False, "verify_iat": False}
        try:
            # PyJWT's type of options is private.
            found = jwt.decode(token, self._key, algorithms=[ALGORITHM], options={**options})  # type: ignore[arg-type]
        except jwt.InvalidTokenError:
            return None
        user, session, expires = found["sub"], found["sid"], found["exp"]
        if isinstance(user, str) and isinstance(session, str) and type(expires) is int:
            return Claims(user, session, expires)
        return None
