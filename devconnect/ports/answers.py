"""Telling the asker what became of a command, and waiting to be told."""

from collections.abc import Collection, Sequence
from typing import Protocol

from devconnect.domain.deciding import Answer
from devconnect.domain.model import Decision


class Answers(Protocol):
    """The command agents' side."""

    async def tell(self, answers: Sequence[Answer]) -> None:
        """Store each result under its command's id for a day, and wake the gateway that waits for it.

        Best effort: a gateway that isn't woken finds the decision in the database.
        """

    async def forget(self, commands: Collection[str]) -> None:
        """Keep the results of these commands no longer. Best effort: they are kept for a day at most."""


class AnswerDesk(Protocol):
    """The gateway's side."""

    @property
    def address(self) -> str:
        """What commands carry as `reply_to`."""

    def expect(self, command_id: str) -> None:
        """Be ready for the answer: called before the command is sent."""

    async def wait(self, command_id: str, seconds: float) -> Decision | None:
        """The decision, or None when it didn't come in time. Ends the expectation."""

    async def find(self, command_id: str) -> Decision | None:
        """The decision on a command of any gateway in the last day, if there is one yet."""
