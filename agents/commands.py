"""Decides commands: the only agent that writes the truth.

First the stored decision, then its effects (documents, acknowledged events, sessions), then the answer; each of them
harmless when it is repeated.
"""

from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from agents.processing import Slice, together
from devconnect.domain import deciding, projections
from devconnect.domain.deciding import Placed, Settlement
from devconnect.domain.model import Decision, Place, Snapshot
from devconnect.domain.projections import MarkNotificationsRead, Update
from devconnect.events.base import type_of
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

    async def apply(self, slices: Sequence[Slice[AnyCommand]]) -> None:
        """Decide each command once, have its effects, and answer it."""
        batch = [
            Placed(Place(part.topic, part.partition, record.offset), command)
            for part in slices
            for record, command in zip(part.records, part.values, strict=True)
        ]
        settlement = await self._settle(batch)
        await together(
            self._truth.save(settlement.documents),
            self._mark_read(settlement),
            *self._emit(settlement),
            self._open_and_close_sessions(settlement),
        )
        await self._answers.tell(settlement.answers)
        self._count(batch, settlement)

    async def _settle(self, batch: Sequence[Placed]) -> Settlement:
        """Decide, and store the decisions; where somebody was first with one, carry on from theirs."""
        commands = [placed.command for placed in batch]
        known, state = await self._read(commands)
        taken = deciding.reservations(command for command in commands if command.id not in known)
        holders = await self._truth.reserve(taken) if taken else {}
        while True:
            settlement = deciding.settle(batch, known, state, holders)
            if not settlement.fresh:
                return settlement
            others = await self._truth.record(settlement.fresh)
            if not others:
                return settlement
            known |= {decision.id: decision for decision in settlement.fresh} | dict(others)
            state = await self._truth.load(deciding.wanted(commands) | deciding.touched(known.values()))

    async def _read(self, commands: Sequence[AnyCommand]) -> tuple[dict[str, Decision], Snapshot]:
        """What is decided already, and the state that the rest is decided on."""
        decisions, snapshot = await together(
            self._truth.decisions({command.id for command in commands}), self._truth.load(deciding.wanted(commands))
        )
        missing = deciding.touched(decisions.values()) - deciding.wanted(commands)
        more = await self._truth.load(missing) if missing else {}
        return dict(decisions), {**snapshot, **more}

    async def _mark_read(self, settlement: Settlement) -> None:
        marks = [
            update
            for event in settlement.all_events()
            for update in projections.project(event)
            if isinstance(update, MarkNotificationsRead)
        ]
        if marks:
            await self._truth.mark_notifications_read(marks)

    def _emit(self, settlement: Settlement) -> Iterator[Coroutine[Any, Any, int]]:
        """The events, each to the partition of its command."""
        if self._events.codec is None:
            raise ValueError(f"{self._events.name} has no codec")
        for partition, events in settlement.events.items():
            records = [Record(event.key.encode(), self._events.codec.encode(event)) for event in events]
            yield self._publisher.publish(self._events.name, partition, records)

    async def _open_and_close_sessions(self, settlement: Settlement) -> None:
        """At once, so that a log-out holds when it is answered. The projections do it again, and wait for Redis."""
        updates: list[Update] = [update for event in settlement.all_events() for update in projections.sessions(event)]
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
                self._metrics.count(m.DECISIONS, type_of(placed.command), outcome)
