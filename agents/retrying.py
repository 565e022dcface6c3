"""Trying a dead letter again, in the one way that is exact for its agent; what can't be tried exactly is refused."""

from collections.abc import Awaitable, Callable
from typing import Any

from agents.erasure import EraseRelations
from agents.inbox import FillInboxes
from agents.notifications import DeliverInApp, Telling, on_events
from agents.processing import Step
from agents.projections import ProjectEvents
from agents.slices import Slice
from agents.windows import MERGE_WINDOWS
from devconnect.domain.letters import Letter
from devconnect.events.base import seq_of
from devconnect.events.codec import CodecError
from devconnect.events.topics import COMMAND_TO_EVENT, EVENT_TOPICS, REGISTRY
from devconnect.ports.listings import Listings
from devconnect.ports.projections import Projections
from devconnect.ports.publisher import Publisher, Record
from devconnect.ports.reads import Relations

TOPICS = {topic.name: topic for topic in REGISTRY}


class RefusedError(Exception):
    """This letter can't be tried again exactly; the text says why, and what to do instead."""


class Retry:
    """Tries letters again. Doing so twice has the effects of once."""

    def __init__(
        self,
        telling: Telling,
        publisher: Publisher,
        projections: Projections,
        listings: Listings,
        relations: Relations,
        *more: Step[Any],
    ) -> None:
        """`more` are steps that need something else: those that send by a channel, or decide who is told how."""
        self._truth = truth = telling.truth
        self._publisher = publisher
        self._ways: dict[str, Callable[[Letter], Awaitable[None]]] = {}
        for name in COMMAND_TO_EVENT:
            self._ways[f"decide-{name}"] = self._decide
        steps: list[Step[Any]] = [
            DeliverInApp(truth, projections, publisher),
            EraseRelations(relations, publisher),
            *more,
        ]
        for topic in EVENT_TOPICS:
            steps += [ProjectEvents(topic, projections), on_events(topic, publisher, listings, telling)]
        for step in steps:
            self._ways[step.name] = self._applying(step)

    async def __call__(self, letter: Letter) -> None:
        """Returns when all effects are had, or Kafka has the command again. Raises RefusedError; UnavailableError when
        a store is down.
        """
        agent = letter.name.agent
        if agent.startswith("fold-"):
            raise RefusedError(
                "a table counts events in their order and has counted later ones: this one can't be put in between. "
                "Drop it, and the tables lack it until they are built anew from the events"
            )
        if agent.startswith("restore-"):
            raise RefusedError(
                "a changelog is read at each restore: mend the cause, restart the analytics workers, drop the letter"
            )
        if agent == MERGE_WINDOWS:
            raise RefusedError(
                "a window is published once, and without the parts that can't be read; the table has them. Drop it"
            )
        if agent == FillInboxes.name:
            raise RefusedError(
                "an inbox goes forward only, and has gone on: this can't be put in between. What it told of is in the "
                "lists that people read. Drop it"
            )
        way = self._ways.get(agent)
        if way is None:
            raise RefusedError(f"no agent here is called {agent}: retry it with the version that has it, or drop it")
        await way(letter)

    async def _decide(self, letter: Letter) -> None:
        """Append the command again: it is decided once by its id, at its new place."""
        command = _decoded(letter)
        decision = (await self._truth.decisions([command.id])).get(command.id)
        name = letter.name
        if decision is not None and decision.events:
            here = (name.topic, name.partition, seq_of(name.offset))
            if (decision.topic, decision.partition, decision.seq) == here:
                raise RefusedError(
                    "it was decided before its effects failed, and the decision stands: appended again it would be "
                    "answered, no more. Drop it, and have what it asked for asked for again, by a new command"
                )
        await self._publisher.publish(name.topic, name.partition, [Record(letter.key, letter.value, letter.headers)])

    def _applying(self, step: Step[Any]) -> Callable[[Letter], Awaitable[None]]:
        """Have the agent's own effects, here and now: its stores take them in any order, and each once."""

        async def apply(letter: Letter) -> None:
            value = _decoded(letter)
            try:
                await step.apply([Slice(letter.name.topic, letter.name.partition, [letter], [value])])
            except (ValueError, TypeError, LookupError, ArithmeticError) as exc:
                raise RefusedError(f"it still can't be applied ({type(exc).__name__}: {exc}): mend that first") from exc

        return apply


def _decoded(letter: Letter) -> Any:
    topic = TOPICS.get(letter.name.topic)
    if topic is None or topic.codec is None:
        raise RefusedError(f"{letter.name.topic} is no topic that agents read: drop it")
    try:
        return topic.codec.decode(letter.value)
    except CodecError as exc:
        raise RefusedError(f"it still can't be decoded ({exc}): mend that first, or drop it") from exc
