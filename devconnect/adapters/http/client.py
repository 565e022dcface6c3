"""The one way out: a POST to a checked address, with an end, and with nothing of the answer but a little."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from devconnect.domain import outbound
from devconnect.ports.delivery import ForbiddenError, UnreachableError

#: Connections at once, and to one host.
CONNECTIONS, TO_ONE = 64, 8
#: Bytes of an answer that are read, and characters of it that are told.
ANSWER_MAX, TOLD_MAX = 4_096, 200


class Answer(NamedTuple):
    """What came back: a status, seconds that it asks to be left alone for (None: it doesn't), a line of its text."""

    status: int
    retry_after: float | None
    text: str


class Outbound:
    """Posts to public addresses, or with `private` to any. Every request ends `within` seconds."""

    def __init__(
        self,
        *,
        private: bool,
        within: float = 10.0,
        now: Callable[[], float],
        resolver: Callable[[], AbstractResolver] = ThreadedResolver,
    ) -> None:
        """`now` gives seconds since 1970; `resolver` makes what looks names up."""
        self._private = private
        self._timeout = aiohttp.ClientTimeout(total=within)
        self._within = within
        self._now = now
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post, and give the answer, whatever its status; nobody is followed elsewhere.

        ForbiddenError when it mustn't go there, UnreachableError when nothing was answered.
        """
        wrong = outbound.trouble(url, private=self._private)
        if wrong is not None:
            raise ForbiddenError(f"the address {wrong}")
        try:
            async with self._opened().post(url, data=body, headers=headers, allow_redirects=False) as response:
                text = await _first_line(response)
                after = _seconds(response.headers.get("Retry-After"), self._now())
                return Answer(response.status, after, text)
        except TimeoutError:
            raise UnreachableError(f"no answer within {self._within:g} s") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _PrivateError):
                raise ForbiddenError("the name leads to no public address") from None
            raise UnreachableError(f"no connection: {_words(error.os_error)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnreachableError(f"{type(error).__name__}: {_words(error)}") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            inner = self._resolver()
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS,
                limit_per_host=TO_ONE,
                # Not kept longer than a name's owner may expect, nor shorter than a burst lasts.
                ttl_dns_cache=30,
                resolver=inner if self._private else PublicResolver(inner),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": "devconnect", "Accept-Encoding": "identity"},
            )
        return self._session

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> "Outbound":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _PrivateError(OSError):
    """A name leads nowhere that we may go."""


class PublicResolver(AbstractResolver):
    """Gives only the public addresses of a name: what was checked is what is connected to."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses; an error when there is none."""
        found = [each for each in await self._inner.resolve(host, port, family) if outbound.is_public(each["host"])]
        if not found:
            raise _PrivateError("no public address")
        return found

    async def close(self) -> None:
        """Let go of the inner one."""
        await self._inner.close()


async def _first_line(response: aiohttp.ClientResponse) -> str:
    """The beginning of the answer's text; of one that is longer, or doesn't come, the connection isn't used again.

    What has become of the request is in the status: a text that is missing changes nothing.
    """
    try:
        data = await response.content.readexactly(ANSWER_MAX)
        response.close()
    except asyncio.IncompleteReadError as error:
        data = error.partial
    except (TimeoutError, aiohttp.ClientError):
        data = b""
        response.close()
    return " ".join(data.decode("utf-8", "replace").split())[:TOLD_MAX]


def _seconds(header: str | None, now: float) -> float | None:
    """What Retry-After says, in seconds from now."""
    if header is None:
        return None
    if header.isascii() and header.isdecimal() and len(header) <= 9:
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _words(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:TOLD_MAX]
