"""Ends what is between people who have deleted their account and others, by commands as anybody gives them."""

from collections.abc import Sequence

from agents.processing import Slice
from devconnect.domain import erasure
from devconnect.domain.model import RelationState
from devconnect.events.commands import ConnectionCommand
from devconnect.events.facts import AnyUserEvent, UserDeleted
from devconnect.events.topics import CONNECTION_COMMANDS, USER_EVENTS, connection_commands, user_events
from devconnect.ports.publisher import Publisher, Record
from devconnect.ports.reads import Relations
from devconnect.ports.truth import UnavailableError

#: Relations that are read at a time.
PAGE = 200


class EraseRelations:
    """From `user-events` to `connection-commands`: the ids follow from the event, so each is decided once."""

    name = f"erase-{USER_EVENTS.name}"
    codec = user_events

    def __init__(self, relations: Relations, publisher: Publisher) -> None:
        self._relations = relations
        self._publisher = publisher

    async def apply(self, slices: Sequence[Slice[AnyUserEvent]]) -> None:
        """Ask for the end of all that is between the deleted and others."""
        for event in (event for part in slices for event in part.values):
            if isinstance(event, UserDeleted):
                commands = erasure.commands(event, await self._standing(event.user))
                if commands:
                    await self._publisher.spread(CONNECTION_COMMANDS.name, [_record(command) for command in commands])

    async def _standing(self, user: str) -> list[tuple[str, RelationState, str]]:
        """(other, state, by) of whatever the user has with others."""
        found: list[tuple[str, RelationState, str]] = []
        for state in erasure.STANDING:
            cursor: str | None = None
            while True:
                page = await self._relations.relations(user, state, cursor, PAGE)
                if page is None:
                    raise UnavailableError("what is between people isn't known here")
                found += [(relation.user, relation.state, relation.by) for relation in page.items]
                cursor = page.next
                if cursor is None:
                    break
        return found


def _record(command: ConnectionCommand) -> Record:
    return Record(command.key.encode(), connection_commands.encode(command))
