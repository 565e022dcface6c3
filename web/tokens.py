"""Tokens: JWTs that name a user and a session. Whether that session is open is another question.

An access token is good for minutes and is sent with every request; a renewal token is good once, and gives the next
pair. Both are signed with HS256 by the first key of the ring, and verified by the key whose id they name, whatever
algorithm they name. Each kind has keys of its own, so that the one is never taken for the other.
"""

import hmac
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import jwt

from devconnect.ports.clock import Clock

ALGORITHM = "HS256"
#: Verified tokens that are remembered: a signature costs more to check than Redis does to ask.
REMEMBERED = 20_000

Kind = Literal["access", "renewal"]


class Key(Protocol):
    """A signing key and its id."""

    @property
    def kid(self) -> str:
        """Names the key in tokens; says nothing of it."""

    @property
    def secret(self) -> str:
        """At least 32 random characters."""


class Keys(Protocol):
    """The ring of keys."""

    def current(self) -> Key:
        """The one that signs."""

    def find(self, kid: str) -> Key | None:
        """The one of this id, if it still verifies."""

    @property
    def version(self) -> int:
        """Grows with every change of the ring."""


class Claims(NamedTuple):
    """What an access token says: user id, session id, and its end in seconds since 1970."""

    user: str
    session: str
    expires: int


class Renewal(NamedTuple):
    """What a renewal token says."""

    user: str
    session: str
    generation: int


class Tokens:
    """Makes tokens, and reads those that a key of the ring has signed."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys, self._clock = keys, clock
        self._known: dict[str, Claims] = {}
        self._version = keys.version

    def access(self, user: str, session: str, expires_at: int) -> str:
        """A token that is good until `expires_at` (milliseconds since 1970), if the session is open."""
        return self._signed("access", {"sub": user, "sid": session, "exp": expires_at // 1000})

    def renewal(self, user: str, session: str, generation: int, expires_at: int) -> str:
        """A token that renews the session once, if it is of the session's generation then."""
        claims = {"sub": user, "sid": session, "gen": generation, "exp": expires_at // 1000}
        return self._signed("renewal", claims)

    def read(self, token: str) -> Claims | None:
        """What an access token says; None when it is none of ours, or is over."""
        if self._keys.version != self._version:
            # A key may be retired: every signature counts anew.
            self._known.clear()
            self._version = self._keys.version
        claims = self._known.get(token)
        if claims is None:
            claims = self._verified_access(token)
            if claims is None:
                return None
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[token] = claims
        if claims.expires * 1000 > self._clock.now_ms():
            return claims
        self._known.pop(token, None)
        return None

    def read_renewal(self, token: str) -> Renewal | None:
        """What a renewal token says; None when it is none of ours, or is over."""
        found = self._verified("renewal", token)
        if found is None or found["exp"] * 1000 <= self._clock.now_ms() or type(found.get("gen")) is not int:
            return None
        return Renewal(found["sub"], found["sid"], found["gen"])

    def _signed(self, kind: Kind, claims: Mapping[str, Any]) -> str:
        key = self._keys.current()
        body = {**claims, "iat": self._clock.now_ms() // 1000}
        return jwt.encode(body, _of_kind(kind, key), algorithm=ALGORITHM, headers={"kid": key.kid})

    def _verified_access(self, token: str) -> Claims | None:
        found = self._verified("access", token)
        return None if found is None else Claims(found["sub"], found["sid"], found["exp"])

    def _verified(self, kind: Kind, token: str) -> dict[str, Any] | None:
        """The signature and the claims; the times are checked against our own clock."""
        if not token.isascii():
            return None
        options: Mapping[str, Any] = {"require": ["sub", "sid", "exp"], "verify_exp": False, "verify_iat": False}
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.find(kid) if isinstance(kid, str) else None
            if key is None:
                return None
            # PyJWT's type of options is private.
            found = jwt.decode(token, _of_kind(kind, key), algorithms=[ALGORITHM], options={**options})  # type: ignore[arg-type]
        except jwt.InvalidTokenError:
            return None
        user, session, expires = found["sub"], found["sid"], found["exp"]
        is_ours = isinstance(user, str) and isinstance(session, str) and type(expires) is int
        return found if is_ours else None


def _of_kind(kind: Kind, key: Key) -> bytes:
    return hmac.digest(key.secret.encode(), f"token:{kind}".encode(), "sha256")
