"""Who asks."""

from typing import NamedTuple

from devconnect.domain.sessions import effective_role
from devconnect.events.base import Role
from devconnect.ports.reads import SessionView, Source, UserView


class Caller(NamedTuple):
    """Who asks, by which session, and where that was read."""

    user: UserView
    session: SessionView
    source: Source

    @property
    def role(self) -> Role:
        """The role that counts: the session's or the user's, whichever gives less."""
        return effective_role(self.session.role, self.user.role)
