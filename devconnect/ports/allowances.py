"""Where it is counted what each has used of what they may."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from devconnect.domain.allowances import Allowance, Rule


class Taking(Struct, frozen=True, kw_only=True):
    """Asks for something by a rule, in the name of `subject` (a user id, a network, a digest).

    An exact rule needs the `id` of the command. Where the user's tier isn't known, `rules` has one for each of
    `domain.allowances.TIERS`, all exact or none: the one of the tier that the store knows is applied, else the first.
    """

    subject: str
    rules: tuple[Rule, ...]
    id: str = ""


class Allowances(Protocol):
    """Counts. Whatever takes at once, all takers together never get more than a rule's quota."""

    async def take(self, takings: Sequence[Taking]) -> list[Allowance]:
        """What is granted to each, in one round trip; of a counted rule up to a block, of which less may be left.

        Each is decided by itself: one that is refused takes nothing, and the others stand. Raises
        truth.UnavailableError.
        """

    async def give_back(self, takings: Sequence[Taking], *, clear: Sequence[Taking] = ()) -> None:
        """Count one less of each (a command's id no more), and nothing of those to clear, in one round trip.

        Takings have one rule here. Raises truth.UnavailableError.
        """
