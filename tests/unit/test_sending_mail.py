"""The agent that sends mail: once, in time, in order, to nobody too often, and held up by no single recipient."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from agents import mail as agent
from agents.limiting import Limiter
from agents.mail import PATIENCE_MS, PAUSE_MS, SendMail
from agents.processing import Processor, Slice
from agents.retrying import RefusedError, Retry
from devconnect.domain.letters import Letter, Name
from devconnect.domain.limits import Limits
from devconnect.domain.mail import HOUR_MS, MOST_AN_HOUR, NEWS_MS, PASSWORD_CHANGED, RESET_PASSWORD, VERIFY_EMAIL
from devconnect.domain.model import ref_of
from devconnect.events.facts import MailRequested
from devconnect.events.topics import MAIL_REQUESTS, mail_requests
from devconnect.ports.mail import Mail, Mailer, PutOffError, RefusedMailError, SentMails
from devconnect.ports.truth import UnavailableError
from tests.delivery_fakes import MemoryAdvances, telling
from tests.fakes import (
    ManualClock,
    MemoryBatch,
    MemoryLetters,
    MemoryListings,
    MemoryMetrics,
    MemoryProjections,
    MemoryPublisher,
    MemoryRecord,
    MemoryRelations,
    MemoryTruth,
)
from tests.unit.test_mail import ADA, AT, COMPOSER, a_request, a_user


class MemoryMailer(Mailer):
    """Takes every mail, but for what an address or the next mails are to fail with."""

    def __init__(self) -> None:
        self.taken: list[Mail] = []
        self.tries = 0
        self.fails: dict[str, Exception] = {}
        self.errors: list[Exception] = []
        #: Set once a mail has come; and cleared for a server that takes its time.
        self.asked, self.quick = asyncio.Event(), asyncio.Event()
        self.quick.set()

    async def send(self, mail: Mail) -> None:
        self.tries += 1
        self.asked.set()
        if mail.to in self.fails:
            raise self.fails[mail.to]
        if self.errors:
            raise self.errors.pop(0)
        await self.quick.wait()
        self.taken.append(mail)

    @property
    def sent(self) -> list[str]:
        return [mail.id for mail in self.taken]


class MemorySentMails(SentMails):
    """What was sent, by id; `down` counts the calls that fail."""

    def __init__(self) -> None:
        self.notes: dict[str, tuple[str, str, int]] = {}
        self.down = 0

    async def sent(self, ids: Collection[str]) -> set[str]:
        return set(ids) & self.notes.keys()

    async def recent(self, kind: str, to: str, since: int, most: int) -> int:
        found = [at for of, address, at in self.notes.values() if (of, address) == (kind, to) and at >= since]
        return min(len(found), most)

    async def note(self, mail: str, kind: str, to: str, at: int) -> None:
        if self.down:
            self.down -= 1
            raise UnavailableError("the database is down")
        self.notes.setdefault(mail, (kind, to, at))


class Fixture:
    """A post and what it stands on."""

    def __init__(self) -> None:
        self.mailer, self.notes, self.truth = MemoryMailer(), MemorySentMails(), MemoryTruth()
        self.clock, self.metrics, self.publisher = ManualClock(AT), MemoryMetrics(), MemoryPublisher()
        self.deliveries = MemoryAdvances()
        self.step = self.post()
        self.know()

    def post(self) -> SendMail:
        """A process of its own on the same stores."""
        return SendMail(
            mailer=self.mailer,
            sent=self.notes,
            truth=self.truth,
            composer=COMPOSER,
            clock=self.clock,
            metrics=self.metrics,
            deliveries=self.deliveries,
        )

    def know(self, **fields: Any) -> None:
        user = a_user(**fields)
        self.truth.documents[ref_of(user)] = user

    async def apply(self, *requests: MailRequested, partitions: int = 1) -> None:
        parts = [
            Slice(
                MAIL_REQUESTS.name, number, [MemoryRecord(0, None, None)] * len(requests), requests[number::partitions]
            )
            for number in range(partitions)
        ]
        await self.step.apply(parts)

    def outcomes(self) -> dict[str, float]:
        return {key[2]: count for key, count in self.metrics.counts.items() if key[0] == "mails"}


@pytest.fixture
def given() -> Fixture:
    return Fixture()


def many(count: int, **fields: Any) -> list[MailRequested]:
    """Requests for as many mails, each to an address and for a user of its own."""
    return [
        a_request(**{"id": f"c{number}.0-x", "user": f"u{number}", "to": f"p{number}@example.org", **fields})
        for number in range(count)
    ]


# -- once


async def test_a_mail_is_sent_and_noted(given: Fixture) -> None:
    await given.apply(a_request())
    [mail] = given.mailer.taken
    assert (mail.to, mail.at, mail.subject) == ("ada@example.org", AT, "Confirm your e-mail address – DevConnect")
    assert "Ada" in mail.text
    assert given.notes.notes == {mail.id: (VERIFY_EMAIL, mail.to, AT)}
    assert given.outcomes() == {"sent": 1}


async def test_what_was_sent_is_not_sent_again_by_whomever(given: Fixture) -> None:
    await given.apply(a_request(), a_request())
    given.step = given.post()
    await given.apply(a_request())
    assert len(given.mailer.taken) == 1


async def test_a_mail_whose_note_fails_is_noted_later_and_not_sent_again(given: Fixture) -> None:
    given.notes.down = 2
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await given.apply(*many(2))
        assert given.mailer.sent == ["c0.0-x"]
    await given.apply(*many(2))
    assert given.mailer.sent == ["c0.0-x", "c1.0-x"]
    assert list(given.notes.notes) == ["c0.0-x", "c1.0-x"]


async def test_a_crash_between_a_mail_and_its_note_repeats_that_mail_alone(given: Fixture) -> None:
    given.notes.down = 1
    with pytest.raises(UnavailableError):
        await given.apply(*many(2))
    given.step = given.post()
    await given.apply(*many(2))
    assert given.mailer.sent == ["c0.0-x", "c0.0-x", "c1.0-x"]


async def test_a_worker_that_stops_lets_the_mail_in_hand_come_to_its_end(given: Fixture) -> None:
    given.mailer.quick.clear()
    work = asyncio.create_task(given.apply(*many(2)))
    await given.mailer.asked.wait()
    work.cancel()
    await asyncio.sleep(0)
    given.mailer.quick.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert given.mailer.sent == list(given.notes.notes) == ["c0.0-x"]


async def test_a_worker_that_stops_does_not_wait_for_a_server_that_hangs(
    given: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "FINISH_SECONDS", 0.01)
    given.mailer.quick.clear()
    work = asyncio.create_task(given.apply(*many(1)))
    await given.mailer.asked.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (given.mailer.taken, given.notes.notes) == ([], {})


# -- in time, to somebody, not too often


@pytest.mark.parametrize(
    ("kind", "last"), [(VERIFY_EMAIL, HOUR_MS), (RESET_PASSWORD, HOUR_MS), (PASSWORD_CHANGED, NEWS_MS)]
)
async def test_a_mail_that_is_too_late_is_not_sent(given: Fixture, kind: str, last: int) -> None:
    given.clock.now = AT + last
    await given.apply(a_request(kind))
    assert given.outcomes() == {"too_old": 1}
    given.clock.now -= 1
    await given.apply(a_request(kind))
    assert given.mailer.sent == [a_request(kind).id]


async def test_an_address_that_the_event_lacks_is_looked_up(given: Fixture) -> None:
    given.know(email="now@example.org")
    await given.apply(a_request(PASSWORD_CHANGED, to=""))
    assert [mail.to for mail in given.mailer.taken] == ["now@example.org"]


@pytest.mark.parametrize("kind", [VERIFY_EMAIL, PASSWORD_CHANGED])
async def test_who_is_gone_is_not_written_to(given: Fixture, kind: str) -> None:
    given.know(deleted=True, email="")
    await given.apply(a_request(kind))
    assert (given.mailer.taken, given.outcomes()) == ([], {"nobody": 1})


async def test_an_address_gets_so_many_mails_of_a_kind_within_an_hour(given: Fixture) -> None:
    long = {"to": "ada@example.org", "expires_at": AT + 3 * HOUR_MS}
    requests = many(MOST_AN_HOUR + 2, **long)
    await given.apply(*requests)
    assert len(given.mailer.taken) == MOST_AN_HOUR
    assert given.outcomes() == {"sent": MOST_AN_HOUR, "too_many": 2}
    await given.apply(*many(1, **{**long, "id": "other"}, kind=RESET_PASSWORD), a_request(id="b", to="bob@example.org"))
    assert given.mailer.sent[MOST_AN_HOUR:] == ["other", "b"]
    given.clock.now += HOUR_MS + 1
    await given.apply(a_request(id="later", expires_at=AT + 3 * HOUR_MS))
    assert given.mailer.sent[-1] == "later"


# -- servers and recipients that don't take it


async def test_a_server_that_is_down_is_waited_for_and_nothing_is_sent_twice(given: Fixture) -> None:
    given.mailer.errors = [UnavailableError("down")]
    with pytest.raises(UnavailableError):
        await given.apply(*many(4), partitions=2)
    await given.apply(*many(4), partitions=2)
    assert sorted(given.mailer.sent) == [f"c{number}.0-x" for number in range(4)]


async def test_who_is_put_off_holds_up_nobody_else_and_keeps_their_order(given: Fixture) -> None:
    first, second = a_request(id="1"), a_request(id="2", to="new@example.org")
    other = a_request(id="3", user="b", to="bob@example.org")
    given.mailer.fails["ada@example.org"] = PutOffError("450 later")
    with pytest.raises(PutOffError):
        await given.apply(first, second, other)
    assert given.mailer.sent == ["3"]
    given.mailer.fails.clear()
    given.clock.now += PAUSE_MS
    await given.apply(first, second, other)
    assert given.mailer.sent == ["3", "1", "2"]


async def test_who_is_put_off_is_asked_now_and_then_and_given_up_in_the_end(given: Fixture) -> None:
    given.mailer.fails["ada@example.org"] = PutOffError("450 later")
    while given.clock.now < AT + PATIENCE_MS:
        with pytest.raises(PutOffError):
            await given.apply(a_request())
        given.clock.now += PAUSE_MS // 5
    assert given.mailer.tries == PATIENCE_MS // PAUSE_MS
    with pytest.raises(RefusedMailError, match=r"put off for 30 s: 450 later"):
        await given.apply(a_request())


async def test_a_mail_that_is_refused_is_a_dead_letter_and_the_others_are_sent_once(given: Fixture) -> None:
    given.mailer.fails["p2@example.org"] = RefusedMailError("550 nobody here")
    limiter = Limiter(given.step.name, Limits(), MemoryLetters(given.publisher))
    process = Processor(given.step, given.publisher, given.metrics, given.clock, limiter)
    await process([MemoryBatch(MAIL_REQUESTS.name, 0, 7, [mail_requests.encode(each) for each in many(5)])])
    [letter] = given.publisher.letters
    assert (letter.agent, letter.offset) == ("send-mail", 9)
    assert letter.cause == "RefusedMailError: 550 nobody here"
    assert given.mailer.sent == [f"c{number}.0-x" for number in (0, 1, 3, 4)]


async def test_a_dead_letter_is_tried_again_and_sent_once(given: Fixture) -> None:
    stores = telling(given.truth), given.publisher, MemoryProjections(), MemoryListings(), MemoryRelations(given.truth)
    retry = Retry(*stores, given.step)
    value = mail_requests.encode(a_request())
    letter = Letter(
        name=Name(MAIL_REQUESTS.name, 3, 7, "send-mail"), cause="c", at=1, key=ADA.encode(), value=value, headers=()
    )
    given.mailer.fails["ada@example.org"] = RefusedMailError("550 nobody here")
    with pytest.raises(RefusedError, match="550 nobody here"):
        await retry(letter)
    given.mailer.fails.clear()
    for _ in range(2):
        await retry(letter)
    assert given.mailer.sent == [a_request().id]


async def test_no_address_is_logged(given: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    given.clock.now = AT + HOUR_MS
    await given.apply(a_request())
    assert "too_old" in caplog.text
    assert "ada" not in caplog.text
