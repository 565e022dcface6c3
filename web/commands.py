"""Commands: give one its id, hand it to Kafka, and wait a while for what became of it."""

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypedDict

from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace
from multidict import istr

from devconnect.domain.model import Decision
from devconnect.events.base import new_id, seq_of, type_of
from devconnect.events.commands import AnyCommand
from devconnect.events.topics import topic_of
from devconnect.ports.answers import AnswerDesk
from devconnect.ports.clock import Clock
from devconnect.ports.gateway import Commands
from devconnect.ports.metrics import COMMAND_SECONDS, COMMANDS_PENDING, COMMANDS_SENT, Metric, Metrics
from devconnect.ports.truth import UnavailableError
from devconnect.settings import Settings
from web.ids import Ids
from web.patterns import KEY as KEY_PATTERN
from web.problems import ProblemError
from web.requests import route_of

HEADER, KEY, PREFER = istr("Command-Id"), istr("Idempotency-Key"), istr("Prefer")
#: How long a command that was sent from here is known as pending, and how many of them at most.
REMEMBERED_MS, REMEMBERED = 600_000, 100_000
#: Commands of people who have no token: whoever has their id, which can't be guessed, may ask what became of them.
OPENING = frozenset(
    (
        "user.sign_up",
        "user.log_in",
        "user.renew_session",
        "user.request_password_reset",
        "user.reset_password",
        "user.confirm_email",
    )
)

_KEY = re.compile(KEY_PATTERN)
_RESPOND_ASYNC = re.compile(r"(?:^|[,;\s])respond-async(?:$|[,;\s])", re.I)
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,5})\"?(?:$|[,;\s])", re.I)


class Common(TypedDict):
    """The fields that every command has."""

    id: str
    actor: str
    at: int
    reply_to: str
    fingerprint: str


class Order(Struct, frozen=True):
    """The id, the time and the digest of a request that becomes a command, and how many seconds its asker waits."""

    id: str
    at: int
    reply_to: str
    fingerprint: str
    wait: float

    def common(self, actor: str) -> Common:
        """The fields of a command that `actor` gives."""
        return Common(id=self.id, actor=actor, at=self.at, reply_to=self.reply_to, fingerprint=self.fingerprint)


class Outcome(Struct, frozen=True):
    """A command that Kafka has, at this place: its decision, or None where that hasn't come (or nobody waited)."""

    command: AnyCommand
    topic: str
    partition: int
    offset: int
    decision: Decision | None

    @property
    def seq(self) -> int:
        """What the read models must have applied to show what the command did; 0 where it did nothing."""
        return seq_of(self.offset) if self.decision is None else self.decision.last


class Sent(Struct, frozen=True):
    """A command that Kafka has from this gateway; `opens` for one whose asker has no token."""

    actor: str
    opens: bool
    at: int


@lru_cache(64)
def asked_patience(prefer: str) -> float:
    """Seconds that an asker would like to wait (RFC 7240); infinite where they don't say."""
    if _RESPOND_ASYNC.search(prefer):
        return 0.0
    asked = _WAIT.search(prefer)
    return float(asked[1]) if asked else math.inf


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
        self._counters: dict[tuple[str, str], Callable[[], None]] = {}

    def order(self, request: web.Request, subject: str, body: Any = None) -> Order:
        """The id and the digest of a request by `subject` (a user id or an e-mail address).

        With an Idempotency-Key the id follows from it. ProblemError(invalid_header) when that isn't one.
        """
        key = request.headers.get(KEY)
        if key is not None and not _KEY.fullmatch(key):
            raise ProblemError("invalid_header", "An Idempotency-Key has 1 to 128 visible characters of ASCII.")
        prefer = request.headers.get(PREFER)
        wait = self._wait if prefer is None else min(self._wait, asked_patience(prefer))
        return self.order_at(request.method, route_of(request), request.path, subject, body, key=key, wait=wait)

    def order_at(
        self,
        method: str,
        route: str,
        path: str,
        subject: str,
        body: Any = None,
        *,
        key: str | None = None,
        wait: float | None = None,
    ) -> Order:
        """The same for what came by another way than HTTP, and is the same as a request with this method and path."""
        seconds = self._wait if wait is None else wait
        return Order(
            id=new_id() if key is None else self._ids.command(subject, f"{method} {route}", key),
            at=self._clock.now_ms(),
            reply_to=self._desk.address if seconds else "",
            fingerprint=self._ids.fingerprint(method, path, body),
            wait=seconds,
        )

    async def ask(self, command: AnyCommand, wait: float | None = None) -> Outcome:
        """Send the command, and wait `wait` seconds (or as long as the settings say) for what becomes of it.

        ProblemError(kafka_unavailable) when Kafka hasn't acknowledged it.
        """
        seconds = self._wait if wait is None else wait
        return await self.outcome(await self.send(command, seconds), seconds)

    async def send(self, command: AnyCommand, seconds: float) -> Outcome:
        """Hand the command to Kafka. Then ask for the `outcome`, with the same seconds.

        ProblemError(kafka_unavailable) when Kafka hasn't acknowledged it.
        """
        label, topic, key = type_of(command), topic_of(command), command.key
        if seconds:
            self._desk.expect(command.id)
        try:
            offset = await self._commands.send(topic.name, key, topic.encode(command))
        except UnavailableError as exc:
            if seconds:
                await self._desk.wait(command.id, 0)
            raise _not_taken(command) from exc
        self._counter(COMMANDS_SENT, label)()
        self._remember(command, label)
        return Outcome(command, topic.name, self._commands.partition_of(key), offset, None)

    async def outcome(self, sent: Outcome, seconds: float) -> Outcome:
        """Wait for what becomes of a command that was sent."""
        command, label = sent.command, type_of(sent.command)
        decision = await self._answer(command, seconds) if seconds else None
        if decision is None:
            self._counter(COMMANDS_PENDING, label)()
        else:
            took = max(0, self._clock.now_ms() - command.at) / 1000
            self._metrics.observe(COMMAND_SECONDS, label, value=took)
        return replace(sent, decision=decision)

    def _counter(self, metric: Metric, label: str) -> Callable[[], None]:
        found = self._counters.get((metric.name, label))
        if found is None:
            found = self._counters[metric.name, label] = self._metrics.counter(metric, label)
        return found

    async def find(self, command: str) -> Decision | None:
        """The decision on a command, if there is one. Raises UnavailableError when nobody can be asked."""
        return await self._desk.find(command)

    def pending(self, command: str) -> Sent | None:
        """What is known of a command that was sent from here in the last ten minutes."""
        sent = self._sent.get(command)
        return sent if sent is not None and not self._is_old(sent) else None

    async def _answer(self, command: AnyCommand, seconds: float) -> Decision | None:
        """What became of this very request: of two with one id at once, each may be told of the other's."""
        try:
            told = await self._desk.wait(command.id, seconds)
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

    def _remember(self, command: AnyCommand, label: str) -> None:
        sent = self._sent
        while sent:
            oldest = next(iter(sent))
            if len(sent) < REMEMBERED and not self._is_old(sent[oldest]):
                break
            del sent[oldest]
        sent[command.id] = Sent(command.actor, label in OPENING, command.at)

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
    """Whether its asker had no token to ask with."""
    return decision.command in OPENING
