"""Sends the mails that are asked for."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

from agents.processing import Slice
from devconnect.domain import mail as rules
from devconnect.domain.model import Ref, Snapshot, User
from devconnect.domain.preferences import wants
from devconnect.events.facts import MailRequested
from devconnect.events.topics import mail_requests
from devconnect.mail.compose import Composer
from devconnect.ports import metrics as m
from devconnect.ports.clock import Clock
from devconnect.ports.deliveries import Advance, Deliveries, Progress
from devconnect.ports.mail import Mailer, PutOffError, RefusedMailError, SentMails
from devconnect.ports.metrics import Metrics
from devconnect.ports.truth import Truth, UnavailableError

logger = logging.getLogger(__name__)

#: How long one recipient who is put off may hold up the others of a partition, and between tries. Milliseconds.
PATIENCE_MS = 30_000
PAUSE_MS = 5_000
#: Seconds that a mail under way has to come to its end when the worker's does.
FINISH_SECONDS = 5.0


class Note(NamedTuple):
    """A mail that was sent."""

    mail: str
    kind: str
    to: str
    at: int


class SendMail:
    """From `mail-requests` to a mail server: each mail once, but where a process ends between a mail and its note.

    Partitions side by side, the mails of one in order.
    """

    name = "send-mail"
    codec = mail_requests

    def __init__(
        self,
        *,
        mailer: Mailer,
        sent: SentMails,
        truth: Truth,
        composer: Composer,
        clock: Clock,
        metrics: Metrics,
        deliveries: Deliveries,
    ) -> None:
        self._mailer = mailer
        self._sent = sent
        self._truth = truth
        self._composer = composer
        self._clock = clock
        self._metrics = metrics
        self._deliveries = deliveries
        #: Sent, and the database doesn't know it yet.
        self._unnoted: dict[str, Note] = {}
        #: When recipients who are put off were tried first and last, by the mail's id.
        self._put_off: dict[str, tuple[int, int]] = {}
        #: Grows with each try, so that it can be seen that something is done.
        self.tries = 0

    async def apply(self, slices: Sequence[Slice[MailRequested]]) -> None:
        """Send what wasn't sent yet, and isn't too late."""
        for note in list(self._unnoted.values()):
            await self._note(note)
        requests = [request for part in slices for request in part.values]
        done = await self._sent.sent({request.id for request in requests})
        users = await self._truth.load({ref for request in requests for ref in _refs(request)})
        # A process may have ended between the note of a mail and this.
        await self._advance([request for request in requests if request.id in done], "sent")
        works = [
            self._send_all([request for request in part.values if request.id not in done], users) for part in slices
        ]
        # All of them come to an end before one's error is told: what is cut off in the middle may be sent, and unnoted.
        failures = [found for found in await asyncio.gather(*works, return_exceptions=True) if found is not None]
        if failures:
            raise min(failures, key=lambda found: not isinstance(found, UnavailableError))

    async def _send_all(self, requests: Sequence[MailRequested], users: Snapshot) -> None:
        """One after the other; who is put off holds up their own alone, and is told at the end."""
        put_off: dict[str, PutOffError] = {}
        known: set[str] = set()
        for request in requests:
            if request.user in put_off or request.id in known:
                continue
            known.add(request.id)
            try:
                outcome = await self._send(request, users)
            except PutOffError as error:
                put_off[request.user] = error
                continue
            except RefusedMailError as error:
                await self._advance([request], "failed", str(error))
                raise
            await self._advance([request], "sent" if outcome == "sent" else "skipped", outcome)
            self._put_off.pop(request.id, None)
            self._metrics.count(m.MAILS, request.kind, outcome)
            if outcome != "sent":
                logger.info("mail %s is not sent: %s", request.id, outcome)
        if put_off:
            raise next(iter(put_off.values()))

    async def _advance(self, requests: Sequence[MailRequested], state: Progress, why: str = "") -> None:
        """What has become of those that tell of notifications; the others are nobody's deliveries."""
        now, said = self._clock.now_ms(), "" if why == state else why
        moves = [
            Advance(delivery=request.id, state=state, at=now, why=said) for request in requests if request.notification
        ]
        if moves:
            await self._deliveries.advance(moves)

    async def _send(self, request: MailRequested, state: Snapshot) -> str:
        """Returns what became of it."""
        found = state.get(Ref("user", request.user))
        user = found if isinstance(found, User) else None
        now = self._clock.now_ms()
        if now >= rules.good_until(request):
            return "too_old"
        to = rules.recipient(request, user)
        if not to:
            return "nobody"
        # They may have unsubscribed since it was asked for.
        if request.notification and user and not wants(user.notification_preferences, request.kind, "email"):
            return "muted"
        most = rules.MOST_AN_HOUR
        if await self._sent.recent(request.kind, to, now - rules.HOUR_MS, most) >= most:
            return "too_many"
        await _to_its_end(self._hand_over(request, to, user, _name(request, state)))
        return "sent"

    async def _hand_over(self, request: MailRequested, to: str, user: User | None, other: str) -> None:
        now = self._clock.now_ms()
        first, last = self._put_off.get(request.id, (now, now - PAUSE_MS))
        if now - last < PAUSE_MS:
            raise PutOffError("the recipient is put off")
        self.tries += 1
        mail = self._composer.compose(request, to=to, name=rules.greeting(to, user), at=now, other=other)
        try:
            await self._mailer.send(mail)
        except PutOffError as error:
            if now - first < PATIENCE_MS:
                self._put_off[request.id] = first, now
                raise
            self._put_off.pop(request.id, None)
            raise RefusedMailError(f"put off for {PATIENCE_MS // 1000} s: {error}") from None
        note = Note(request.id, request.kind, to, now)
        self._unnoted[request.id] = note
        await self._note(note)

    async def _note(self, note: Note) -> None:
        await self._sent.note(*note)
        self._unnoted.pop(note.mail, None)


def _refs(request: MailRequested) -> set[Ref]:
    """The documents that a mail takes."""
    refs = {Ref("user", request.user)}
    if about := request.about.get("user"):
        refs.add(Ref("user", about))
    return refs


def _name(request: MailRequested, state: Snapshot) -> str:
    """The name of whom a mail is about."""
    found = state.get(Ref("user", request.about.get("user", "")))
    return found.profile.name if isinstance(found, User) else ""


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await it; when this is cancelled meanwhile, let it come to its end first, if that is soon."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=FINISH_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
