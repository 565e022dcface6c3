"""Updates of one record that a batch has many of, as one: those whose order means nothing."""

from collections.abc import Sequence

from msgspec import Struct

from devconnect.domain.model import UNREAD_KEPT
from devconnect.domain.projections import PutTalk, PutUnread, Update


class PutTalks(Struct, frozen=True):
    """Several PutTalk of one user: when, by peer."""

    user: str
    peers: dict[str, int]


class PutUnreads(Struct, frozen=True):
    """Several PutUnread of one conversation and user, as (place, gone)."""

    conversation: str
    user: str
    places: tuple[tuple[int, bool], ...]


Gathered = Update | PutTalks | PutUnreads


def gathered(updates: Sequence[Update]) -> list[Gathered]:
    """The same in effect: the others as they are and in order, behind them what can be gathered."""
    others: list[Gathered] = []
    talks: dict[str, dict[str, int]] = {}
    unread: dict[tuple[str, str], dict[int, bool]] = {}
    for update in updates:
        match update:
            case PutTalk():
                peers = talks.setdefault(update.user, {})
                peers[update.peer] = max(update.at, peers.get(update.peer, 0))
            case PutUnread():
                places = unread.setdefault((update.conversation, update.user), {})
                places[update.place] = update.gone or places.get(update.place, False)
            case _:
                others.append(update)
    for (conversation, user), places in unread.items():
        newest = sorted(places.items())[-UNREAD_KEPT:]
        others.append(PutUnreads(conversation, user, tuple(newest)))
    return [*others, *(PutTalks(user, peers) for user, peers in talks.items())]
