"""Sessions in cookies: out of reach for scripts, sent by no other site, and only over TLS."""

from typing import NamedTuple

from aiohttp import web

from devconnect.ports.clock import Clock
from devconnect.settings import Settings

#: Where the renewal token is sent, and nowhere else.
RENEWAL_PATH = "/v1/sessions"


class Pair(NamedTuple):
    """The tokens of a session, and when they end in milliseconds since 1970."""

    access: str
    access_until: int
    renewal: str
    renewal_until: int


class Cookies:
    """The two cookies. Without TLS (COOKIE_SECURE=0) they have names that no browser takes for safe ones."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._secure, self._clock = settings.cookie_secure, clock
        self.access_name = "__Host-dc_token" if self._secure else "dc_token"
        self.renewal_name = "__Secure-dc_renewal" if self._secure else "dc_renewal"

    def access(self, request: web.Request) -> str | None:
        """The access token in a cookie."""
        return request.cookies.get(self.access_name)

    def renewal(self, request: web.Request) -> str | None:
        """The renewal token in a cookie."""
        return request.cookies.get(self.renewal_name)

    def put(self, response: web.StreamResponse, pair: Pair) -> None:
        """Keep the tokens for as long as they are good."""
        self._set(response, self.access_name, pair.access, pair.access_until, "/", "Lax")
        self._set(response, self.renewal_name, pair.renewal, pair.renewal_until, RENEWAL_PATH, "Strict")

    def drop(self, response: web.StreamResponse) -> None:
        """Forget them."""
        self._set(response, self.access_name, "", 0, "/", "Lax")
        self._set(response, self.renewal_name, "", 0, RENEWAL_PATH, "Strict")

    def _set(  # noqa: PLR0917  (one line a cookie)
        self, response: web.StreamResponse, name: str, value: str, until: int, path: str, same_site: str
    ) -> None:
        age = max(0, (until - self._clock.now_ms()) // 1000)
        response.set_cookie(name, value, max_age=age, path=path, secure=self._secure, httponly=True, samesite=same_site)
