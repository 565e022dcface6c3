"""The lists that the database keeps for readers, beside the truth: who has talked with whom, and in which words."""

from collections.abc import Sequence
from typing import Protocol

from devconnect.domain.projections import PutTalk
from devconnect.domain.search import Entry


class Listings(Protocol):
    """Every write moves forward only, and can be repeated; truth.UnavailableError when it can't be done now."""

    async def put_talks(self, talks: Sequence[PutTalk]) -> None:
        """List each conversation by when its last message was said, for one of the two."""

    async def put_words(self, entries: Sequence[Entry]) -> None:
        """Let each message be found by these words, and by no others."""
