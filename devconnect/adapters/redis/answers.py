"""ports.answers.Answers on Redis: the command agents' side."""

import asyncio
import logging
from collections.abc import Collection, Sequence

import msgspec

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.calls import Client, Command, run
from devconnect.domain.deciding import Answer
from devconnect.domain.model import Decision
from devconnect.ports.truth import UnavailableError

logger = logging.getLogger(__name__)

#: A refusal of the repeat, not the decision on the command: its asker is told, nobody finds it later.
_REPEATED = "idempotency_key_reused"
_DECISION = msgspec.json.Decoder(Decision)


def encode(decision: Decision) -> str:
    """A decision as it is told: all but its events."""
    return msgspec.json.encode(msgspec.structs.replace(decision, events=())).decode()


def decode(text: str) -> Decision:
    """The decision in a text."""
    return _DECISION.decode(text)


class RedisAnswers:
    """Tells gateways. Gives up within `within` seconds, and never raises for a Redis that can't be had."""

    def __init__(self, client: Client, *, within: float = 0.5) -> None:
        self._client = client
        self._within = within
        self._failing = False

    async def tell(self, answers: Sequence[Answer]) -> None:
        """Store each result under its command's id for a day, and wake the gateway that waits for it."""
        await self._try([command for answer in answers for command in _commands(answer)])

    async def forget(self, commands: Collection[str]) -> None:
        """Keep the results of these commands no longer."""
        await self._try([("DEL", keys.answer(command)) for command in commands])

    async def _try(self, commands: Sequence[Command]) -> None:
        if not commands:
            return
        try:
            async with asyncio.timeout(self._within):
                await run(self._client, commands)
        except (UnavailableError, TimeoutError) as error:
            if not self._failing:
                logger.warning("gateways are not told of results until Redis is back: %s", str(error) or "too slow")
            self._failing = True
        else:
            self._failing = False


def _commands(answer: Answer) -> list[Command]:
    text = encode(answer.decision)
    commands: list[Command] = []
    problem = answer.decision.problem
    if problem is None or problem.code != _REPEATED:
        commands.append(("SET", keys.answer(answer.id), text, "EX", int(keys.ANSWER_TTL.total_seconds())))
    if answer.reply_to:
        commands.append(("PUBLISH", keys.replies(answer.reply_to), text))
    return commands
