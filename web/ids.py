"""Ids and digests that follow from a request and the signing key, so that a repeated request has the same ones."""

import hmac
import re
from itertools import count
from typing import Any

import msgspec

from devconnect.ports.gateway import Commands

#: The fields of a body in the order of their names, as those of a dict.
_encode = msgspec.json.Encoder(order="sorted").encode
_ID = re.compile(r"[0-9a-f]{32}")


def is_id(text: str) -> bool:
    """Whether this looks like an id that we gave: a user's, a session's or a command's."""
    return _ID.fullmatch(text) is not None


class Ids:
    """Derives ids with HMAC-SHA256: whoever lacks the key can neither guess them nor try out what is in a digest."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def command(self, subject: str, route: str, idempotency_key: str) -> str:
        """The id of every command that `subject` (a user id or an e-mail address) gives on a route with this key."""
        return self._digest("command", subject, route, idempotency_key)[:32]

    def fingerprint(self, method: str, path: str, body: Any) -> str:
        """What two requests must share to be the same one. `body` may hold a password: it can't be found from this."""
        return self._digest("request", method, path, body)

    def session(self, command: str) -> str:
        """The id of the session that a log-in command opens."""
        return self._digest("session", command)[:32]

    def user(self, command: str, email: str, commands: Commands) -> str:
        """The id of the user whom a sign-up command makes: on the partition of the e-mail address, as it must be."""
        wanted = commands.partition_of(email)
        for attempt in count():
            drawn = self._digest("user", command, attempt)[:32]
            if commands.partition_of(drawn) == wanted:
                return drawn
        raise AssertionError("unreachable")

    def _digest(self, *parts: Any) -> str:
        return hmac.digest(self._key, _encode(parts), "sha256").hex()
