"""Who may ask from a browser: the pages of our own origin and those of a list, and nobody else."""

from collections.abc import Collection
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from multidict import CIMultiDict

from devconnect.settings import Network, Settings

#: What a page may send, and what it may read of an answer.
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Device-Token, Idempotency-Key, If-Match, If-None-Match, Prefer, Read-After, "
    "Request-Id"
)
EXPOSED_HEADERS = (
    "RateLimit, RateLimit-Policy, Retry-After, Command-Id, Location, ETag, X-Source, X-As-Of, X-Behind, Read-After, "
    "Request-Id, WWW-Authenticate"
)
#: Seconds for which a browser needn't ask again.
MAX_AGE = "7200"

_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
_FETCH_SITE, _FORWARDED_PROTO = "Sec-Fetch-Site", "X-Forwarded-Proto"


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks on behalf of a page what it may do."""
    headers = request.headers
    return request.method == "OPTIONS" and "Origin" in headers and hdrs.ACCESS_CONTROL_REQUEST_METHOD in headers


def preflight(methods: Collection[str]) -> web.Response:
    """The answer to a page that may ask: by these methods. `allow` says to whom."""
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(sorted(methods)),
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ALLOWED_HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: MAX_AGE,
    }
    return web.Response(status=204, headers=headers)


def allow(headers: CIMultiDict[str], origin: str) -> None:
    """Let a page of this origin read the answer."""
    headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
    headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
    headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS


def origin_allowed(request: web.Request, settings: Settings) -> bool:
    """Whether a request that a cookie vouches for comes from a page of ours or of the list, and not from a forger's.

    What changes nothing may come from anywhere. All else must say where it comes from: by Origin, Sec-Fetch-Site or
    Referer, in this order.
    """
    return request.method in _SAFE or from_our_pages(request, settings)


def from_our_pages(request: web.Request, settings: Settings) -> bool:
    """Whether a request says that it comes from a page of ours or of the list, whatever it may change.

    A websocket begins as a GET that any page may have a browser send with our cookies.
    """
    headers = request.headers
    origin, site, referer = headers.get("Origin"), headers.get(_FETCH_SITE), headers.get("Referer")
    if origin is not None:
        return origin in settings.cors_origins or origin in own_origins(request, settings)
    if site is not None:
        return site == "same-origin"
    if referer is not None:
        found = _origin_of(referer)
        return found in settings.cors_origins or found in own_origins(request, settings)
    return False


def own_origins(request: web.Request, settings: Settings) -> tuple[str, ...]:
    """The origins that are this gateway's: where people reach it, and the host that this request names."""
    scheme = "https" if came_by_tls(request, settings) else "http"
    named = f"{scheme}://{request.headers.get('Host', '').lower()}"
    return (named,) if settings.public_url is None else (named, settings.public_url.lower())


def came_by_tls(request: web.Request, settings: Settings) -> bool:
    """Whether nobody could read along: as PUBLIC_URL says, or a proxy whose word is taken."""
    if settings.public_url is not None and settings.public_url.startswith("https:"):
        return True
    if settings.trusted_proxies and request.headers.get(_FORWARDED_PROTO) == "https":
        return _is_within(request.remote, settings.trusted_proxies)
    return request.secure


@lru_cache(1024)
def _is_within(address: str | None, networks: tuple[Network, ...]) -> bool:
    try:
        found = ip_address(address or "")
    except ValueError:
        return False
    return any(found in network for network in networks)


def _origin_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()
