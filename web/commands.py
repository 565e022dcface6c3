"""Commands: give one its id, hand it to Kafka, and wait a while for what became of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from aiohttp import web

from devconnect.domain.model import Decision
from devconnect.events.base import new_id, type_of
from devconnect.events.commands import AnyCommand
from devconnect.events.topics import topic_of
from devconnect.ports.answers import AnswerDesk
from devconnect.ports.clock import Clock
from devconnect.ports.gateway import Commands
from devconnect.ports.metrics import COMMAND_SECONDS, COMMANDS_PENDING, COMMANDS_SENT, Metrics
from devconnect.ports.truth import UnavailableError
from devconnect.settings import Settings
from web.ids import Ids
from web.problems import ProblemError, problem_response
from web.requests import route_of
from web.views import json_response

HEADER = "Command-Id"
#: How long a command that was sent from here is known as pending, and how many of them at most.
REMEMBERED_MS, REMEMBERED = 600_000, 100_000
#: Commands of people who have no token yet.
OPENING = ("user.sign_up", "user.log_in")


class Common(TypedDict):
    """The fields that every command has."""

    id: str
    actor: str
    at: int
    reply_to: str
    fingerprint: str


class Order(NamedTuple):
    """A request on its way to become a command."""

    id: str
    at: int
    reply_to: str
    fingerprint: str

    def common(self, actor: str) -> Common:
        """The fields of a command that `actor` gives."""
        return Common(id=self.id, actor=actor, at=self.at, reply_to=self.reply_to, fingerprint=self.fingerprint)


class Sent(NamedTuple):
    """A command that Kafka has from this gateway; `opens` for a sign-up or log-in, whose asker has no token."""

    actor: str
    opens: bool
    at: int


class Commander:
    """Sends commands and waits for their answers."""

    def __init__(
        self,
        ids: Ids,
        *,
        commands: Commands,
        desk: AnswerDesk,
        clock: Clock,
        metrics: Metrics,
        settings: Settings,
    ) -> None:
        self._commands, self._desk, self._clock, self._metrics = commands, desk, clock, metrics
        self._wait, self._ids = settings.result_wait, ids
        self._sent: dict[str, Sent] = {}

    def order(self, request: web.Request, subject: str, body: Any = None) -> Order:
        """The id and the digest of a request by `subject` (a user id or an e-mail address).

        With an Idempotency-Key the id follows from it. ProblemError(invalid_header) when that isn't one.
        """
        key = request.headers.get("Idempotency-Key")
        if key is not None and not 1 <= len(key) <= 128:
            raise ProblemError("invalid_header", "An Idempotency-Key has 1 to 128 characters.")
        return Order(
            id=new_id() if key is None else self._ids.command(subject, f"{request.method} {route_of(request)}", key),
            at=self._clock.now_ms(),
            reply_to=self._desk.address,
            fingerprint=self._ids.fingerprint(request.method, request.path, body),
        )

    async def ask(self, command: AnyCommand) -> Decision | None:
        """Send the command; the decision on it, or None when it didn't come in time.

        ProblemError(kafka_unavailable) when Kafka hasn't acknowledged it.
        """
        label = type_of(command)
        self._desk.expect(command.id)
        try:
            await self._send(command)
        except UnavailableError as exc:
            await self._desk.wait(command.id, 0)
            raise _not_taken(command) from exc
        self._metrics.count(COMMANDS_SENT, label)
        self._remember(command)
        decision = await self._answer(command)
        if decision is None:
            self._metrics.count(COMMANDS_PENDING, label)
        else:
            seconds = max(0, self._clock.now_ms() - command.at) / 1000
            self._metrics.observe(COMMAND_SECONDS, label, value=seconds)
        return decision

    async def find(self, command: str) -> Decision | None:
        """The decision on a command, if there is one. Raises UnavailableError when nobody can be asked."""
        return await self._desk.find(command)

    def pending(self, command: str) -> Sent | None:
        """What is known of a command that was sent from here in the last ten minutes."""
        sent = self._sent.get(command)
        return sent if sent is not None and not self._is_old(sent) else None

    async def _send(self, command: AnyCommand) -> None:
        topic = topic_of(command)
        if topic.codec is None:
            raise TypeError(f"{topic.name} has no codec")
        await self._commands.send(topic.name, command.key, topic.codec.encode(command))

    async def _answer(self, command: AnyCommand) -> Decision | None:
        """What became of this very request: of two with one id at once, each may be told of the other's."""
        try:
            told = await self._desk.wait(command.id, self._wait)
            if told is None or told.fingerprint == command.fingerprint:
                return told
            stored = await self._desk.find(command.id)
        except UnavailableError:
            return None
        if stored is None or stored.fingerprint == command.fingerprint:
            return stored
        raise ProblemError(
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request: use a new one.",
            headers={HEADER: command.id},
        )

    def _remember(self, command: AnyCommand) -> None:
        while self._sent:
            oldest = next(iter(self._sent))
            if len(self._sent) < REMEMBERED and not self._is_old(self._sent[oldest]):
                break
            del self._sent[oldest]
        self._sent[command.id] = Sent(command.actor, type_of(command) in OPENING, command.at)

    def _is_old(self, sent: Sent) -> bool:
        return self._clock.now_ms() - sent.at > REMEMBERED_MS


def _not_taken(command: AnyCommand) -> ProblemError:
    return ProblemError(
        "kafka_unavailable",
        "Kafka hasn't acknowledged this. Repeat it in a moment; with an Idempotency-Key it can't happen twice.",
        headers={HEADER: command.id},
    )


def link(command: str) -> str:
    """Where to ask for a command."""
    return f"/v1/commands/{command}"


def opens(decision: Decision) -> bool:
    """Whether it was a sign-up or a log-in, whose asker has no token to ask with."""
    return decision.command in OPENING


def respond(
    command: str, decision: Decision | None, status: int = 200, *, more: Mapping[str, Any] | None = None
) -> web.Response:
    """The answer to a command: its result with `status`, its problem, or 202. `more` is put beside either."""
    headers = {HEADER: command}
    extra = dict(more or {})
    if decision is None:
        pending = {"command": {"id": command, "status": "pending", "href": link(command)}, **extra}
        return json_response(pending, 202, {**headers, "Location": link(command)})
    if decision.problem is not None:
        return problem_response(ProblemError(decision.problem.code, decision.problem.detail, headers=headers))
    return json_response({**extra, **(decision.result or {})}, status, headers)
