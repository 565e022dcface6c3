"""Mail of a whole system: it goes out once, also after an outage of the mail server, which holds up nothing else."""

from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from devconnect.keys import id_secret
from devconnect.links import Links
from devconnect.ports.clock import SystemClock
from devconnect.stack import ports
from tests.contract.smtp_fixtures import parsed, words
from tests.e2e.people import Person, join
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.timeout(300)

NAMES = [f"Person{number}" for number in range(12)]


class Postman:
    """Keeps what comes."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's
        self.messages.append(parsed(envelope.content))
        return "250 OK"

    def to(self, person: Person) -> list[EmailMessage]:
        return [message for message in list(self.messages) if message["To"] == person.email]


@pytest.fixture(scope="module")
def port() -> int:
    return ports.pick()


@pytest.fixture(scope="module")
def post_office(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[System]:
    """A system whose mail server isn't there yet."""
    with System(tmp_path_factory.mktemp("post"), SMTP_URL=f"smtp://127.0.0.1:{port}?starttls=never").running() as found:
        yield found


def is_welcome(body: Any) -> bool:
    return [item["kind"] for item in body["items"]] == ["welcome"]


def test_an_outage_of_the_mail_server_delays_mail_and_nothing_else(post_office: System, port: int) -> None:
    """With a dozen people every partition has one whose mail waits."""
    people = join(post_office, *NAMES)
    wait_until(
        lambda: 'devconnect_batch_retries_total{agent="send-mail"}' in post_office.metrics("notifications"),
        PATIENCE,
        "mail waits",
    )
    people += join(post_office, *NAMES)
    for person in people:
        person.sees("/v1/me/notifications", is_welcome, "a welcome in the list")

    postman = Postman()
    controller = Controller(postman, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        for person in people:
            wait_until(lambda person=person: postman.to(person), PATIENCE, "the mail")
        old = post_office.kill("notifications")
        post_office.restarted("notifications", old)
        [late] = join(post_office, "Late")
        wait_until(lambda: postman.to(late), PATIENCE, "the mail of who came last")
        for person in people:
            [message] = postman.to(person)
            [text] = words([message])
            token = text.partition(f"{post_office.url}/verify-email#token=")[2].split()[0]
            link = Links(id_secret(post_office.settings)).read("verify-email", token, SystemClock().now_ms())
            assert link is not None
            assert (link.user, link.email) == (person.user, person.email)
    finally:
        controller.stop()


def test_without_a_server_mails_are_files(system: System) -> None:
    [person] = join(system, "Ada")
    folder = system.data_dir / "mail"

    def mine() -> list[str]:
        return [file.name for file in folder.glob("*.eml") if person.email in file.read_text()]

    wait_until(mine, PATIENCE, "the mail in a file")
    assert "SMTP_URL isn't set: mails go to nobody" in system.output()
