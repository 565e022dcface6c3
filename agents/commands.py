"""Decides commands: the only agent that writes the truth.

First the stored decision, then what others are told of it (entries of inboxes, events, ends of sessions, acknowledged),
then its other effects (documents, passwords, sessions), then the addresses that it lets go of, then the answer; each of
them harmless when it is repeated.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any

from agents.memory import Memory
from agents.processing import Slice, together
from devconnect.domain import deciding, inbox, projections
from devconnect.domain.deciding import Placed, Settlement
from devconnect.domain.model import Decision, Kind, Place, Ref, Snapshot, ref_of
from devconnect.domain.projections import MarkNotificationsRead, MarkNotificationsSeen, Update
from devconnect.events.base import type_of
from devconnect.events.commands import AnyCommand
from devconnect.events.facts import SessionEnded, UserLoggedOut
from devconnect.events.topics import (
    COMMAND_TO_EVENT,
    CONNECTION_COMMANDS,
    INBOX_EVENTS,
    MESSAGE_COMMANDS,
    SESSION_ENDS,
    USER_COMMANDS,
    Topic,
    inbox_events,
    session_ends,
)
from devconnect.ports import metrics as m
from devconnect.ports.answers import Answers
from devconnect.ports.metrics import Metrics
from devconnect.ports.projections import Projections
from devconnect.ports.publisher import Publisher, Record
from devconnect.ports.truth import Truth, UnavailableError

#: Commands that are decided at a time: their decisions are stored while those before them have their effects.
CHUNK = 2_000
#: The documents that the commands of a topic change, and nobody else does.
OWN: dict[str, tuple[Kind, ...]] = {
    USER_COMMANDS.name: ("user", "logins", "channels"),
    CONNECTION_COMMANDS.name: ("connection", "report"),
    MESSAGE_COMMANDS.name: ("conversation", "message"),
}


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
        chunk: int = CHUNK,
    ) -> None:
        if topic.codec is None:
            raise ValueError(f"{topic.name} has no codec")
        self.name = f"decide-{topic.name}"
        self.codec = topic.codec
        self._events = COMMAND_TO_EVENT[topic.name]
        self._own = OWN[topic.name]
        self._memory = Memory(self._own)
        self._truth = truth
        self._publisher = publisher
        self._projections = projections
        self._answers = answers
        self._metrics = metrics
        self._chunk = chunk

    async def apply(self, slices: Sequence[Slice[AnyCommand]]) -> None:
        """Decide each command once, have its effects, and answer it."""
        batch = [
            Placed(Place(part.topic, part.partition, record.offset), command)
            for part in slices
            for record, command in zip(part.records, part.values, strict=True)
        ]
        try:
            self._memory.follow(slices)
            await self._work(batch)
            self._memory.finish(slices)
        except BaseException:
            self._memory.forget()
            raise

    async def _work(self, batch: Sequence[Placed]) -> None:
        """Settle a chunk while the one before it has its effects; the effects of two chunks are never mixed."""
        effects: asyncio.Task[None] | None = None
        try:
            for start in range(0, len(batch), self._chunk):
                chunk = batch[start : start + self._chunk]
                settlement, new = await self._settle(chunk)
                if effects is not None:
                    await effects
                effects = asyncio.create_task(self._have_effects(chunk, settlement, new))
            if effects is not None:
                await effects
        except BaseException:
            if effects is not None:
                effects.cancel()
                await asyncio.gather(effects, return_exceptions=True)
            raise

    async def _have_effects(self, chunk: Sequence[Placed], settlement: Settlement, new: set[Ref]) -> None:
        # First, and by itself: who is told of it waits for this, and for none of what follows.
        await together(self._tell_devices(settlement), *self._emit(settlement), *self._tell_of_ends(settlement))
        await together(
            self._truth.save(settlement.documents, new=new),
            self._keep_secrets(settlement),
            self._mark_read(settlement),
            self._open_and_close_sessions(settlement),
        )
        if settlement.releases:
            # Not before the documents: nobody else may have an address while one of them still says that it is taken.
            await self._truth.release(settlement.releases)
        await self._answers.tell(settlement.answers)
        await self._answers.forget(settlement.taken_back)
        self._count(chunk, settlement)

    async def _settle(self, chunk: Sequence[Placed]) -> tuple[Settlement, set[Ref]]:
        """Decide, and store the decisions; where somebody was first with one, carry on from theirs.

        What is decided already comes to light when its decision is stored again: they are stored in order up to the
        first of those, and what was decided on before it could be known is decided anew. A reservation comes before its
        decision, so where there are any the decisions are read first.

        With it come the names of the documents that weren't there before.
        """
        commands = [placed.command for placed in chunk]
        wanted = deciding.wanted(commands)
        known: dict[str, Decision] = {}
        state = await self._look_up(wanted)
        holders: Mapping[str, str] = {}
        if deciding.reservations(chunk, known):
            known, state = await self._know(commands, state)
            holders = await self._truth.reserve(deciding.reservations(chunk, known))
        while True:
            settlement = deciding.settle(chunk, known, state, holders)
            if not settlement.fresh or not await self._truth.record(settlement.fresh):
                break
            known, state = await self._know(commands, state)
        self._memory.keep(wanted, state, settlement.documents)
        return settlement, {ref for ref in map(ref_of, settlement.documents) if ref not in state}

    async def _know(self, commands: Sequence[AnyCommand], state: Snapshot) -> tuple[dict[str, Decision], Snapshot]:
        """What is decided already, and the state with all that it has touched."""
        known = dict(await self._truth.decisions({command.id for command in commands}))
        return known, {**state, **await self._look_up(deciding.touched(known.values()) - state.keys())}

    async def _look_up(self, refs: set[Ref]) -> Snapshot:
        """The documents: as the commands before have left them, which needn't be stored yet, or as they are stored."""
        state, unknown = self._memory.recall(refs)
        return {**state, **await self._truth.load(unknown)} if unknown else state

    async def _mark_read(self, settlement: Settlement) -> None:
        updates = [update for event in settlement.all_events() for update in projections.project(event)]
        read = [update for update in updates if isinstance(update, MarkNotificationsRead)]
        if read:
            await self._truth.mark_notifications_read(read)
        seen = [update for update in updates if isinstance(update, MarkNotificationsSeen)]
        if seen:
            await self._truth.mark_notifications_seen(seen)

    def _emit(self, settlement: Settlement) -> Iterator[Coroutine[Any, Any, int]]:
        """The events, each to the partition of its command."""
        if self._events.codec is None:
            raise ValueError(f"{self._events.name} has no codec")
        for partition, events in settlement.events.items():
            records = [Record(event.key.encode(), self._events.codec.encode(event)) for event in events]
            yield self._publisher.publish(self._events.name, partition, records)

    def _tell_of_ends(self, settlement: Settlement) -> Iterator[Coroutine[Any, Any, int]]:
        """The ends of sessions, for every gateway; acknowledged before anybody is answered."""
        for partition, events in settlement.events.items():
            ends = [
                SessionEnded(session=event.session, user=event.user, at=event.at)
                for event in events
                if isinstance(event, UserLoggedOut)
            ]
            if ends:
                records = [Record(end.key.encode(), session_ends.encode(end)) for end in ends]
                yield self._publisher.publish(SESSION_ENDS.name, partition, records)

    async def _tell_devices(self, settlement: Settlement) -> None:
        """What people's devices are told at once: by no way round, and with nothing to wait for but the decision."""
        records = [
            Record(entry.key.encode(), inbox_events.encode(entry))
            for partition, events in settlement.events.items()
            for event in events
            for entry in inbox.entries(event, inbox.source_of(self._events.name, partition))
        ]
        if records:
            await self._publisher.spread(INBOX_EVENTS.name, records)

    async def _keep_secrets(self, settlement: Settlement) -> None:
        if settlement.secrets:
            await self._truth.keep_secrets(settlement.secrets)

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
