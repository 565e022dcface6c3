"""What is between a deleted person and others: the commands that end it."""

import uuid
from collections.abc import Iterable
from typing import TypedDict

from devconnect.domain.model import RelationState
from devconnect.events import commands as c, facts as f
from devconnect.events.base import pair_id

#: What is left between two people when nobody ends it.
STANDING: tuple[RelationState, ...] = ("accepted", "requested")
_NAMESPACE = uuid.UUID("c2a5f0c6-7f0e-4a53-9b6d-3d5f6f8f2f6d")


class _Stamp(TypedDict):
    id: str
    actor: str
    at: int


def commands(event: f.UserDeleted, relations: Iterable[tuple[str, RelationState, str]]) -> list[c.ConnectionCommand]:
    """What ends each of these, given as (other, state, by); the same command with the same id however often it's asked.

    They are the deleted person's own: who is connected is let go of, who was asked isn't asked any more, and who asks
    has their answer.
    """
    return [_command(event, *relation) for relation in relations]


def _command(event: f.UserDeleted, other: str, state: RelationState, by: str) -> c.ConnectionCommand:
    def stamp(what: str) -> _Stamp:
        """The id follows from the event, the pair and what is done: a request may be accepted meanwhile."""
        name = f"{event.id} {pair_id(event.user, other)} {what}"
        return _Stamp(id=uuid.uuid5(_NAMESPACE, name).hex, actor=event.user, at=event.at)

    if state == "accepted":
        return c.RemoveConnection(**stamp("remove"), other=other)
    if by == event.user:
        return c.WithdrawRequest(**stamp("withdraw"), to=other)
    return c.ReviewConnection(**stamp("reject"), requester=other, verdict="rejected")
