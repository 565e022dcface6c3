"""The gateway over HTTP as a careful client uses it: every command with an Idempotency-Key, repeated until answered."""

import asyncio
import time
import uuid
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
import msgspec

from devconnect.replay.account import Account

#: Answers after which the same request is tried again: too many requests, or something behind is down.
LIMITED = 429
TRY_AGAIN = frozenset((LIMITED, 502, 503, 504))
#: The header that names the command.
COMMAND = "Command-Id"
#: Seconds between the tries of a request that nobody answers, and between two questions for a command's result.
PAUSE, POLL = 0.25, 0.1
#: Seconds after which a request counts as unanswered.
TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)


class RefusedError(Exception):
    """The gateway, or the fleet behind it, said no: the problem's code and what to do about it.

    `command` is the id of the command that was turned down, "" where it didn't come to one.
    """

    def __init__(self, status: int, code: str, detail: str, command: str = "") -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.command = status, code, command


class UnreachableError(Exception):
    """The gateway could not do it for longer than our patience lasts."""


class LimitedError(UnreachableError):
    """The gateway's limits don't allow it (429) for longer than our patience lasts; the text is the gateway's own."""


class Answer(NamedTuple):
    """One HTTP answer; `body` is {} where it isn't a JSON object."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


class Request(NamedTuple):
    """One request, however often it is sent; `key` is its Idempotency-Key."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    key: str | None = None


class Done(NamedTuple):
    """A command that was accepted: its id and its result."""

    command: str
    result: dict[str, Any]


@dataclass(slots=True)
class Measured:
    """What the requests have shown. `retried` counts repeated ones, `pending` the answers of 202, `limited` of 429."""

    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    retried: int = 0
    pending: int = 0
    limited: int = 0


class Pace:
    """At most `rate` requests a second, evenly spaced; None for no limit."""

    def __init__(self, rate: float | None) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._next = 0.0

    async def wait(self) -> None:
        """Returns when the next request may go."""
        if not self._gap:
            return
        now = time.monotonic()
        turn = max(self._next, now)
        self._next = turn + self._gap
        if turn > now:
            await asyncio.sleep(turn - now)


class Gateway:
    """Requests to one gateway, at most `concurrency` of them at once. `patience`: seconds that a trouble may last.

    Who asks is an account, whose token is renewed when it is over, or a token, or nobody.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        *,
        concurrency: int,
        rate: float | None = None,
        patience: float = 60.0,
    ) -> None:
        self.measured = Measured()
        self._http = http
        self._url = url.rstrip("/")
        self._slots = asyncio.Semaphore(concurrency)
        self._pace = Pace(rate)
        self._patience = patience

    async def command(self, path: str, body: Mapping[str, Any], who: Account | str | None = None) -> dict[str, Any]:
        """Posts a command of its own key and returns its result, as `ask` does."""
        return (await self.ask("POST", path, body, who, key=uuid.uuid4().hex)).result

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, who: Account | str | None = None, *, key: str
    ) -> Done:
        """What becomes of the command of this Idempotency-Key, however often it must be asked for.

        What a 202 says beside the command (a log-in's tokens) is in the result, too.

        Raises:
            RefusedError: the command was turned down.
            UnreachableError: no answer within the patience.
        """
        answer = await self._until_answered(Request(method, path, body, key), who)
        command = answer.headers.get(COMMAND, "")
        if answer.status != 202:
            return Done(command, answer.body)
        self.measured.pending += 1
        result = await self._decided(answer, who)
        return Done(command, {**answer.body, **result})

    async def read(self, path: str, who: Account | str, *, patience: float | None = None) -> dict[str, Any]:
        """The body of a GET; raises what `command` raises, by a patience of its own if one is given."""
        return (await self._until_answered(Request("GET", path), who, patience)).body

    async def renew(self, renewal_token: str, *, key: str) -> Done:
        """The next tokens of a session; raises what `ask` raises.

        Only the answer of a renewal that is decided has them: a 202 is asked again, under the same key.
        """
        request = Request("POST", "/v1/sessions/renew", {"renewal_token": renewal_token}, key)
        deadline = time.monotonic() + self._patience
        while True:
            answer = await self._until_answered(request, None)
            if answer.status != 202:
                return Done(answer.headers.get(COMMAND, ""), answer.body)
            self.measured.pending += 1
            if time.monotonic() > deadline:
                raise UnreachableError(f"a renewal is still not decided after {self._patience:g} s")
            await asyncio.sleep(POLL)

    async def _decided(self, pending: Answer, who: Account | str | None) -> dict[str, Any]:
        """Asks where the 202 says until the command is decided. A gateway that was started anew doesn't know it yet."""
        where = pending.headers.get("Location", "")
        if not where.startswith("/"):
            raise RefusedError(202, "no_location", "a 202 must say where to ask for the command")
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            try:
                answer = await self._until_answered(Request("GET", where), who)
            except RefusedError as error:
                if error.status != 404:
                    raise
                answer = pending
            if answer.body.get("status") == "accepted":
                return answer.body.get("result") or {}
            if answer.body.get("status") == "refused":
                raise _refusal(409, answer.body.get("problem"), pending.headers)
            await asyncio.sleep(POLL)
        raise UnreachableError(f"{where} is still not decided after {self._patience:g} s")

    async def _until_answered(
        self, request: Request, who: Account | str | None, patience: float | None = None
    ) -> Answer:
        if not isinstance(who, Account):
            return _good(await self._until_heard(request, who, patience))
        deadline = time.monotonic() + self._patience
        while True:
            token = who.token
            answer = await self._until_heard(request, token, patience)
            # The next token may be over, too, by the time that its turn has come.
            if answer.status != 401 or time.monotonic() > deadline or not await self._renewed(who, token):
                return _good(answer)

    async def _renewed(self, who: Account, spent: str) -> bool:
        """Whether the account has another token than the one that is over; of many who ask at once one renews it."""
        async with who.lock:
            if who.token == spent and who.renewal_token:
                try:
                    result = (await self.renew(who.renewal_token, key=uuid.uuid4().hex)).result
                except RefusedError:
                    return False
                who.token, who.renewal_token = str(result["token"]), str(result["renewal_token"])
            return who.token != spent

    async def _until_heard(self, request: Request, token: str | None, patience: float | None) -> Answer:
        """The answer, whatever it says, unless that is to try again."""
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if request.key:
            headers["Idempotency-Key"] = request.key
        payload = msgspec.json.encode(request.body) if request.body is not None else None
        patience = self._patience if patience is None else patience
        trouble_since: float | None = None
        while True:
            try:
                answer = await self._once(request.method, request.path, payload, headers)
                trouble, pause = f"status {answer.status}", _pause(answer)
                if answer.status not in TRY_AGAIN:
                    return answer
                if answer.status == LIMITED:
                    self._is_limited(answer, patience)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                trouble, pause = str(error) or type(error).__name__, PAUSE
            trouble_since = trouble_since or time.monotonic()
            if time.monotonic() + pause > trouble_since + patience:
                raise UnreachableError(f"{request.method} {self._url}{request.path}: {trouble}, for {patience:g} s")
            self.measured.retried += 1
            await asyncio.sleep(pause)

    def _is_limited(self, answer: Answer, patience: float) -> None:
        """Count it; LimitedError where the wait that is asked for is longer than our patience."""
        self.measured.limited += 1
        if answer.body.get("code") == "rate_limited" and _asked(answer) > patience:
            raise LimitedError(str(answer.body.get("detail") or "too many requests"))

    async def _once(self, method: str, path: str, payload: bytes | None, headers: Mapping[str, str]) -> Answer:
        await self._pace.wait()
        async with self._slots:
            began = time.perf_counter()
            async with self._http.request(
                method, self._url + path, data=payload, headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                raw = await response.read()
            self.measured.seconds.append(time.perf_counter() - began)
        return Answer(response.status, response.headers, _object(raw))


def _pause(answer: Answer) -> float:
    """Seconds until the next try."""
    return min(_asked(answer), 30.0)


def _asked(answer: Answer) -> float:
    """Seconds that the answer asks us to wait: Retry-After where it is a number."""
    asked = answer.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() else PAUSE


def _good(answer: Answer) -> Answer:
    if 200 <= answer.status < 300:
        return answer
    raise _refusal(answer.status, answer.body, answer.headers)


def _refusal(status: int, problem: Any, headers: Mapping[str, str]) -> RefusedError:
    said: Mapping[str, Any] = problem if isinstance(problem, dict) else {}
    detail = str(said.get("detail") or said.get("title") or "no reason given")
    return RefusedError(
        int(said.get("status") or status), str(said.get("code") or "unknown"), detail, headers.get(COMMAND, "")
    )


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
