"""What only the gateway needs: a way to hand commands to Kafka, credentials, passwords, sessions that were ended."""

from collections.abc import Callable, Sequence
from typing import Protocol

from devconnect.domain.model import Channels
from devconnect.ports.reads import AuditView, Page, SessionsView


class Commands(Protocol):
    """Hands commands to Kafka."""

    def partition_of(self, key: str) -> int:
        """The partition that records of this key go to, the same for every topic of commands."""

    async def send(self, topic: str, key: str, value: bytes) -> int:
        """Returns the record's offset when every in-sync replica has it.

        Raises truth.UnavailableError within about a second otherwise; the record isn't sent later then, but one that
        was on its way may have arrived.
        """


class Credentials(Protocol):
    """Who holds an e-mail address, and what opens it."""

    async def credentials(self, email: str) -> tuple[str, str] | None:
        """The user id and the password's hash, None for an address that nobody holds.

        Raises truth.UnavailableError when the database can't be reached.
        """


class AccountLists(Protocol):
    """What is read of accounts in the database alone. Raises truth.UnavailableError when it can't be reached."""

    async def sessions_of(self, user: str) -> list[SessionsView]:
        """The user's sessions that were not ended, the one used last first."""

    async def channels_of(self, user: str) -> Channels | None:
        """Where the user is told of things; None where they never said."""

    async def audit(self, user: str, cursor: str | None, limit: int) -> Page[AuditView]:
        """The changes of the user's tier and role, newest first. Cursor and limit as in ports.reads.Reads."""


#: Is told of a session and its user.
OnEnd = Callable[[str, str], None]


class EndedSessions(Protocol):
    """The sessions that were ended in the last twenty minutes: longer than any access token is good for."""

    def ended(self, session: str) -> bool:
        """Whether the session was ended, as far as is known here."""

    def age(self) -> float:
        """Seconds since all that there was was known here; infinite before that ever was."""

    def current(self) -> bool:
        """Whether that was a moment ago."""

    def tell(self, on_end: OnEnd) -> None:
        """Call once for each session that is found ended from now on, in the loop; it mustn't raise."""


class Passwords(Protocol):
    """Hashes passwords and checks them, off the event loop."""

    async def hash(self, password: str) -> str:
        """A salted hash that says itself how it was made. Raises BusyError when too many wait for theirs."""

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed; for None it takes as long, and is False.

        Raises BusyError when too many wait for theirs.
        """

    async def check(self, password: str, inputs: Sequence[str]) -> str | None:
        """Why this can't be a new password, to be said after "password"; None when it can.

        `inputs` is what may be known of its owner: name, e-mail address. Raises BusyError as the others do.
        """


class BusyError(Exception):
    """Too much of this is asked for at once; nothing was done: try again in a moment."""
