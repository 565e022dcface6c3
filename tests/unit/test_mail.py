"""Who is written to and of what; and that a mail goes out once, in time, and to nobody who shouldn't have it."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings

from agents.notifications import DecideNotifications
from agents.processing import Slice
from devconnect.domain import accounts, mail as rules
from devconnect.domain.mail import EMAIL_CHANGED, HOUR_MS, PASSWORD_CHANGED, RESET_PASSWORD, VERIFY_EMAIL
from devconnect.domain.model import User
from devconnect.events import commands as c, facts as f
from devconnect.events.base import Event
from devconnect.events.topics import MAIL_REQUESTS, USER_EVENTS, mail_requests
from devconnect.links import Link, Links
from devconnect.mail.compose import KINDS, Composer
from devconnect.mail.server import Sender, Server, parse_sender, parse_server
from tests.delivery_fakes import MemoryOccasions
from tests.fakes import MemoryPublisher, MemoryRecord, MemoryTruth
from tests.property.test_codec_round_trip import any_of

GOLDEN = Path(__file__).with_name("golden_mails")
AT = 1_700_000_000_000
SITE = "https://devconnect.example"
LINKS = Links("s" * 48)
COMPOSER = Composer(LINKS, SITE)
ADA = "a" * 32
PLACE: dict[str, Any] = {"id": "c" * 32 + ".0", "seq": 256, "at": AT, "user": ADA}
PROFILE = f.Profile(name="Ada <b>& Co</b>")

#: Each event that asks for a mail: its kind, whom it goes to, its ticket, and how long its link is good.
ASKED: list[tuple[Event, tuple[str, str, str, int]]] = [
    (
        f.EmailVerificationRequested(**PLACE, ticket="t", email="new@example.org", expires_at=AT + 5),
        (VERIFY_EMAIL, "new@example.org", "t", AT + 5),
    ),
    (
        f.PasswordResetRequested(**PLACE, ticket="t", email="ada@example.org", expires_at=AT + 5),
        (RESET_PASSWORD, "ada@example.org", "t", AT + 5),
    ),
    (f.PasswordChanged(**PLACE), (PASSWORD_CHANGED, "", "", 0)),
    (
        f.EmailChanged(**PLACE, email="new@example.org", before="ada@example.org"),
        (EMAIL_CHANGED, "ada@example.org", "", 0),
    ),
]
ASKING = {type(event) for event, _ in ASKED}


def a_user(**fields: Any) -> User:
    usual = {"tier": "free", "role": "member", "created_at": AT, "updated_at": AT, "email_verified": True}
    return User(**{"id": ADA, "seq": 1, "email": "ada@example.org", "profile": PROFILE, **usual, **fields})


def a_request(kind: str = VERIFY_EMAIL, **fields: Any) -> f.MailRequested:
    usual = {"id": f"{'c' * 32}.0-{kind}", "user": ADA, "to": "ada@example.org", "at": AT}
    link = {"ticket": "t" * 32, "expires_at": AT + HOUR_MS} if KINDS[kind].purpose else {}
    told = {"about": {"message_received": "3", "connection_requested": "1"}} if kind == "digest" else {}
    return f.MailRequested(**{"kind": kind, **usual, **link, **told, **fields})


# -- who is written to, and of what


@pytest.mark.parametrize(("event", "asked"), ASKED, ids=lambda value: type(value).__name__)
def test_what_an_event_asks_for(event: f.UserEvent, asked: tuple[str, str, str, int]) -> None:
    request = rules.decide(event)
    assert request is not None
    assert (request.kind, request.to, request.ticket, request.expires_at) == asked
    assert (request.id, request.user, request.key, request.at) == (f"{event.id}-{asked[0]}", ADA, ADA, AT)
    assert request.kind in KINDS
    assert bool(request.ticket) == (KINDS[request.kind].purpose is not None)


def test_a_sign_up_asks_for_one_mail_whatever_events_it_leads_to() -> None:
    command = c.SignUp(id="c", actor=ADA, at=AT, user=ADA, email="ada@example.org", password_hash="", name="Ada")
    verdict = accounts.decide(command, 0, {}, {command.email: ADA})
    [request] = [found for event in verdict.events if (found := rules.decide(event))]
    assert (request.kind, request.to, request.ticket) == (VERIFY_EMAIL, command.email, command.id)


@pytest.mark.parametrize("kind", [kind for kind in get_args(f.AnyEvent) if kind not in ASKING])
def test_no_other_event_asks_for_mail(kind: type[Event]) -> None:
    @settings(max_examples=5)
    @given(any_of(kind))
    def check(event: Event) -> None:
        assert rules.decide(event) is None

    check()


async def test_requests_go_to_their_topic_by_recipient_and_are_the_same_in_a_replay() -> None:
    publisher = MemoryPublisher()
    step = DecideNotifications(USER_EVENTS, publisher, MemoryTruth(), MemoryOccasions())
    events: list[Any] = [event for event, _ in ASKED]
    for _ in range(2):
        await step.apply([Slice(USER_EVENTS.name, 0, [MemoryRecord(0, None, None)] * len(events), events)])
    records = publisher.logs[MAIL_REQUESTS.name, 0]
    requests = [mail_requests.decode(record.value) for record in records]
    assert [request.kind for request in requests[: len(ASKED)]] == [asked[0] for _, asked in ASKED]
    assert requests[len(ASKED) :] == requests[: len(ASKED)]
    assert {record.key for record in records} == {ADA.encode()}


async def test_no_link_is_in_kafka() -> None:
    for event, _ in ASKED:
        request = rules.decide(event)
        assert request is not None
        assert "token" not in mail_requests.encode(request).decode()


def test_nobody_is_greeted_by_a_name_that_somebody_else_may_have_chosen() -> None:
    assert rules.greeting("ada@example.org", a_user()) == PROFILE.name
    assert rules.greeting("ada@example.org", a_user(email_verified=False)) == ""
    assert rules.greeting("new@example.org", a_user()) == ""
    assert rules.greeting("ada@example.org", None) == ""


def test_whom_a_mail_goes_to() -> None:
    notice = a_request(PASSWORD_CHANGED, to="")
    assert rules.recipient(notice, a_user()) == "ada@example.org"
    assert rules.recipient(notice, None) == ""
    assert rules.recipient(a_request(to="new@example.org"), a_user()) == "new@example.org"
    assert rules.recipient(a_request(to="new@example.org"), None) == "new@example.org"
    assert rules.recipient(a_request(), a_user(deleted=True)) == ""


# -- how it is worded


@pytest.mark.parametrize("kind", KINDS)
def test_the_words_of_each_mail(kind: str) -> None:
    mail = COMPOSER.compose(a_request(kind), to="ada@example.org", name=PROFILE.name, at=AT)
    assert mail.text == (GOLDEN / f"{kind}.txt").read_text()
    assert mail.html == (GOLDEN / f"{kind}.html").read_text()
    assert max(len(line) for line in mail.text.splitlines() if "token=" not in line) <= 78
    assert (mail.to, mail.at) == ("ada@example.org", AT)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].purpose])
def test_the_link_of_a_mail_is_good(kind: str) -> None:
    purpose = KINDS[kind].purpose
    assert purpose is not None
    mail = COMPOSER.compose(a_request(kind), to="ada@example.org", name="", at=AT)
    [link] = re.findall(r"https://\S+token\S+", mail.text)
    assert f'href="{link}"' in mail.html
    page, _, token = link.partition("#token=")
    assert page == f"{SITE}/{purpose}"
    assert LINKS.read(purpose, token, AT) == Link(
        purpose=purpose, user=ADA, ticket="t" * 32, email="ada@example.org", expires_at=AT + HOUR_MS
    )


def test_a_name_is_no_markup() -> None:
    name = '<img src=x onerror="alert(1)">'
    mail = COMPOSER.compose(a_request(PASSWORD_CHANGED), to="ada@example.org", name=name, at=AT)
    assert "<img" not in mail.html
    assert "Hello &lt;img src=x onerror=&#34;alert(1)&#34;&gt;," in mail.html
    assert name not in mail.subject


def test_a_kind_that_nobody_has_worded_is_refused() -> None:
    with pytest.raises(ValueError, match="no mail is called party"):
        COMPOSER.compose(f.MailRequested(id="i", kind="party", user=ADA, to="a@b.c", at=AT), to="a@b.c", name="", at=AT)


# -- the settings in their parts


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://host", Server(host="host", port=587, tls=False, starttls="required")),
        ("smtp://host:25?starttls=never", Server(host="host", port=25, tls=False, starttls="never")),
        ("smtps://host/", Server(host="host", port=465, tls=True, starttls="required")),
        (
            "smtp://me%40here:a%3Ab%2F@[::1]:2525?starttls=auto",
            Server(host="::1", port=2525, tls=False, starttls="auto", user="me@here", password="a:b/"),
        ),
    ],
)
def test_the_parts_of_an_smtp_url(url: str, server: Server) -> None:
    assert parse_server(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "host",
        "http://host",
        "smtp://",
        "smtp://host:port",
        "smtp://host/path",
        "smtp://me@host",
        "smtp://:x@host",
        "smtp://host?tls=required",
        "smtp://host?starttls",
        "smtp://host?starttls=",
        "smtp://host?starttls=auto&starttls=never",
        "smtp://host#x",
    ],
)
def test_what_is_no_smtp_url(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_server(url)


def test_a_sender_with_and_without_a_name() -> None:
    assert parse_sender("Dev Connect <mail@example.org>") == Sender("Dev Connect", "mail@example.org")
    assert parse_sender("mail@example.org") == Sender("", "mail@example.org")


@pytest.mark.parametrize(
    "text", ["", "mail", "a <b> <c@d>", "a@b, c@d", "a <b@c>\n", "a\r\nBcc: x <b@c>", "<a@b", "a b@c"]
)
def test_what_is_no_sender(text: str) -> None:
    with pytest.raises(ValueError, match="no sender"):
        parse_sender(text)
