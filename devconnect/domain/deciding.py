"""Deciding a batch of commands: each once, in order, on the state that the ones before it left."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from devconnect.domain import accounts, addresses, connections, messaging, passwords
from devconnect.domain.model import (
    AnyDocument,
    Audit,
    Decision,
    Message,
    Place,
    Problem,
    Ref,
    Reservation,
    Secret,
    Snapshot,
    ref_of,
)
from devconnect.domain.verdict import Verdict
from devconnect.events import commands as c, facts as f
from devconnect.events.base import seq_of, type_of


class Placed(Struct, frozen=True):
    """A command and where it stands."""

    place: Place
    command: c.AnyCommand


class Answer(Struct, frozen=True):
    """What the asker of a command is told."""

    id: str
    reply_to: str
    decision: Decision


class Settlement(Struct, frozen=True, kw_only=True):
    """What a batch comes to: decisions to store, documents to write, events to emit by partition, answers to give.

    Also passwords to set, and, once the documents are written, e-mail addresses to let go of. `taken_back` are commands
    of before whose results say what was deleted since.
    """

    fresh: tuple[Decision, ...]
    documents: tuple[AnyDocument, ...]
    events: dict[int, list[f.AnyEvent]]
    answers: tuple[Answer, ...]
    secrets: tuple[Secret, ...] = ()
    releases: tuple[Reservation, ...] = ()
    taken_back: tuple[str, ...] = ()

    def all_events(self) -> Iterator[f.AnyEvent]:
        """The events of every partition."""
        for events in self.events.values():
            yield from events


def wanted(commands: Iterable[c.AnyCommand]) -> set[Ref]:
    """The documents that the verdicts on these commands rest on."""
    refs: set[Ref] = set()
    for command in commands:
        if isinstance(command, c.ConnectionCommand):
            refs.update(connections.wanted(command))
        elif isinstance(command, c.MessageCommand):
            refs.update(messaging.wanted(command))
        else:
            refs.update(accounts.wanted(command))
    return refs


def touched(decisions: Iterable[Decision]) -> set[Ref]:
    """The documents that the events of these decisions change: needed to carry on from a stored decision."""
    refs: set[Ref] = set()
    for event in (event for decision in decisions for event in decision.events):
        match event:
            case f.UserEvent():
                refs.update(accounts.touched(event))
            case f.ConnectionEvent():
                refs.update(connections.touched(event))
            case f.MessageEvent():
                refs.update(messaging.touched(event))
    return refs


def reservations(batch: Iterable[Placed], known: Collection[str] = ()) -> tuple[Reservation, ...]:
    """The e-mail addresses that these commands take, each once; one whose id is known, or comes again, takes none."""
    seen = set(known)
    taken: list[Reservation] = []
    for placed in batch:
        wanted = addresses.reservation(placed.command, seq_of(placed.place.offset))
        if wanted is not None and placed.command.id not in seen:
            taken.append(wanted)
        seen.add(placed.command.id)
    return addresses.merged(taken)


def decide(command: c.AnyCommand, place: Place, state: Snapshot, holders: Mapping[str, str]) -> Decision:
    """The decision on one command."""
    verdict: Verdict
    if isinstance(command, c.ConnectionCommand):
        verdict = connections.decide(command, place.offset, state)
    elif isinstance(command, c.MessageCommand):
        verdict = messaging.decide(command, place.offset, state)
    else:
        verdict = accounts.decide(command, place.offset, state, holders)
    return Decision(
        id=command.id,
        command=type_of(command),
        topic=place.topic,
        partition=place.partition,
        seq=seq_of(place.offset),
        actor=command.actor,
        fingerprint=command.fingerprint,
        at=command.at,
        result=verdict.result,
        problem=verdict.problem,
        events=verdict.events,
        last=verdict.events[-1].seq if verdict.events else 0,
    )


def evolve(state: Snapshot, event: f.AnyEvent) -> tuple[AnyDocument, ...]:
    """The documents as they are after the event; only those that it changes."""
    if isinstance(event, f.ConnectionEvent):
        return connections.evolve(state, event)
    if isinstance(event, f.MessageEvent):
        return messaging.evolve(state, event)
    if isinstance(event, f.UserEvent):
        return accounts.evolve(state, event)
    raise TypeError(f"{type(event).__name__} changes no document")


def is_carried_out(decision: Decision, state: Snapshot) -> bool:
    """Whether the documents that it touches are in `state` as its events leave them, or newer.

    Messages and audits aren't looked for: they are written before their conversation or account.
    """
    for document in (document for event in decision.events for document in evolve(state, event)):
        before = state.get(ref_of(document))
        if not isinstance(document, Message | Audit) and (before is None or before.seq < document.seq):
            return False
    return True


def settle(
    batch: Sequence[Placed],
    known: Mapping[str, Decision],
    state: Snapshot,
    holders: Mapping[str, str],
) -> Settlement:
    """Decide what is not decided yet, and carry on from the stored decision where one is known.

    The commands are of one topic; those of one partition are in order.

    A command whose id was decided at another place is a repeat: it is only answered again, or refused when it
    isn't the same request.
    """
    now = dict(state)
    decided = dict(known)
    fresh: list[Decision] = []
    documents: dict[Ref, AnyDocument] = {}
    events: dict[int, list[f.AnyEvent]] = {}
    answers: list[Answer] = []
    secrets: dict[str, Secret] = {}
    releases: list[Reservation] = []
    taken: list[str] = []
    for placed in batch:
        command, place = placed.command, placed.place
        decision = decided.get(command.id)
        if decision is None:
            decision = decided[command.id] = decide(command, place, now, holders)
            fresh.append(decision)
        elif not _is_at(decision, place):
            answers.append(Answer(command.id, command.reply_to, _repeated(decision, command)))
            continue
        for event in decision.events:
            for document in evolve(now, event):
                now[ref_of(document)] = documents[ref_of(document)] = document
            taken += messaging.taken_back(now, event)
        if decision.events:
            events.setdefault(place.partition, []).extend(decision.events)
        secrets.update((secret.user, secret) for secret in passwords.secrets(command, decision))
        releases += addresses.releases(command, decision)
        answers.append(Answer(command.id, command.reply_to, decision))
    return Settlement(
        fresh=tuple(fresh),
        documents=tuple(documents.values()),
        events=events,
        answers=tuple(answers),
        secrets=tuple(secrets.values()),
        releases=tuple(released for released in releases if not addresses.kept(released, now)),
        taken_back=tuple(taken),
    )


def _is_at(decision: Decision, place: Place) -> bool:
    here = (place.topic, place.partition, seq_of(place.offset))
    return (decision.topic, decision.partition, decision.seq) == here


def _repeated(decision: Decision, command: c.AnyCommand) -> Decision:
    if decision.fingerprint == command.fingerprint:
        return decision
    return Decision(
        id=decision.id,
        command=type_of(command),
        topic=decision.topic,
        partition=decision.partition,
        seq=decision.seq,
        actor=command.actor,
        fingerprint=command.fingerprint,
        at=command.at,
        problem=Problem("idempotency_key_reused", "This Idempotency-Key was used for another request: use a new one."),
    )
