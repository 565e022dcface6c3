"""Who asks."""

from collections.abc import Mapping
from typing import NamedTuple

from devconnect.events.base import Role
from devconnect.ports.reads import SessionView, Source, UserView

#: Roles in rising order.
RANKS: Mapping[Role, int] = {"member": 0, "analyst": 1, "operator": 2}


class Caller(NamedTuple):
    """Who asks, by which session, and where that was read."""

    user: UserView
    session: SessionView
    source: Source

    @property
    def role(self) -> Role:
        """The role that counts: the session's or the user's, whichever gives less."""
        return min(self.session.role, self.user.role, key=RANKS.__getitem__)
