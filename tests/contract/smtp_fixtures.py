"""A real SMTP server to test against, which does what a test wants of it; test modules import `post` by name."""

import asyncio
import email
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

#: Key and certificate of localhost, which nobody but these tests trusts.
CERTIFICATE = Path(__file__).with_name("smtp_localhost.pem")
USER, PASSWORD = "postman", "per aspera"


class Post:
    """A mail server on a port that it keeps; it can be stopped and started again.

    `answers` are given in place of "250 OK": the first to the next command of that name ("RCPT", "DATA"), and so on.
    """

    def __init__(self) -> None:
        self.port = 0
        self.options: dict[str, Any] = {}
        #: The envelopes that were taken, and the users who logged in.
        self.taken: list[Envelope] = []
        self.logged_in: list[str] = []
        self.answers: dict[str, list[str]] = {}
        #: Set for a server that has a mail and says nothing, and for one that ends in the middle.
        self.hangs = False
        self.dies = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Transport] = set()

    @property
    def messages(self) -> list[EmailMessage]:
        """What was taken, parsed."""
        return [parsed(envelope.content) for envelope in self.taken]

    @property
    def recipients(self) -> list[str]:
        """To whom it was."""
        return [address for envelope in self.taken for address in envelope.rcpt_tos]

    async def start(self) -> None:
        """Serve from here on."""
        loop = asyncio.get_running_loop()
        tls = self.options.pop("tls", None)
        self._server = await loop.create_server(self._session, "127.0.0.1", self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """As when the process is killed."""
        if self._server is not None:
            self._server.close()
        for transport in self._open:
            transport.abort()
        self._open.clear()

    def _session(self) -> SMTP:
        return _Session(self)

    def _answer(self, command: str, usual: str) -> str:
        queue = self.answers.get(command)
        return queue.pop(0) if queue else usual

    # -- what aiosmtpd calls

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._answer("RCPT", "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # as above
        if self.dies:
            server.transport.abort()
        if self.hangs:
            await asyncio.Event().wait()
        answer = self._answer("DATA", "250 OK")
        if answer.startswith("250"):
            self.taken.append(envelope)
        return answer

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        """Only the postman may."""
        assert isinstance(data, LoginPassword)
        self.logged_in.append(data.login.decode())
        return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()))


class _Session(SMTP):
    """A session that the server can cut off."""

    def __init__(self, post: Post) -> None:
        super().__init__(post, hostname="mail.test", loop=asyncio.get_running_loop(), **post.options)
        self._post = post

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._post._open.add(transport)
        super().connection_made(transport)


def parsed(content: Any) -> EmailMessage:
    """A message as a mail program reads it."""
    found = email.message_from_bytes(content, policy=SMTPUTF8)
    assert isinstance(found, EmailMessage)
    return found


def server_tls() -> ssl.SSLContext:
    """What the server shows."""
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(CERTIFICATE)
    return found


def client_tls() -> ssl.SSLContext:
    """What a client needs to trust it."""
    return ssl.create_default_context(cafile=str(CERTIFICATE))


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Post]:
    """A server with some of aiosmtpd's options; with `tls` it speaks TLS from the first byte."""
    found = Post()
    found.options = options
    await found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    """A server that takes everything, in the open."""
    async with serving() as found:
        yield found


def words(messages: Iterable[EmailMessage], subtype: str = "plain") -> list[str]:
    """What each message says."""
    bodies = [body for found in messages if (body := found.get_body((subtype,))) is not None]
    return [body.get_content().replace("\r\n", "\n") for body in bodies]
