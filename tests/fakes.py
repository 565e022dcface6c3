"""The ports in memory, for tests of what stands on them. They keep the promises of the ports' docstrings."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from devconnect.domain.deciding import Answer
from devconnect.domain.model import AnyDocument, Decision, Ref, Reservation, Snapshot, ref_of
from devconnect.domain.projections import AddNotification, MarkNotificationsRead, Update
from devconnect.ports.answers import Answers
from devconnect.ports.projections import Projections
from devconnect.ports.publisher import DeadLetter, Publisher, Record
from devconnect.ports.truth import Truth


class CrashError(BaseException):
    """The process is gone: nothing catches this."""


#: Called before and after each effect, so that a test can end the process there.
Hook = Callable[[str], None]


def no_hook(_: str) -> None:
    """Nothing happens."""


class MemoryTruth(Truth):
    """The database as a few dictionaries."""

    def __init__(self) -> None:
        self.hook: Hook = no_hook
        self.stored: dict[str, Decision] = {}
        self.credentials: dict[str, Reservation] = {}
        self.documents: dict[Ref, AnyDocument] = {}
        self.notifications: dict[tuple[str, str], AddNotification] = {}
        self.read: dict[tuple[str, str], int] = {}

    async def decisions(self, ids: Collection[str]) -> Mapping[str, Decision]:
        return {key: self.stored[key] for key in ids if key in self.stored}

    async def record(self, decisions: Sequence[Decision]) -> Mapping[str, Decision]:
        others = {}
        for decision in decisions:
            self.hook("record")
            if decision.id in self.stored:
                others[decision.id] = self.stored[decision.id]
            else:
                self.stored[decision.id] = decision
            self.hook("recorded")
        return others

    async def reserve(self, reservations: Sequence[Reservation]) -> Mapping[str, str]:
        for reservation in reservations:
            self.hook("reserve")
            self.credentials.setdefault(reservation.email, reservation)
        return {wanted.email: self.credentials[wanted.email].user for wanted in reservations}

    async def load(self, refs: Collection[Ref]) -> Snapshot:
        return {ref: self.documents[ref] for ref in refs if ref in self.documents}

    async def save(self, documents: Iterable[AnyDocument]) -> None:
        for document in documents:
            self.hook("save")
            before = self.documents.get(ref_of(document))
            if before is None or before.seq < document.seq:
                self.documents[ref_of(document)] = document
            self.hook("saved")

    async def add_notifications(self, notifications: Sequence[AddNotification]) -> None:
        for notification in notifications:
            self.notifications.setdefault((notification.user, notification.notification), notification)

    async def mark_notifications_read(self, marks: Sequence[MarkNotificationsRead]) -> None:
        for mark in marks:
            for name in mark.notifications:
                self.read.setdefault((mark.user, name), mark.at)


class MemoryPublisher(Publisher):
    """Every partition is a list."""

    def __init__(self) -> None:
        self.hook: Hook = no_hook
        self.logs: dict[tuple[str, int], list[Record]] = {}
        self.letters: list[DeadLetter] = []

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        log = self.logs.setdefault((topic, partition), [])
        for record in records:
            self.hook("publish")
            log.append(record)
        self.hook("published")
        return len(log) - 1

    async def spread(self, topic: str, records: Sequence[Record]) -> None:
        await self.publish(topic, 0, records)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        self.hook("bury")
        self.letters.extend(letters)


class MemoryAnswers(Answers):
    """What was told, by command id."""

    def __init__(self) -> None:
        self.told: dict[str, Decision] = {}

    async def tell(self, answers: Sequence[Answer]) -> None:
        self.told.update((answer.id, answer.decision) for answer in answers)


class MemoryProjections(Projections):
    """The updates, in order."""

    def __init__(self) -> None:
        self.hook: Hook = no_hook
        self.updates: list[Update] = []
        self.whole = False

    async def apply(self, updates: Sequence[Update]) -> None:
        self.hook("apply")
        self.updates.extend(updates)

    async def complete(self) -> bool:
        return self.whole

    async def declare_complete(self) -> None:
        self.whole = True
