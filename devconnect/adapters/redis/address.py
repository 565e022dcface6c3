"""Where a single Redis is: what stands in its address, and how one connects and introduces oneself there."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from devconnect.adapters.redis.line import Command

_OPTIONS = {"db", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
_NO = ("0", "false", "no", "none")


class Address(Struct, frozen=True, kw_only=True):
    """One of "redis://user:password@host:port/db", "rediss://…" (TLS) and "unix:///path?db=0"."""

    host: str
    port: int
    path: str
    user: str
    password: str
    db: int
    tls: Mapping[str, str] | None

    @classmethod
    def parse(cls, url: str) -> "Address":
        """ValueError for what is no such address, or has an option that isn't known here.

        `rediss` takes the options of redis-py ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_cert_reqs (none or required)
        and ssl_check_hostname.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("an address of Redis begins with redis://, rediss:// or unix://")
        options = dict(parse_qsl(parts.query))
        if unknown := options.keys() - _OPTIONS:
            raise ValueError(f"an address of Redis has no option {', '.join(sorted(unknown))}")
        path = unquote(parts.path) if parts.scheme == "unix" else ""
        db = options.get("db") or ("" if path else parts.path.strip("/")) or "0"
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or 6379,
            path=path,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            db=int(db),
            tls=options if parts.scheme == "rediss" else None,
        )

    async def connect(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Connect the protocol; OSError when that fails."""
        loop = asyncio.get_running_loop()
        if self.path:
            await loop.create_unix_connection(protocol, self.path)
        else:
            context: Any = None if self.tls is None else _context(self.tls)
            await loop.create_connection(protocol, self.host, self.port, ssl=context)

    def greeting(self, *, track: bool) -> list[Command]:
        """What is said first; `track`: changes of what is read after CLIENT CACHING YES are to be told."""
        hello: Command = ("HELLO", 3)
        if self.password:
            hello = (*hello, "AUTH", self.user or "default", self.password)
        greeting = [hello]
        if self.db:
            greeting.append(("SELECT", self.db))
        if track:
            greeting.append(("CLIENT", "TRACKING", "ON", "OPTIN"))
        return greeting


def _context(options: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    unchecked = options.get("ssl_cert_reqs", "required").lower() in _NO
    if unchecked or options.get("ssl_check_hostname", "true").lower() in _NO:
        context.check_hostname = False
    if unchecked:
        context.verify_mode = ssl.CERT_NONE
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context
