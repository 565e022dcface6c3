"""Inboxes: a log a person of what their devices are told, the newest in Redis and days of it in MongoDB."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from devconnect.domain.inbox import Head, Item
from devconnect.events.inbox import InboxEntry


class Placed(Struct, frozen=True):
    """An entry and its cursor, which follows from its offset."""

    cursor: int
    entry: InboxEntry


class Kept(Struct, frozen=True):
    """An entry that is in an inbox now: after `previous`, as `text`."""

    placed: Placed
    epoch: int
    previous: int
    text: str


class UnseededError(Exception):
    """These inboxes aren't held (any more), or not as they are by now: `seed` them, and try again."""

    def __init__(self, users: Collection[str]) -> None:
        super().__init__(f"{len(users)} inboxes aren't held")
        self.users = users


class ResetError(Exception):
    """These inboxes have new entries at cursors that were given before: the log is another one."""

    def __init__(self, users: Collection[str]) -> None:
        super().__init__(f"{len(users)} inboxes go back in their log")
        self.users = users


class InboxFeed(Protocol):
    """The newest entries, and who listens. Raises truth.UnavailableError when that can't be done now."""

    async def append(self, entries: Sequence[Placed]) -> list[Kept]:
        """Put the entries, in the order of their cursors, into the inboxes, and tell whoever listens.

        Gives what is in an inbox now: also what was before, as far as it is still held, and without repeats. Raises
        UnseededError and ResetError: then those of other inboxes are done all the same.
        """

    async def seed(self, heads: Mapping[str, Head]) -> None:
        """Hold these inboxes from here on, empty, and as far as that; but for those that are held so far already."""


class InboxStore(Protocol):
    """Days of entries. Raises truth.UnavailableError when that can't be done now."""

    async def heads(self, users: Collection[str]) -> Mapping[str, Head]:
        """How far each of these inboxes is; the head of an empty one for those that were never written."""

    async def keep(self, kept: Sequence[Kept]) -> None:
        """Keep the entries, each once, and how far their inboxes are."""

    async def renew(self, users: Collection[str]) -> None:
        """Begin these inboxes anew in another epoch."""


class Found(Struct, frozen=True):
    """What follows a cursor, one by one. Where `complete` is False, something between is kept no more.

    Then `items` are the newest that are kept. `head` is the inbox's last cursor, as far as is known.
    """

    epoch: int
    head: int
    items: Sequence[Item]
    complete: bool


class Inbox(Protocol):
    """What sockets read. Raises truth.UnavailableError when nobody can be asked."""

    async def heads(self, users: Sequence[str]) -> list[int | None]:
        """The last cursor of each as the fast store has it; None for what it doesn't hold."""

    async def after(self, user: str, cursor: int, epoch: int | None = None) -> Found:
        """What follows this cursor: at most as much as is held or a page of what is kept; then ask again.

        A cursor of another `epoch` has nothing that follows it.
        """

    async def newest(self, user: str) -> Found:
        """The newest that are kept, one by one: not all that there were."""


#: Is told of an entry that was put into an inbox just now, or, with a cursor of 0, of something that isn't kept.
Heard = Callable[[Item], None]


class Live(Protocol):
    """Hears at once what people's devices are told. What isn't heard is in the inbox."""

    @property
    def healthy(self) -> bool:
        """Whether all is heard, as far as is known."""

    def on_heard(self, call: Callable[[], None]) -> None:
        """Call whenever all is heard again: look then for what was missed."""

    async def listen(self, user: str, heard: Heard) -> bool:
        """Hear what one person's devices are told. True: from here on; False: once `on_heard` calls."""

    def forget(self, users: Sequence[str]) -> None:
        """Hear no more of these."""

    async def tell(self, user: str, kind: str, text: str) -> None:
        """Tell a person's devices, wherever they are, of something that isn't kept (JSON).

        Raises truth.UnavailableError when nobody can be told.
        """
