"""ports.answers.AnswerDesk on Redis: the gateway's side, one Pub/Sub connection for all who wait."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.answers import decode
from devconnect.adapters.redis.calls import Client, ended, run, run_all
from devconnect.domain.model import Decision
from devconnect.events.base import new_id
from devconnect.ports.truth import UnavailableError

logger = logging.getLogger(__name__)

#: The database behind Redis: the stored decision on a command, if there is one.
Fallback = Callable[[str], Awaitable[Decision | None]]

#: Seconds between looks at the results' keys: while the channel is heard, and while it isn't.
QUIET_LOOK = 0.25
LOOK = 0.05
#: Seconds between looks into the database, and how many at once; and for how long Redis is left alone when it fails.
DATABASE_LOOK = 0.1
DATABASE_AT_ONCE = 32
AVOID = 1.0
#: Seconds that a wait may go on beyond its deadline, for one last look.
LAST_LOOK = 0.25
#: Seconds of silence until the channel is tried, and then until it counts as lost.
BEAT = 1.0
RECONNECT = 0.1
#: Seconds that subscribing may take: the listener's client has no timeout of its own once it is connected.
CONNECT = 1.0
#: Seconds after which an expectation that nobody waits for is dropped.
FORGOTTEN = 60.0


class _Expectation:
    """A result that is awaited, by `waiters` of the `expected`."""

    def __init__(self, now: float) -> None:
        self.result: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.since = now
        self.expected = 0
        self.waiters = 0

    def is_overdue(self, since: float) -> bool:
        """Whether somebody waits, and has since before that."""
        return self.waiters > 0 and self.since < since and not self.result.done()


class RedisAnswerDesk:
    """Waits for results: told of them over Pub/Sub, found under their key, or found in the database.

    `start` it before commands are sent, `stop` it at the end. The connection is made again whenever it breaks or goes
    deaf; what was said meanwhile is looked up.

    Two requests of one command id at once both get the first result that comes. It may be the refusal of the other
    (another fingerprint, `idempotency_key_reused`): then `find` has the one for the first request.
    """

    def __init__(self, client: Client, listener: Redis, fallback: Fallback, *, address: str | None = None) -> None:
        """`listener` is a client of its own, without a socket timeout (connect.connect_listener)."""
        self._client = client
        self._listener = listener
        self._fallback = fallback
        self._address = address or new_id()
        self._expected: dict[str, _Expectation] = {}
        self._avoid_until = 0.0
        self._forget_at = 0.0
        self._subscribed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def address(self) -> str:
        """What commands carry as `reply_to`."""
        return self._address

    @property
    def healthy(self) -> bool:
        """Whether results are heard of as they are told."""
        return self._subscribed.is_set()

    @property
    def pending(self) -> int:
        """Commands whose results are expected."""
        return len(self._expected)

    async def start(self, *, within: float = 1.0) -> None:
        """Begin to listen; returns when that is so, or after `within` seconds all the same."""
        self._tasks = [asyncio.create_task(work()) for work in (self._listen, self._watch)]
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._subscribed.wait()

    async def stop(self) -> None:
        """Stop listening. Who still waits does so until the deadline, and looks then."""
        await ended(*self._tasks)
        self._subscribed.clear()

    def expect(self, command_id: str) -> None:
        """Be ready for the answer: called before the command is sent. Dropped after a minute if nobody waits for it."""
        self._expectation(command_id).expected += 1

    async def wait(self, command_id: str, seconds: float) -> Decision | None:
        """The decision, or None when it didn't come in time. Ends the expectation: with 0 seconds it only does that."""
        deadline = _now() + seconds
        expectation = self._expectation(command_id)
        expectation.waiters += 1
        try:
            if seconds > 0:
                async with asyncio.timeout_at(deadline + LAST_LOOK):
                    return await self._until(deadline, command_id, expectation.result)
        except TimeoutError:
            pass
        finally:
            expectation.waiters -= 1
            expectation.expected -= 1
            if expectation.waiters == 0 and expectation.expected <= 0:
                self._drop(command_id, expectation)
        return expectation.result.result() if expectation.result.done() else None

    async def find(self, command_id: str) -> Decision | None:
        """The decision on a command of any gateway in the last day, if there is one yet.

        UnavailableError when neither Redis has it nor the database can be reached.
        """
        if _now() >= self._avoid_until:
            try:
                (text,) = await run(self._client, [("GET", keys.answer(command_id))])
            except UnavailableError:
                self._avoid_until = _now() + AVOID
            else:
                if text is not None:
                    return decode(text)
        return await self._fallback(command_id)

    async def _until(self, deadline: float, command_id: str, result: asyncio.Future[Decision]) -> Decision | None:
        """Wait for the result; what wasn't told by the deadline is looked for once more."""
        await asyncio.wait({result}, timeout=deadline - _now())
        if result.done():
            return result.result()
        with suppress(UnavailableError):
            return await self.find(command_id)
        return None

    async def _watch(self) -> None:
        """Look now and then for all that is waited for: it may have been told where nobody heard it."""
        while True:
            pause = DATABASE_LOOK if _now() < self._avoid_until else QUIET_LOOK if self.healthy else LOOK
            await asyncio.sleep(pause)
            try:
                self._forget()
                oldest = _now() - pause
                await self._look([name for name, each in self._expected.items() if each.is_overdue(oldest)])
            except Exception:
                logger.exception("results could not be looked up")

    async def _look(self, commands: Sequence[str]) -> None:
        """Under their keys; in the database while Redis fails."""
        if _now() >= self._avoid_until:
            try:
                return await self._look_up(commands)
            except UnavailableError:
                self._avoid_until = _now() + AVOID
        for start in range(0, len(commands), DATABASE_AT_ONCE):
            asked = commands[start : start + DATABASE_AT_ONCE]
            for found in await asyncio.gather(*map(self._fallback, asked), return_exceptions=True):
                if isinstance(found, UnavailableError):
                    return None
                if isinstance(found, BaseException):
                    raise found
                if found is not None:
                    self._settle(found)
        return None

    async def _look_up(self, commands: Sequence[str]) -> None:
        for text in await run_all(self._client, [("GET", keys.answer(command)) for command in commands]):
            if text is not None:
                self._settle(decode(text))

    async def _listen(self) -> None:
        """Keep the connection for ever."""
        while True:
            pubsub = self._listener.pubsub()
            try:
                async with asyncio.timeout(CONNECT):
                    await pubsub.subscribe(keys.replies(self._address))
                await self._hear(pubsub)
            except (RedisError, OSError, UnavailableError) as error:
                if self.healthy:
                    logger.warning("results are looked up until Redis is heard again: %s", str(error) or "too slow")
            except Exception:
                logger.exception("a result could not be read")
            finally:
                self._subscribed.clear()
                with suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py has no type for it
            await asyncio.sleep(RECONNECT)

    async def _hear(self, pubsub: PubSub) -> None:
        """Settle what is told, until the connection fails. Silence is tested by saying something to oneself."""
        tested = False
        while True:
            # A broken connection is made anew in there, which has no end of its own.
            async with asyncio.timeout(BEAT + CONNECT):
                message = await pubsub.get_message(timeout=BEAT)
            if message is None and tested:
                raise UnavailableError("the channel is deaf")
            tested = message is None
            if message is None:
                await run(self._client, [("PUBLISH", keys.replies(self._address), "")])
            elif message["type"] == "subscribe":
                # What was told before the channel was heard (again).
                await self._look_up(list(self._expected))
                self._avoid_until = 0.0
                self._subscribed.set()
            elif message["data"]:
                self._settle(decode(message["data"]))

    def _settle(self, decision: Decision) -> None:
        expectation = self._expected.get(decision.id)
        if expectation is not None and not expectation.result.done():
            expectation.result.set_result(decision)

    def _expectation(self, command_id: str) -> _Expectation:
        found = self._expected.get(command_id)
        if found is None:
            found = self._expected[command_id] = _Expectation(_now())
        return found

    def _drop(self, command_id: str, expectation: _Expectation) -> None:
        if self._expected.get(command_id) is expectation:
            del self._expected[command_id]

    def _forget(self) -> None:
        """Drop what was expected long ago and never waited for."""
        now = _now()
        if now < self._forget_at:
            return
        self._forget_at = now + BEAT
        for command_id, expectation in list(self._expected.items()):
            if expectation.waiters == 0 and expectation.since < now - FORGOTTEN:
                self._drop(command_id, expectation)


def _now() -> float:
    return asyncio.get_running_loop().time()
