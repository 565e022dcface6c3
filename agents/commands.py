"""Decides commands: the only agent that writes the truth.

Stored decision, changed documents, acknowledged events, answer: in this order, each step harmless when it is repeated.
"""

from collections.abc import Sequence

from agents.processing import Item, Source
from devconnect.domain import deciding, projections
from devconnect.domain.deciding import Placed, Settlement
from devconnect.domain.model import Decision, Place, Ref, Snapshot
from devconnect.domain.projections import MarkNotificationsRead, Update
from devconnect.events.commands import AnyCommand
from devconnect.events.topics import COMMAND_TO_EVENT, Topic
from devconnect.ports import metrics as m
from devconnect.ports.answers import Answers
from devconnect.ports.metrics import Metrics
from devconnect.ports.projections import Projections
from devconnect.ports.publisher import Publisher, Record
from devconnect.ports.truth import Truth, UnavailableError


class DecideCommands:
    """The command agent of one commands topic."""

    def __init__(
        self,
        topic: Topic,
        *,
        truth: Truth,
        publisher: Publisher,
        projections: Projections,
        answers: Answers,
        metrics: Metrics,
    ) -> None:
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        self.name = f"decide-{topic.name}"
        self.codec = topic.codec
        self._events = COMMAND_TO_EVENT[topic.name]
        self._truth = truth
        self._publisher = publisher
        self._projections = projections
        self._answers = answers
        self._metrics = metrics

    async def apply(self, source: Source, items: Sequence[Item[AnyCommand]]) -> None:
        """Decide each command once, have its effects, and answer it."""
        batch = [Placed(Place(source.topic, source.partition, item.offset), item.value) for item in items]
        settlement = await self._settle(batch)
        await self._truth.save(settlement.documents)
        await self._mark_read(settlement)
        await self._emit(source.partition, settlement)
        await self._open_and_close_sessions(settlement)
        await self._answers.tell(settlement.answers)
        self._count(batch, settlement)

    async def _settle(self, batch: Sequence[Placed]) -> Settlement:
        """Decide, and store the decisions; where somebody was first with one, carry on from theirs."""
        known: dict[str, Decision] = dict(await self._truth.decisions({placed.command.id for placed in batch}))
        undecided = [placed.command for placed in batch if placed.command.id not in known]
        taken = deciding.reservations(undecided)
        holders = await self._truth.reserve(taken) if taken else {}
        state: Snapshot = await self._truth.load(deciding.wanted(undecided) | deciding.touched(known.values()))
        while True:
            settlement = deciding.settle(batch, known, state, holders)
            if not settlement.fresh:
                return settlement
            others = await self._truth.record(settlement.fresh)
            if not others:
                return settlement
            known |= {decision.id: decision for decision in settlement.fresh} | dict(others)
            state = await self._truth.load(_refs(batch, known))

    async def _mark_read(self, settlement: Settlement) -> None:
        marks = [
            update
            for event in settlement.events
            for update in projections.project(event)
            if isinstance(update, MarkNotificationsRead)
        ]
        if marks:
            await self._truth.mark_notifications_read(marks)

    async def _emit(self, partition: int, settlement: Settlement) -> None:
        if settlement.events and self._events.codec is not None:
            encode = self._events.codec.encode
            records = [Record(event.key.encode(), encode(event)) for event in settlement.events]
            await self._publisher.publish(self._events.name, partition, records)

    async def _open_and_close_sessions(self, settlement: Settlement) -> None:
        """At once, so that a log-out holds when it is answered. The projections do it again, and wait for Redis."""
        updates: list[Update] = [update for event in settlement.events for update in projections.sessions(event)]
        if updates:
            try:
                await self._projections.apply(updates)
            except UnavailableError:
                self._metrics.count(m.RETRIES, self.name)

    def _count(self, batch: Sequence[Placed], settlement: Settlement) -> None:
        fresh = {decision.id: decision for decision in settlement.fresh}
        for placed in batch:
            decision = fresh.pop(placed.command.id, None)
            if decision is not None:
                outcome = decision.problem.code if decision.problem else "accepted"
                self._metrics.count(m.DECISIONS, str(placed.command.__struct_config__.tag), outcome)


def _refs(batch: Sequence[Placed], known: dict[str, Decision]) -> set[Ref]:
    """Every document that a second settling of the batch may need."""
    return deciding.wanted(placed.command for placed in batch) | deciding.touched(known.values())
