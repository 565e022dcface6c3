"""Several steps on the batches of one topic in one worker role, which has a single agent there."""

from collections.abc import Sequence
from typing import Generic

from agents.processing import Slice, Step, T, together


class Several(Generic[T]):
    """Steps of which one comes after the others, and gives its name: when one of those can't be done yet, it isn't
    repeated with them. The others work side by side.
    """

    def __init__(self, *first: Step[T], then: Step[T]) -> None:
        self.name = then.name
        self.codec = then.codec
        self._first = first
        self._then = then

    async def apply(self, slices: Sequence[Slice[T]]) -> None:
        """Have the effects of all of them."""
        await together(*(step.apply(slices) for step in self._first))
        await self._then.apply(slices)
