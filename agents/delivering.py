"""What push messages and webhooks have in common: requests become parcels, which are sent beside all batches.

A batch is done when its parcels are in the outbox, so whoever is slow or down holds up nobody: they have one slot.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from agents.processing import Slice
from devconnect.domain.channels import channels_of
from devconnect.domain.delivery import DISABLED_AFTER_MS, Outcome, next_try, rest
from devconnect.domain.model import Channels, Ref, Snapshot
from devconnect.events.base import RequestChannel
from devconnect.events.commands import UserCommand
from devconnect.events.facts import DeliveryRequested
from devconnect.events.topics import USER_COMMANDS, Topic, delivery_requests, user_commands
from devconnect.ports import metrics as m
from devconnect.ports.clock import Clock
from devconnect.ports.deliveries import Advance, Deliveries, Progress
from devconnect.ports.metrics import Metrics
from devconnect.ports.outbox import Outbox, Parcel
from devconnect.ports.publisher import DeadLetter, Publisher, Record
from devconnect.ports.truth import Truth, UnavailableError

logger = logging.getLogger(__name__)

#: Targets that are sent to at once, by one worker.
AT_ONCE = 32
#: Seconds between looks at what is due.
PAUSE = 0.5
#: Milliseconds for which a worker has a parcel to itself: longer than any try takes.
LEASE_MS = 60_000
#: Milliseconds after which it is forgotten that a target has failed.
FORGOTTEN_MS = 3_600_000
#: Seconds that what is under way has at the end, and between tries to note what was sent.
FINISH_SECONDS, NOTE_SECONDS = 5.0, 0.5


class Queue:
    """From requests to a parcel for each of the person's targets."""

    codec = delivery_requests

    def __init__(
        self,
        name: str,
        channel: RequestChannel,
        targets: Callable[[Channels], Sequence[str]],
        *,
        truth: Truth,
        outbox: Outbox,
        deliveries: Deliveries,
        clock: Clock,
        again: bool = False,
    ) -> None:
        """With `again` what was given up is sent once more."""
        self.name = name
        self._channel = channel
        self._targets = targets
        self._truth = truth
        self._outbox = outbox
        self._deliveries = deliveries
        self._clock = clock
        self._again = again

    async def apply(self, slices: Sequence[Slice[DeliveryRequested]]) -> None:
        """Put the parcels into the outbox; those that were ever in it stay as they are."""
        state = await self._truth.load({Ref("channels", each.user) for part in slices for each in part.values})
        now = self._clock.now_ms()
        parcels: list[Parcel] = []
        moves: list[Advance] = []
        for part in slices:
            for record, request in zip(part.records, part.values, strict=True):
                targets = self._targets(channels_of(state, request.user))
                parcels += [
                    self._parcel(request, target, part.partition, record.offset, now)
                    for target in targets
                    if request.expires_at > now
                ]
                if not targets or request.expires_at <= now:
                    why = "too old" if targets else "nobody to send it to"
                    moves.append(Advance(delivery=request.id, state="skipped", at=now, tries=0, why=why))
        await self._outbox.put(parcels, again=self._again)
        await self._deliveries.advance(moves)

    def _parcel(self, request: DeliveryRequested, target: str, partition: int, offset: int, now: int) -> Parcel:
        return Parcel(
            id=f"{request.id}:{target}",
            channel=self._channel,
            user=request.user,
            target=target,
            partition=partition,
            offset=offset,
            request=self.codec.encode(request).decode(),
            expires_at=request.expires_at,
            due=now,
        )


class Way(Protocol):
    """How one channel sends."""

    channel: RequestChannel
    topic: Topic
    waits: tuple[int, ...]
    #: What a request is once it was taken.
    taken: Progress

    async def send(self, parcel: Parcel, state: Snapshot) -> Outcome | None:
        """What became of a try; None where its target is there no more."""

    def refs(self, parcel: Parcel) -> set[Ref]:
        """The documents that it takes."""

    def farewell(self, parcel: Parcel, outcome: Outcome, now: int) -> UserCommand | None:
        """The command that ends a target which is gone, or, of an outcome "later", which has failed for days."""


class Sender:
    """Sends what is due: to one target one after the other, to many at once. A worker runs one a channel."""

    def __init__(
        self,
        way: Way,
        *,
        outbox: Outbox,
        truth: Truth,
        publisher: Publisher,
        deliveries: Deliveries,
        clock: Clock,
        metrics: Metrics,
        chance: Callable[[], float] = random.random,
        lease_ms: int = LEASE_MS,
    ) -> None:
        self._way = way
        self._outbox = outbox
        self._truth = truth
        self._publisher = publisher
        self._deliveries = deliveries
        self._clock = clock
        self._metrics = metrics
        self._chance = chance
        self._lease_ms = lease_ms
        self._under_way: dict[str, asyncio.Task[None]] = {}
        #: Failures in a row and until when it is left alone, by target.
        self._resting: dict[str, tuple[int, int]] = {}
        self._stir = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled; what is under way then has a little time."""
        try:
            while True:
                self._stir.clear()
                try:
                    await self._start_due()
                except UnavailableError as error:
                    logger.warning("%s waits: %s", self._way.channel, error)
                try:
                    async with asyncio.timeout(PAUSE):
                        await self._stir.wait()
                except TimeoutError:
                    continue
        finally:
            if tasks := list(self._under_way.values()):
                await asyncio.wait(tasks, timeout=FINISH_SECONDS)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_due(self) -> None:
        room, now = AT_ONCE - len(self._under_way), self._clock.now_ms()
        if room <= 0:
            return
        self._resting = {target: kept for target, kept in self._resting.items() if now < kept[1] + FORGOTTEN_MS}
        resting = {target for target, (_, until) in self._resting.items() if until > now}
        due = await self._outbox.due(self._way.channel, now, 4 * room, resting | self._under_way.keys())
        by_target: dict[str, list[Parcel]] = {}
        for parcel in due:
            by_target.setdefault(parcel.target, []).append(parcel)
        for target, parcels in list(by_target.items())[:room]:
            task = asyncio.create_task(self._carry(parcels))
            self._under_way[target] = task
            task.add_done_callback(partial(self._come_back, target))

    def _come_back(self, target: str, _: asyncio.Task[None]) -> None:
        self._under_way.pop(target, None)
        self._stir.set()

    async def _carry(self, parcels: Sequence[Parcel]) -> None:
        """One after the other, until one isn't taken."""
        try:
            for parcel in parcels:
                now = self._clock.now_ms()
                claimed = await self._outbox.claim(parcel, now + self._lease_ms)
                if claimed is not None and not await self._deliver(claimed, now):
                    return
        except UnavailableError as error:
            logger.warning("%s waits: %s", self._way.channel, error)
            await asyncio.sleep(NOTE_SECONDS)
        except Exception:
            # A fault of ours, before or after the sending: its claim ends, and it is tried again.
            logger.exception("a parcel for %s can't be dealt with", self._way.channel)

    async def _deliver(self, parcel: Parcel, now: int) -> bool:
        """Whether the next one may go to the same target."""
        if now >= parcel.expires_at:
            await self._give_up(parcel, "too old", now)
            return True
        state = await self._truth.load(self._way.refs(parcel))
        try:
            outcome = await self._way.send(parcel, state)
        except Exception as error:
            # A fault of ours: it counts as a try, and says nothing of the target.
            logger.exception("a parcel for %s can't be sent", self._way.channel)
            fault = Outcome("later", f"{type(error).__name__}: {error}")
            await self._put_off(replace(parcel, tries=parcel.tries + 1), fault, now)
            return False
        await self._until_noted(lambda: self._settle(parcel, outcome))
        return outcome is None or outcome.verdict != "later"

    async def _until_noted(self, note: Callable[[], Awaitable[None]]) -> None:
        """What was sent must be known before anybody may send it again."""
        while True:
            try:
                return await note()
            except UnavailableError as error:
                self._metrics.count(m.RETRIES, f"send-{self._way.channel}")
                logger.warning("what was sent by %s can't be noted: %s", self._way.channel, error)
                await asyncio.sleep(NOTE_SECONDS)

    async def _settle(self, parcel: Parcel, outcome: Outcome | None) -> None:
        now = self._clock.now_ms()
        verdict = "dropped" if outcome is None else outcome.verdict
        if outcome is None or verdict == "gone":
            await self._say_farewell(parcel, outcome, now)
            why = outcome.why if outcome else "its target is there no more"
            await self._outbox.end(parcel, "dropped", now, why)
            await self._advance(parcel, "skipped", parcel.tries, why)
            self._count("dropped")
        elif verdict == "taken":
            self._resting.pop(parcel.target, None)
            await self._outbox.end(parcel, "sent", now, "")
            await self._outbox.thrives(parcel.target)
            await self._advance(parcel, self._way.taken, parcel.tries + 1)
            self._count("sent")
        elif verdict == "too_large":
            await self._outbox.later(replace(parcel, smaller=parcel.smaller + 1), now, outcome.why)
            self._count("shortened")
        elif verdict == "refused":
            await self._give_up(parcel, outcome.why, now)
        else:
            if now - await self._outbox.failing_since(parcel.target, now) >= DISABLED_AFTER_MS:
                await self._say_farewell(parcel, outcome, now)
            await self._put_off(replace(parcel, tries=parcel.tries + 1), outcome, now)

    async def _put_off(self, parcel: Parcel, outcome: Outcome, now: int) -> None:
        self._rest(parcel.target, outcome.after_ms)
        wait = next_try(self._way.waits, parcel.tries, outcome.after_ms, self._chance())
        if wait is None or now + wait >= parcel.expires_at:
            await self._give_up(parcel, f"given up after {parcel.tries} tries: {outcome.why}", now)
            return
        await self._outbox.later(parcel, now + wait, outcome.why)
        self._count("put_off")

    def _rest(self, target: str, asked_ms: int | None) -> None:
        failures = self._resting.get(target, (0, 0))[0] + 1
        self._resting[target] = failures, self._clock.now_ms() + rest(failures, asked_ms)

    async def _give_up(self, parcel: Parcel, why: str, now: int) -> None:
        """A dead letter first: what is told twice has one name."""
        value, topic = parcel.request.encode(), self._way.topic.name
        letter = DeadLetter(
            agent=f"send-{self._way.channel}",
            cause=why,
            topic=topic,
            partition=parcel.partition,
            offset=parcel.offset,
            key=parcel.user.encode(),
            value=value,
        )
        await self._publisher.bury([letter])
        self._metrics.count(m.DEAD_LETTERS, letter.agent, topic)
        await self._outbox.end(parcel, "failed", now, why)
        await self._advance(parcel, "failed", parcel.tries, why)
        self._count("failed")

    async def _advance(self, parcel: Parcel, state: Progress, tries: int, why: str = "") -> None:
        request, now = delivery_requests.decode(parcel.request.encode()), self._clock.now_ms()
        await self._deliveries.advance([Advance(delivery=request.id, state=state, at=now, tries=tries, why=why)])

    async def _say_farewell(self, parcel: Parcel, outcome: Outcome | None, now: int) -> None:
        command = None if outcome is None else self._way.farewell(parcel, outcome, now)
        if command is not None:
            record = Record(command.key.encode(), user_commands.encode(command))
            await self._publisher.spread(USER_COMMANDS.name, [record])

    def _count(self, outcome: str) -> None:
        self._metrics.count(m.DELIVERIES, self._way.channel, outcome)
