"""Round trips: many commands in one, scripts among them, and the errors that mean "not now" told from the others."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import (
    ClusterDownError,
    ClusterError,
    ConnectionError as RedisConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    ResponseError,
    TimeoutError as RedisTimeoutError,
    TryAgainError,
)

from devconnect.adapters.redis.line import AnyCommand, Command
from devconnect.adapters.redis.wire import Wire
from devconnect.ports.truth import UnavailableError

__all__ = [
    "Client",
    "Command",
    "Pooled",
    "Script",
    "Tied",
    "Witness",
    "ended",
    "load",
    "reaching",
    "run",
    "run_all",
    "scored",
]

#: The workers', and everybody's on a cluster.
Pooled = Redis | RedisCluster
Client = Pooled | Wire

#: Answers that say nothing of the command, only that it can't be done now.
_NOT_NOW = (ClusterDownError, ClusterError, OutOfMemoryError, ReadOnlyError, TryAgainError)
_OUT_OF_REACH = (RedisConnectionError, RedisTimeoutError, RedisClusterException, OSError, *_NOT_NOW)
_NOT_NOW_TEXTS = ("MISCONF", "NOREPLICAS", "BUSY ")
#: Commands of one pipeline: small enough for its answer to come within the socket's timeout.
CHUNK = 1_000
#: Times that lost scripts are loaded again within one call.
_LOADS = 5

_scripts: list["Script"] = []
_tied: set[str] = set()


class Script:
    """A Lua script, called by its digest. A server that doesn't know it (any more) is given it by `run`."""

    def __init__(self, source: str) -> None:
        self.source = source.strip()
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        _scripts.append(self)

    def __call__(self, keys: Sequence[str], *args: str | int) -> Command:
        """The command that runs it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


class Tied(Script):
    """A script that only `tell` gives to a server: it runs on one that has been there ever since, and on no other.

    Scripts aren't kept with the data: a server that was started since, or a replica that has taken over, doesn't know
    it. Where it isn't known, its answer in `run` is None.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        _scripts.remove(self)
        _tied.add(self.sha)

    async def known(self, client: Client) -> bool:
        """Whether every server of the client knows it. Errors as in `reaching`."""
        with reaching():
            (known,) = await client.script_exists(self.sha)
        return bool(known)

    async def tell(self, client: Client) -> None:
        """Give it to every server. Errors as in `reaching`."""
        with reaching():
            await client.script_load(self.source)


class Witness(Tied):
    """One that does nothing but be known."""

    def __init__(self, name: str) -> None:
        super().__init__(f"return '{name}'")


@contextmanager
def reaching() -> Iterator[None]:
    """Whatever Redis or the way to it fails with is UnavailableError; a fault of ours stays what it is."""
    try:
        yield
    except Exception as error:
        if _is_out_of_reach(error):
            raise UnavailableError(f"Redis: {error}") from error
        raise


def _is_out_of_reach(error: Exception) -> bool:
    return isinstance(error, _OUT_OF_REACH) or (
        isinstance(error, ResponseError) and str(error).startswith(_NOT_NOW_TEXTS)
    )


async def run(client: Client, commands: Sequence[AnyCommand], *, raw: bool = False) -> list[Any]:
    """The answers to the commands, in order, all in one round trip, no transaction. Errors as in `reaching`.

    Only a wire takes commands that are packed already.

    Texts are text, or bytes where `raw` asks for that. Where the server has lost the scripts they are loaded, and all
    of it is done again: every command must bear that.
    """
    try:
        for _ in range(_LOADS):
            answers = await (
                client.ask(commands, raw=raw) if isinstance(client, Wire) else _pooled(client, commands, raw=raw)
            )
            errors = _errors(commands, answers)
            if not errors:
                return answers
            if not any(isinstance(error, NoScriptError) for error in errors):
                raise errors[0]
            await load(client)
    except Exception as error:
        if _is_out_of_reach(error):
            raise UnavailableError(f"Redis: {error}") from error
        raise
    raise UnavailableError("Redis: the scripts are lost as soon as they are loaded")


async def run_all(client: Client, commands: Sequence[Command]) -> list[Any]:
    """The same for any number of commands, a thousand a round trip."""
    answers: list[Any] = []
    for start in range(0, len(commands), CHUNK):
        answers += await run(client, commands[start : start + CHUNK])
    return answers


async def ended(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks, more than once: a cancellation may get lost in redis-py."""
    while running := {task for task in tasks if not task.done()}:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=0.1)


def scored(answer: Sequence[Any]) -> list[tuple[str, str]]:
    """Members and scores of a WITHSCORES: a flat list of texts in one protocol, pairs with a number in the other."""
    if answer and isinstance(answer[0], list):
        return [(member, repr(score).removesuffix(".0")) for member, score in answer]
    return list(zip(answer[::2], answer[1::2], strict=True))


async def load(client: Client) -> None:
    """Give the server (each, of a cluster) every script."""
    for script in _scripts:
        await client.script_load(script.source)


def _errors(commands: Sequence[AnyCommand], answers: list[Any]) -> list[Exception]:
    """The error replies; that of a tied script which isn't known is none, and becomes None."""
    errors = []
    for index, answer in enumerate(answers):
        if isinstance(answer, Exception):
            if isinstance(answer, NoScriptError) and commands[index][1] in _tied:
                answers[index] = None
            else:
                errors.append(answer)
    return errors


async def _pooled(client: Pooled, commands: Sequence[AnyCommand], *, raw: bool) -> list[Any]:
    """The answers, error replies among them."""
    pipeline: Any = client.pipeline(transaction=False)
    for command in commands:
        if isinstance(command, bytes):
            raise TypeError("a packed command goes over a wire, and over nothing else")
        pipeline.execute_command(*command)
    with _cancellable():
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
    return _encoded(answers) if raw else answers


def _encoded(answer: Any) -> Any:
    """The same with bytes in place of texts."""
    match answer:
        case str():
            return answer.encode()
        case list():
            return [_encoded(each) for each in answer]
        case dict():
            return {_encoded(name): _encoded(value) for name, value in answer.items()}
        case _:
            return answer


@contextmanager
def _cancellable() -> Iterator[None]:
    """Whoever was cancelled inside ends as cancelled.

    redis-py sends within asyncio.wait_for, which in Python 3.11 swallows a cancellation that comes when it is done.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
