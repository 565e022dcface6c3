"""Lists conversations, and lets their messages be found, in the database."""

from collections.abc import Sequence

from agents.processing import Slice
from devconnect.domain import projections, search
from devconnect.domain.projections import PutTalk
from devconnect.domain.search import Entry
from devconnect.events.facts import AnyMessageEvent
from devconnect.events.topics import message_events
from devconnect.ports.listings import Listings


class ListTalks:
    """From `message-events` to each person's list of conversations: a write a person and peer, however much is said."""

    name = "list-talks"
    codec = message_events

    def __init__(self, listings: Listings) -> None:
        self._listings = listings

    async def apply(self, slices: Sequence[Slice[AnyMessageEvent]]) -> None:
        """Move the conversations of this batch to where their last messages put them."""
        newest: dict[tuple[str, str], PutTalk] = {}
        for talk in (talk for part in slices for event in part.values for talk in projections.talks(event)):
            before = newest.get((talk.user, talk.peer))
            if before is None or before.at < talk.at:
                newest[talk.user, talk.peer] = talk
        if newest:
            await self._listings.put_talks(list(newest.values()))


class IndexMessages:
    """From `message-events` to the words by which each of the two finds a message."""

    name = "index-messages"
    codec = message_events

    def __init__(self, listings: Listings) -> None:
        self._listings = listings

    async def apply(self, slices: Sequence[Slice[AnyMessageEvent]]) -> None:
        """Index what was said, as it was last changed in this batch."""
        last: dict[tuple[str, str], Entry] = {}
        for entry in (entry for part in slices for event in part.values for entry in search.entries(event)):
            last[entry.user, entry.message] = entry
        if last:
            await self._listings.put_words(list(last.values()))
