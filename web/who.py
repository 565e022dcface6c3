"""Who asks."""

from devconnect.domain.sessions import effective_role
from devconnect.events.base import Role
from devconnect.ports.reads import SessionView, Source, UserView


class Caller:
    """Who asks, by which session, and where that was read.

    `role` is the one that counts: the session's or the user's, whichever gives less.
    """

    __slots__ = ("role", "session", "source", "user")

    def __init__(self, user: UserView, session: SessionView, source: Source) -> None:
        self.user, self.session, self.source = user, session, source
        self.role: Role = effective_role(session.role, user.role)
