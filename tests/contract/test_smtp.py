"""Mail by SMTP, on a real server: what arrives, what is waited for, what is given up, and how soon."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devconnect.adapters.smtp.client import SmtpMailer
from devconnect.adapters.smtp.files import FileMailer
from devconnect.mail.server import Sender, parse_server
from devconnect.ports.mail import Mail, PutOffError, RefusedMailError
from devconnect.ports.truth import UnavailableError
from tests.contract.smtp_fixtures import (
    PASSWORD,
    USER,
    Post,
    client_tls,
    parsed,
    post,
    server_tls,
    serving,
    words,
)

__all__ = ["post"]

SENDER = Sender("Dev Connect", "devconnect@sender.test")
MAIL = Mail(
    id="0123456789abcdef.0-verify_email",
    to="ada@example.org",
    subject="Confirm – it",
    text="Grüße an Ada\n.\nFrom here on\n" + "x" * 2000 + "\n",
    html="<p>Grüße an Ada</p>\n",
    at=1_700_000_000_000,
)


def mailer(post: Post, url: str = "smtp://localhost:{port}?starttls=never", **more: Any) -> SmtpMailer:
    return SmtpMailer(parse_server(url.format(port=post.port)), SENDER, **{"tls": client_tls(), "within": 10.0, **more})


def to(address: str) -> Mail:
    return Mail(id=MAIL.id, to=address, subject=MAIL.subject, text=MAIL.text, html=MAIL.html, at=MAIL.at)


# -- what arrives


async def test_a_mail_arrives_whole(post: Post) -> None:
    await mailer(post).send(MAIL)
    [envelope], [message] = post.taken, post.messages
    assert (envelope.mail_from, envelope.rcpt_tos) == (SENDER.address, [MAIL.to])
    assert (message["From"], message["To"]) == ("Dev Connect <devconnect@sender.test>", MAIL.to)
    assert message["Subject"] == MAIL.subject
    assert message["Message-ID"] == f"<{MAIL.id}@sender.test>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.timestamp() == MAIL.at / 1000
    assert (words([message]), words([message], "html")) == ([MAIL.text], [MAIL.html])
    assert envelope.content.isascii()
    assert max(map(len, envelope.content.splitlines())) <= 78


async def test_a_mail_that_is_sent_twice_is_the_same_one(post: Post) -> None:
    sender = mailer(post)
    await sender.send(MAIL)
    await sender.send(MAIL)
    assert post.taken[0].content == post.taken[1].content


async def test_many_mails_at_once_arrive_once_each(post: Post) -> None:
    sender = mailer(post)
    addresses = [f"person{number}@example.org" for number in range(30)]
    await asyncio.gather(*(sender.send(to(address)) for address in addresses))
    assert sorted(post.recipients) == sorted(addresses)


# -- encryption and log-in


@pytest.mark.parametrize("mode", ["required", "auto"])
async def test_starttls_is_used_where_it_is_offered_and_the_postman_logs_in(mode: str) -> None:
    options: dict[str, Any] = {"tls_context": server_tls(), "require_starttls": True, "auth_required": True}
    async with serving(**options) as post:
        post.options["authenticator"] = post.authenticate
        await mailer(post, f"smtp://{USER}:{PASSWORD.replace(' ', '%20')}@localhost:{{port}}?starttls={mode}").send(
            MAIL
        )
        assert (post.recipients, post.logged_in) == ([MAIL.to], [USER])


async def test_tls_from_the_first_byte() -> None:
    async with serving(tls=server_tls()) as post:
        await mailer(post, "smtps://localhost:{port}").send(MAIL)
        assert post.recipients == [MAIL.to]


async def test_a_certificate_that_nobody_trusts_is_waited_for_and_gets_no_password() -> None:
    async with serving(tls_context=server_tls()) as post:
        post.options["authenticator"] = post.authenticate
        sender = mailer(post, f"smtp://{USER}:x@localhost:{{port}}", tls=ssl.create_default_context())
        with pytest.raises(UnavailableError, match=r"(?i)certificate"):
            await sender.send(MAIL)
        assert (post.taken, post.logged_in) == ([], [])


async def test_no_starttls_where_it_is_required_is_waited_for(post: Post) -> None:
    with pytest.raises(UnavailableError, match="offers no STARTTLS, which SMTP_URL requires"):
        await mailer(post, "smtp://localhost:{port}").send(MAIL)
    assert post.taken == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_no_password_is_told_in_the_open_unless_that_is_asked_for() -> None:
    async with serving(auth_require_tls=False, auth_required=True) as post:
        post.options["authenticator"] = post.authenticate
        secret = f"smtp://{USER}:{PASSWORD.replace(' ', '%20')}@localhost:{{port}}"
        with pytest.raises(UnavailableError, match="in the open"):
            await mailer(post, f"{secret}?starttls=auto").send(MAIL)
        assert post.logged_in == []
        await mailer(post, f"{secret}?starttls=never").send(MAIL)
        assert (post.recipients, post.logged_in) == ([MAIL.to], [USER])


async def test_a_wrong_password_is_the_settings_fault_and_no_mail_s() -> None:
    async with serving(tls_context=server_tls(), auth_required=True) as post:
        post.options["authenticator"] = post.authenticate
        with pytest.raises(UnavailableError) as told:
            await mailer(post, f"smtp://{USER}:wrong-word@localhost:{{port}}").send(MAIL)
        assert "wrong-word" not in str(told.value)


# -- not now, and never


async def test_a_recipient_who_is_put_off_is_told_so_and_taken_later(post: Post) -> None:
    post.answers["RCPT"] = ["450 4.2.1 <ada@example.org>: come back"]
    with pytest.raises(PutOffError, match=r"450 4\.2\.1 <…>: come back"):
        await mailer(post).send(MAIL)
    await mailer(post).send(MAIL)
    assert post.recipients == [MAIL.to]


@pytest.mark.parametrize(("command", "answer"), [("DATA", "451 4.3.0 no disk"), ("RCPT", "421 4.3.2 going down")])
async def test_a_server_that_can_not_now_is_waited_for(post: Post, command: str, answer: str) -> None:
    post.answers[command] = [answer]
    with pytest.raises(UnavailableError) as told:
        await mailer(post).send(MAIL)
    assert not isinstance(told.value, PutOffError)
    await mailer(post).send(MAIL)
    assert post.recipients == [MAIL.to]


@pytest.mark.parametrize(("command", "what"), [("RCPT", "recipient"), ("DATA", "message")])
async def test_what_is_refused_for_ever_says_why_and_not_to_whom(post: Post, command: str, what: str) -> None:
    post.answers[command] = ["550 5.1.1 <ADA@example.org>: nobody here"]
    with pytest.raises(RefusedMailError) as told:
        await mailer(post).send(MAIL)
    assert str(told.value) == f"the {what} is refused: 550 5.1.1 <…>: nobody here"
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__


async def test_after_a_refusal_the_next_mail_goes_out(post: Post) -> None:
    sender = mailer(post)
    post.answers["RCPT"] = ["550 no"]
    with pytest.raises(RefusedMailError):
        await sender.send(MAIL)
    await sender.send(to("bob@example.org"))
    assert post.recipients == ["bob@example.org"]


# -- addresses of all kinds


@pytest.mark.parametrize(
    "address",
    ["a@b\r\nRCPT TO:<eve@example.org>", "a\nBcc: eve@example.org@b", "a b@example.org", "<a@b>", "a", "", "@b", "a@"],
)
async def test_what_is_no_address_reaches_nobody(post: Post, address: str) -> None:
    with pytest.raises(RefusedMailError):
        await mailer(post).send(to(address))
    assert post.taken == []


async def test_a_subject_can_not_bring_a_header_along(post: Post) -> None:
    with pytest.raises(RefusedMailError):
        await mailer(post).send(
            Mail(id="i", to=MAIL.to, subject="a\r\nBcc: eve@example.org", text="t", html="h", at=MAIL.at)
        )
    assert post.taken == []


async def test_a_domain_in_other_letters_is_written_in_ascii(post: Post) -> None:
    await mailer(post).send(to("ada@bücher.example"))
    assert post.recipients == ["ada@xn--bcher-kva.example"]


async def test_a_name_in_other_letters_goes_where_the_server_can_have_it(post: Post) -> None:
    with pytest.raises(RefusedMailError, match="offers no SMTPUTF8"):
        await mailer(post).send(to("jörg@example.org"))
    async with serving(enable_SMTPUTF8=True) as able:
        await mailer(able).send(to("jörg@example.org"))
        assert able.recipients == ["jörg@example.org"]
        assert able.messages[0]["To"] == "jörg@example.org"


# -- servers that hang, die or aren't there


async def test_nobody_there_is_waited_for_and_found_when_they_come(post: Post) -> None:
    post.stop()
    sender = mailer(post)
    with pytest.raises(UnavailableError, match=f"localhost:{post.port}"):
        await sender.send(MAIL)
    await post.start()
    await sender.send(MAIL)
    assert post.recipients == [MAIL.to]


@pytest.fixture
def quickly() -> Iterator[None]:
    """However the server behaves, the call comes to its end."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 30


@pytest.mark.usefixtures("quickly")
async def test_a_server_that_says_nothing_is_left_in_time() -> None:
    server = await asyncio.start_server(lambda *_: asyncio.Event().wait(), "127.0.0.1", 0)
    silent = Post()
    silent.port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(UnavailableError, match=r"didn't answer within 0.3 s"):
            await mailer(silent, within=0.3).send(MAIL)
    finally:
        server.close()


@pytest.mark.usefixtures("quickly")
async def test_a_server_that_is_slow_at_every_step_is_left_in_time() -> None:
    """Each answer comes within the bound, all of them together don't."""

    async def drawl(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        while await reader.readline():
            await asyncio.sleep(0.7)
            writer.write(b"250 mail.test\r\n")
        writer.close()

    server = await asyncio.start_server(drawl, "127.0.0.1", 0)
    slow = Post()
    slow.port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(UnavailableError, match=r"didn't answer within 1 s"):
            await mailer(slow, within=1.0).send(MAIL)
    finally:
        server.close()


@pytest.mark.usefixtures("quickly")
async def test_a_server_that_hangs_with_the_mail_in_hand_is_left_in_time(post: Post) -> None:
    post.hangs = True
    with pytest.raises(UnavailableError, match=r"didn't answer within 0.5 s"):
        await mailer(post, within=0.5).send(MAIL)
    post.hangs = False
    await mailer(post).send(MAIL)
    assert post.recipients == [MAIL.to]


async def test_a_server_that_dies_with_the_mail_in_hand_is_asked_again(post: Post) -> None:
    post.dies = True
    with pytest.raises(UnavailableError):
        await mailer(post).send(MAIL)
    post.dies = False
    await mailer(post).send(MAIL)
    assert [envelope.rcpt_tos for envelope in post.taken][-1] == [MAIL.to]


# -- without a server


async def test_without_a_server_a_mail_is_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    files = FileMailer(folder, SENDER)
    for _ in range(2):
        await files.send(MAIL)
    [file] = folder.iterdir()
    assert file.name == f"{MAIL.id}.eml"
    assert file.stat().st_mode & 0o777 == 0o600
    message = parsed(file.read_bytes())
    assert (message["To"], words([message])) == (MAIL.to, [MAIL.text])


async def test_a_folder_that_can_not_be_written_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("in the way")
    with pytest.raises(UnavailableError):
        await FileMailer(tmp_path / "mail", SENDER).send(MAIL)


async def test_a_link_to_unsubscribe_arrives_whole_and_only_where_there_is_one(post: Post) -> None:
    url = "https://devconnect.example/unsubscribe?token=" + "aB-_9" * 60
    fields = {name: getattr(MAIL, name) for name in Mail.__struct_fields__}
    sender = mailer(post)
    await sender.send(MAIL)
    await sender.send(Mail(**{**fields, "unsubscribe": url}))
    assert post.messages[0]["List-Unsubscribe"] is None
    assert post.messages[1]["List-Unsubscribe"] == f"<{url}>"
    assert post.messages[1]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    with pytest.raises(RefusedMailError):
        await sender.send(Mail(**{**fields, "unsubscribe": "https://a/\r\nBcc: eve@example.org"}))
