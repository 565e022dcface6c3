"""From an event to a mail on the real database and a real SMTP server, whichever of them is down meanwhile."""

from typing import Any

import msgspec
import pytest

from agents.mail import SendMail
from agents.notifications import DecideNotifications
from agents.processing import Slice
from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.deliveries import RANKS, MongoDeliveries
from devconnect.adapters.mongo.layout import ensure_indexes
from devconnect.adapters.mongo.mails import MongoSentMails
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.smtp.client import SmtpMailer
from devconnect.domain.mail import HOUR_MS
from devconnect.domain.preferences import switched
from devconnect.events import facts as f
from devconnect.events.topics import MAIL_REQUESTS, USER_EVENTS, mail_requests
from devconnect.links import Links
from devconnect.mail.compose import Composer
from devconnect.mail.server import Sender, parse_server
from devconnect.ports.truth import UnavailableError
from tests.contract.mongo_fixtures import (
    NOON,
    Failing,
    Server,
    a_user,
    db,
    mongo_server,
    opened,
    own_server,
    timed,
)
from tests.contract.smtp_fixtures import Post, post, words
from tests.delivery_fakes import MemoryOccasions
from tests.fakes import ManualClock, MemoryMetrics, MemoryPublisher, MemoryRecord, MemoryTruth

__all__ = ["db", "mongo_server", "own_server", "post"]

LINKS = Links("s" * 48)
KEY = b"k" * 32


def sending(db: Database, post: Post, *, notes: Database | None = None) -> SendMail:
    return SendMail(
        mailer=SmtpMailer(
            parse_server(f"smtp://localhost:{post.port}?starttls=never"), Sender("", "us@example.org"), within=5.0
        ),
        sent=MongoSentMails(notes or db, KEY),
        truth=MongoTruth(db),
        composer=Composer(LINKS, "https://devconnect.example"),
        clock=ManualClock(NOON),
        metrics=MemoryMetrics(),
        deliveries=MongoDeliveries(db),
    )


async def requested(*events: f.AnyEvent) -> list[Slice[f.MailRequested]]:
    """What these events bring to `mail-requests`, as its agent gets it."""
    publisher = MemoryPublisher()
    records = [MemoryRecord(0, None, None)] * len(events)
    step = DecideNotifications(USER_EVENTS, publisher, MemoryTruth(), MemoryOccasions())
    await step.apply([Slice(USER_EVENTS.name, 0, records, events)])
    found = [mail_requests.decode(record.value) for record in publisher.logs[MAIL_REQUESTS.name, 0]]
    return [Slice(MAIL_REQUESTS.name, 0, [MemoryRecord(0, None, None)] * len(found), found)]


def signed_up(user: str, command: str = "c") -> f.EmailVerificationRequested:
    """What a sign-up brings about besides the account."""
    place: dict[str, Any] = {"id": f"{command}-{user}.1", "seq": 257, "at": NOON - 1, "user": user}
    ticket = {"ticket": f"{command}-{user}", "expires_at": NOON - 1 + 72 * HOUR_MS}
    return f.EmailVerificationRequested(**place, **ticket, email=a_user(user).email)


@pytest.fixture
async def asked() -> list[Slice[f.MailRequested]]:
    """Ada and Bob have signed up."""
    return await requested(signed_up("ada"), signed_up("bob"))


async def test_a_sign_up_ends_in_a_mail_with_a_link_that_is_good(db: Database, post: Post) -> None:
    await MongoTruth(db).save([a_user("ada")])
    await sending(db, post).apply(await requested(signed_up("ada")))
    assert post.recipients == ["ada@example.org"]
    [text] = words(post.messages)
    token = text.partition("https://devconnect.example/verify-email#token=")[2].split()[0]
    link = LINKS.read("verify-email", token, NOON)
    assert link is not None
    assert (link.user, link.ticket, link.email) == ("ada", "c-ada", "ada@example.org")
    assert LINKS.read("verify-email", token, NOON - 1 + 72 * HOUR_MS) is None


async def test_a_changed_password_is_told_to_the_address_in_the_database(db: Database, post: Post) -> None:
    await MongoTruth(db).save([a_user("ada")])
    await sending(db, post).apply(await requested(f.PasswordChanged(id="c.0", seq=1, at=NOON, user="ada")))
    assert post.recipients == ["ada@example.org"]
    assert [message["Subject"] for message in post.messages] == ["Your password was changed – DevConnect"]


async def test_a_replay_sends_nothing_and_what_is_kept_names_nobody(
    db: Database, post: Post, asked: list[Slice[f.MailRequested]]
) -> None:
    for _ in range(3):
        await sending(db, post).apply(asked)
    assert sorted(post.recipients) == ["ada@example.org", "bob@example.org"]
    kept = await db[layout.MAILS].find().to_list(None)
    assert sorted(fields["_id"] for fields in kept) == ["c-ada.1-verify_email", "c-bob.1-verify_email"]
    assert "example.org" not in str(kept)


async def test_a_mail_that_the_database_could_not_note_is_sent_once(
    db: Database, post: Post, asked: list[Slice[f.MailRequested]]
) -> None:
    broken: Any = FailingNotes(db)
    step = sending(db, post, notes=broken)
    with pytest.raises(UnavailableError):
        await step.apply(asked)
    assert post.recipients == ["ada@example.org"]
    broken.mended = True
    await step.apply(asked)
    assert post.recipients == ["ada@example.org", "bob@example.org"]


async def test_a_mail_server_that_is_down_costs_no_mail_and_doubles_none(
    db: Database, post: Post, asked: list[Slice[f.MailRequested]]
) -> None:
    step = sending(db, post)
    post.stop()
    with pytest.raises(UnavailableError):
        await step.apply(asked)
    await post.start()
    post.answers["DATA"] = ["250 OK", "451 later"]
    with pytest.raises(UnavailableError):
        await step.apply(asked)
    await step.apply(asked)
    assert post.recipients == ["ada@example.org", "bob@example.org"]


async def test_without_the_database_nothing_is_sent(
    own_server: Server, post: Post, asked: list[Slice[f.MailRequested]]
) -> None:
    async with opened(own_server.url, "test", selection_timeout=0.3) as db:
        await ensure_indexes(db)
        step = sending(db, post)
        own_server.kill()
        error, _ = await timed(step.apply(asked))
        assert isinstance(error, UnavailableError)
        assert post.taken == []
        own_server.start()
        await step.apply(asked)
    assert post.recipients == ["ada@example.org", "bob@example.org"]


async def test_mails_of_one_kind_to_one_address_are_counted_since_a_time(db: Database) -> None:
    notes = MongoSentMails(db, KEY)
    for number in range(4):
        await notes.note(f"m{number}", "verify_email", "ada@example.org", NOON + number)
    await notes.note("other kind", "reset_password", "ada@example.org", NOON)
    await notes.note("other person", "verify_email", "ada@example.org.uk", NOON)
    await notes.note("m3", "verify_email", "ada@example.org", NOON + 999)
    assert await notes.recent("verify_email", "ada@example.org", NOON, 10) == 4
    assert await notes.recent("verify_email", "ada@example.org", NOON + 2, 10) == 2
    assert await notes.recent("verify_email", "ada@example.org", NOON + 4, 10) == 0
    assert await notes.recent("verify_email", "ada@example.org", NOON, 3) == 3
    assert await notes.recent("verify_email", "eve@example.org", NOON, 3) == 0
    assert await notes.sent(["m1", "m9"]) == {"m1"}
    assert await notes.sent([]) == set()


async def test_a_mail_that_tells_of_something_goes_to_a_proven_address_until_one_has_had_enough(
    db: Database, post: Post
) -> None:
    def asked(*names: str) -> list[Slice[f.MailRequested]]:
        usual: dict[str, Any] = {"kind": "message_received", "to": "", "at": NOON, "about": {"user": "bob"}}
        found = [f.MailRequested(id=f"{n}{i}", user=n, notification="n", **usual) for i, n in enumerate(names)]
        return [Slice(MAIL_REQUESTS.name, 0, [MemoryRecord(0, None, None)] * len(found), found)]

    ada, bob = a_user("ada"), a_user("bob")
    on = switched(ada.notification_preferences, "message_received", "email", on=True)
    proven = {name: getattr(ada, name) for name in type(ada).__struct_fields__} | {
        "email_verified": True,
        "notification_preferences": on,
    }
    queued = {"state": "queued", "rank": RANKS["queued"]}
    await db[layout.DELIVERIES].insert_many([{"_id": name, **queued} for name in ("ada0", "bob1", "ada0x")])
    await MongoTruth(db).save([type(ada)(**proven), type(bob)(**proven | {"id": "bob", "email_verified": False})])
    await sending(db, post).apply(asked("ada", "bob"))
    assert post.recipients == ["ada@example.org"]
    token = post.messages[0]["List-Unsubscribe"].partition("token=")[2][:-1]
    link = LINKS.read("unsubscribe", token, NOON)
    assert link is not None
    assert (link.user, link.ticket) == ("ada", "message_received")
    off = switched(ada.notification_preferences, "message_received", "email", on=False)
    await MongoTruth(db).save([type(ada)(**proven | {"seq": ada.seq + 1, "notification_preferences": off})])
    later = asked("ada")
    later[0].values[0] = msgspec.structs.replace(later[0].values[0], id="ada0x")
    await sending(db, post).apply(later)
    assert post.recipients == ["ada@example.org"]
    states = {fields["_id"]: fields["state"] for fields in await db[layout.DELIVERIES].find().to_list(None)}
    assert states == {"ada0": "sent", "bob1": "skipped", "ada0x": "skipped"}


class FailingNotes(Failing):
    """A database that can't note a mail until it is mended, and can be asked."""

    def __init__(self, db: Database) -> None:
        super().__init__(db, layout.MAILS, UnavailableError("down"))
        self.mended = False

    def find(self, *args: Any, **more: Any) -> Any:
        return self._db[layout.MAILS].find(*args, **more)

    async def insert_many(self, *args: Any, **more: Any) -> Any:
        if not self.mended:
            raise self._error
        return await self._db[layout.MAILS].insert_many(*args, **more)
