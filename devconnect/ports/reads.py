"""What the gateway reads, from Redis or, when that can't be had, from the database."""

from collections.abc import Sequence
from typing import Generic, Literal, Protocol, TypeVar

from msgspec import Raw, Struct

from devconnect.domain.delivering import Delivery
from devconnect.domain.model import RelationState
from devconnect.events.base import ReportReason, Role, Tier
from devconnect.events.facts import NotificationPreferences, Privacy, Profile

T = TypeVar("T")
#: Where an answer came from, for the header X-Source.
Source = Literal["cache", "database"]


class Page(Struct, Generic[T], frozen=True):
    """Some items, and the cursor that what follows starts after (None: there is no more).

    `previous`, on the pages of a list that is read both ways, is the cursor of the way back: what is before the first
    item follows it, in the other direction. It is there even where nothing is before it yet.
    """

    items: tuple[T, ...]
    next: str | None = None
    previous: str | None = None


class SessionView(Struct, frozen=True, kw_only=True):
    """A session; `ended` for good when somebody logged out.

    It ends by itself at `expires_at` (of an ended one, 0 where that isn't known any more), which renewals move, at most
    to `ends_at`. By it one may do what both `role` and the user's own allow: domain.sessions.effective_role.
    """

    id: str
    user: str
    expires_at: int
    ended: bool
    ends_at: int = 0
    role: Role = "member"


class SessionsView(Struct, frozen=True, kw_only=True):
    """One of a user's sessions that were not ended, as they see it: over all the same once `expires_at` has passed."""

    id: str
    device: str
    place: str
    created_at: int
    used_at: int
    expires_at: int
    ends_at: int
    role: Role


class UserView(Struct, frozen=True, kw_only=True):
    """An account as projected; `seq` is the last event in it. Of a `deleted` one nothing is left but its id."""

    id: str
    email: str
    profile: Profile
    tier: Tier
    role: Role
    created_at: int
    seq: int
    updated_at: int = 0
    email_verified: bool = False
    privacy: Privacy = Privacy()
    notification_preferences: NotificationPreferences = NotificationPreferences()
    deleted: bool = False


class AuditView(Struct, frozen=True, kw_only=True):
    """A change of a user's tier or role (`what`), by a user or "system"; `before` is "" where it isn't known."""

    id: str
    user: str
    by: str
    what: Literal["tier", "role"]
    before: str
    after: str
    reason: str
    at: int


class RelationView(Struct, frozen=True, kw_only=True):
    """What is between the reader and `user`; "none", by nobody, where nothing ever was.

    "barred" is for privacy checks alone: to the reader this user is then unknown, and "removed" is as good as nothing.
    """

    user: str
    state: RelationState
    by: str
    at: int


def no_relation(user: str) -> RelationView:
    """What is between the reader and a user with whom nothing ever was."""
    return RelationView(user=user, state="none", by="", at=0)


class ReportView(Struct, frozen=True, kw_only=True):
    """What `by` told the operators of `user`; open while it has no `closed_at`."""

    id: str
    by: str
    user: str
    reason: ReportReason
    note: str
    at: int
    closed_at: int | None
    closed_by: str | None
    outcome: str | None


class MessageView(Struct, frozen=True, kw_only=True):
    """A message; `seq` is its place in the conversation. One that is `deleted` has an empty text."""

    id: str
    conversation: str
    seq: int
    sender: str
    recipient: str
    text: str
    at: int
    edited_at: int | None = None
    deleted: bool = False


class PositionView(Struct, frozen=True, kw_only=True):
    """How far each of the two has got: seq of the last message delivered and read."""

    user: str
    delivered: int
    read: int


class HistoryPage(Struct, frozen=True):
    """A page of a conversation as it is sent: `items` is a JSON list of what a MessageView holds, newest first.

    Encoded as it is, it is the whole answer: nothing in it is decoded on the way.
    """

    items: Raw
    next: str | None
    positions: list[PositionView]
    previous: str | None = None


class ConversationView(Struct, frozen=True, kw_only=True):
    """What the reader and `peer` say to each other: the last message, how many the reader hasn't read (200 at most
    are counted), how far each has got.
    """

    peer: str
    last: MessageView
    unread: int
    positions: tuple[PositionView, ...]


class PresenceView(Struct, frozen=True, kw_only=True):
    """Whether a person is here, and when they last were (milliseconds; 0 for never)."""

    user: str
    online: bool
    last_seen: int


class NotificationView(Struct, frozen=True, kw_only=True):
    """A notification in its recipient's list; whoever has read it has `seen` it."""

    id: str
    kind: str
    about: dict[str, str]
    at: int
    read: bool
    seen: bool = False


class CursorExpiredError(ValueError):
    """The cursor was good once; what it went on from isn't kept any more. Start the list anew."""


class Relations(Protocol):
    """Lists what is between a user and others. Raises truth.UnavailableError when the store can't be reached."""

    async def relations(
        self, user: str, state: RelationState, cursor: str | None, limit: int
    ) -> Page[RelationView] | None:
        """What stands in this state, newest first, as in `Reads`."""


class Reads(Protocol):
    """The read models. Every method raises truth.UnavailableError when the store can't be reached in time.

    Cursors are opaque texts that a page's `next` gave; a bad one raises ValueError. `limit` is 1 to 200.
    What a store can't know (it was wiped, or never held it) it gives as None, never as an empty page.
    """

    source: Source

    async def session(self, session: str, user: str) -> tuple[SessionView | None, UserView | None]:
        """The session and the user, in one round trip; None for what this store doesn't hold."""

    def remembered(self, session: str, user: str) -> tuple[SessionView, UserView] | None:
        """The same without asking the store, where both are at hand and known to be current; None otherwise.

        The session isn't ended; whether it has expired is for the caller to look, each time.
        """

    async def users(self, ids: Sequence[str]) -> list[UserView | None]:
        """The users, in the order asked for."""

    async def feed(self, user: str, cursor: str | None, limit: int, skills: Sequence[str] = ()) -> Page[str] | None:
        """Ids of people, without the user and whoever anything is, or was, between them and the user.

        Those come first who share the most of these skills, the reader's, then who was active last; the database has
        the newest first. A page may be short, even empty, and have a next one. Nobody comes twice behind one first
        page, whatever happens meanwhile. CursorExpiredError for a cursor that can't be gone on from: of a feed that was
        left alone for a quarter of an hour, that has begun in a Redis which was lost, or in Redis when this is the
        database.
        """

    async def relations(
        self,
        user: str,
        state: RelationState,
        cursor: str | None,
        limit: int,
        *,
        by_others: bool = False,
        by_me: bool = False,
    ) -> Page[RelationView] | None:
        """What stands in this state between the user and others, newest first.

        `by_others`: only what they did, as requests that wait for the user; `by_me`: only what the user did.
        """

    async def relations_to(self, user: str, others: Sequence[str]) -> list[RelationView] | None:
        """What is between the user and each of these, in the order asked for."""

    async def relation(self, user: str, other: str) -> RelationView | None:
        """What is between the two as `user` has it; None where this store can't know."""

    async def history(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> Page[MessageView] | None:
        """Messages, newest first; `forward`: oldest first, from the first on or from what follows the cursor.

        Both ways have the same cursors. `forward`, `next` is None only on an empty page: what is said later follows it.
        """

    async def conversations(self, user: str, cursor: str | None, limit: int) -> Page[ConversationView] | None:
        """The user's conversations, the one in which something was said last first."""

    async def conversation(self, user: str, peer: str) -> ConversationView | None:
        """The user's conversation with a peer; None also where nothing was said yet."""

    async def history_json(
        self, conversation: str, cursor: str | None, limit: int, *, forward: bool = False
    ) -> HistoryPage | None:
        """The same as it is sent, with the positions, in one round trip."""

    async def positions(self, conversation: str) -> list[PositionView] | None:
        """How far each of the two has got."""

    async def presence(self, ids: Sequence[str], now: int, reader: str | None = None) -> list[PresenceView]:
        """Who is here, in the order asked for: those who show that to the reader, or without one everybody."""

    async def notifications(self, user: str, cursor: str | None, limit: int) -> Page[NotificationView] | None:
        """Notifications, newest first."""

    async def unread_notifications(self, user: str) -> int | None:
        """How many are not read."""

    async def unseen_notifications(self, user: str) -> int | None:
        """How many were not seen: neither read nor before the user's eyes."""

    async def table(self, name: str, cursor: str | None, limit: int) -> Page[dict[str, str | int]] | None:
        """Rows of an analytics table's view."""


class Library(Protocol):
    """What only the database holds. As in Reads, but nothing is unknown to it."""

    async def search(
        self, user: str, words: Sequence[str], peer: str | None, cursor: str | None, limit: int
    ) -> Page[MessageView]:
        """The user's messages, to and from anybody or one peer, that have all of these words, newest first.

        The words are those of domain.search.sought; none of them find nothing. A page may be shorter than `limit`, even
        empty, and have a next one.
        """

    async def reports(self, cursor: str | None, limit: int, *, open_ones: bool = True) -> Page[ReportView]:
        """Reports that are open, or that are closed, the last made first."""

    async def report(self, report: str) -> ReportView | None:
        """A report by its id."""

    async def deliveries(self, user: str, notification: str) -> list[Delivery]:
        """What was decided of telling the user of a notification, by channel; empty where nothing was (yet)."""
