"""ports.mail.Mailer by SMTP, a connection for each mail; the only place that names the client and its errors."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiosmtplib
from aiosmtplib import SMTP

from devconnect.adapters.smtp.mime import message, recipient
from devconnect.mail.server import Sender, Server
from devconnect.ports.mail import Mail, PutOffError, RefusedMailError
from devconnect.ports.truth import UnavailableError

#: Mails under way at once.
AT_ONCE = 8
#: Seconds that the server has to take its leave.
LEAVE_SECONDS = 1.0
#: Characters of a server's answer that are told.
ANSWER_MAX = 300
#: The server goes away: a code for any command, which says nothing of the mail.
GOING = 421


class SmtpMailer:
    """Sends by one server, each mail within so many seconds.

    What the server says is told without the recipient. `tls` is for tests, which have a certificate of their own.
    """

    def __init__(
        self, server: Server, sender: Sender, *, within: float = 20.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._server = server
        self._sender = sender
        self._within = within
        self._tls = tls or ssl.create_default_context()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def send(self, mail: Mail) -> None:
        """Returns when the server has taken the mail. Raises as the port says."""
        to = recipient(mail.to)
        data = message(mail, self._sender, to)
        async with self._slots, self._connected(mail.to) as client:
            utf8 = self._utf8(client, to)
            try:
                await client.sendmail(self._sender.address, [to], data, mail_options=utf8)
            except aiosmtplib.SMTPRecipientsRefused as error:
                answer = error.recipients[0]
                raise _verdict(answer.code, f"the recipient is refused: {_said(answer, mail.to, to)}") from None
            except aiosmtplib.SMTPDataError as error:
                why = f"the message is refused: {_said(error, mail.to, to)}"
                raise RefusedMailError(why) if error.code >= 500 else UnavailableError(why) from None
            except aiosmtplib.SMTPSenderRefused as error:
                why = f"the sender is refused: {_said(error, mail.to, to)}"
                # Of plain addresses it is MAIL_FROM that is wrong, whatever the mail.
                raise RefusedMailError(why) if utf8 and error.code >= 500 else UnavailableError(why) from None
            except ValueError:
                raise RefusedMailError("the address can't be said in SMTP") from None

    @asynccontextmanager
    async def _connected(self, address: str) -> AsyncIterator[SMTP]:
        """A client that may send; whatever else fails in here, it is the server or the way to it, and Unavailable."""
        where = f"the mail server {self._server.host}:{self._server.port}"
        client = SMTP(
            hostname=self._server.host,
            port=self._server.port,
            use_tls=self._server.tls,
            start_tls=False,
            tls_context=self._tls,
            timeout=self._within,
        )
        try:
            async with asyncio.timeout(self._within):
                await client.connect()
                await self._greet(client)
                yield client
        except TimeoutError:
            raise UnavailableError(f"{where} didn't answer within {self._within:g} s") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise UnavailableError(f"{where}: {type(error).__name__}: {_said(error, address)}") from None
        else:
            await _leave(client)
        finally:
            client.close()

    async def _greet(self, client: SMTP) -> None:
        """Encrypt and log in, as the settings say."""
        server = self._server
        encrypted = server.tls
        await client.ehlo()
        if not server.tls and server.starttls != "never":
            encrypted = client.supports_extension("starttls")
            if encrypted:
                await client.starttls(server_hostname=server.host)
                await client.ehlo()
            elif server.starttls == "required":
                raise UnavailableError(f"{server.host} offers no STARTTLS, which SMTP_URL requires")
        if server.user:
            if not encrypted and server.starttls != "never":
                raise UnavailableError(f"{server.host} offers no STARTTLS: the password isn't told to it in the open")
            await client.login(server.user, server.password)

    def _utf8(self, client: SMTP, to: str) -> list[str]:
        """What must be said of an address that isn't ASCII; RefusedMailError when the server can't have it."""
        if to.isascii():
            return []
        if not client.supports_extension("smtputf8"):
            raise RefusedMailError("the address isn't ASCII, and the server offers no SMTPUTF8")
        return ["SMTPUTF8", "BODY=8BITMIME"]


def _verdict(code: int, why: str) -> Exception:
    if code == GOING:
        return UnavailableError(why)
    return RefusedMailError(why) if code >= 500 else PutOffError(why)


def _said(error: Exception, *secret: str) -> str:
    """What went wrong, on one line, without these addresses."""
    code, text = getattr(error, "code", ""), getattr(error, "message", str(error))
    said = " ".join(f"{code} {text}".split())[:ANSWER_MAX]
    for address in secret:
        said = re.sub(re.escape(address), "…", said, flags=re.IGNORECASE)
    return said


async def _leave(client: SMTP) -> None:
    """The mail is taken: how the server says goodbye changes nothing."""
    with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(LEAVE_SECONDS):
            await client.quit()
