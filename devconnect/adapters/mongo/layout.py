"""Every collection on one page: what `_id` is, which fields there are, which indexes, and how keys are written.

Ids are texts everywhere. A document is found by its `_id`; what is listed has a text key of its own that sorts by time,
with a single-field index, since the embedded server answers ranges from such an index only (docs/adr/0003).
"""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from devconnect.adapters.mongo.connect import Database, reaching
from devconnect.domain.model import Kind

#: How long a decision is kept: longer than the day for which an Idempotency-Key is good, so that a replay finds it.
DECISION_KEPT = timedelta(days=7)
#: How long it is known that a mail was sent: longer than a request for one is kept in Kafka.
MAIL_KEPT = timedelta(days=14)
#: How long a parcel is known after it has expired: as long as a mail.
PARCEL_KEPT = timedelta(days=14)
#: How long people can ask why they were told of something, or not.
DELIVERY_KEPT = timedelta(days=30)
#: How long it is known on which occasion something was raised that is raised once for each.
OCCASION_KEPT = timedelta(days=7)


class Index(Struct, frozen=True):
    """An index on one field; with `expires` the field is the time at which the document goes.

    The embedded server gets no such index: there the expired go whenever `ensure_indexes` is called. Nor does it get
    one on a list of texts, `each` of which is looked for, the newest by `then` first: it would find none through it.
    """

    field: str
    expires: bool = False
    each: bool = False
    then: str = ""


class Collection(Struct, frozen=True, kw_only=True):
    """One collection: what `_id` is, the other fields, the indexes."""

    name: str
    id: str
    fields: str
    indexes: tuple[Index, ...] = ()


class Listing(Struct, frozen=True, kw_only=True):
    """A list that is paged newest first: the key's field in its collection, and what follows the prefix in a key."""

    collection: str
    key: str
    rest: str


USERS = "users"
LOGINS = "logins"
CHANNELS = "channels"
CREDENTIALS = "credentials"
PASSWORDS = "passwords"
CONNECTIONS = "connections"
RELATIONS = "relations"
CONVERSATIONS = "conversations"
MESSAGES = "messages"
TALKS = "talks"
WORDS = "words"
REPORTS = "reports"
NOTIFICATIONS = "notifications"
DECISIONS = "decisions"
MAILS = "mails"
OUTBOX = "outbox"
FAILING = "failing"
SEEN = "seen"
DELIVERIES = "deliveries"
DELIVERY_WINDOWS = "delivery_windows"
DIGESTS = "digests"
OCCASIONS = "occasions"
AUDIT = "audit"
INBOXES = "inboxes"
INBOX_ITEMS = "inbox_items"

#: Fields as in domain.model where it says "model": `id` is `_id`, the others by their names.
LAYOUT: tuple[Collection, ...] = (
    Collection(
        name=USERS,
        id="user id",
        fields="model.User; created: created_key, for the feed, or null for one that is deleted",
        indexes=(Index("created"),),
    ),
    Collection(name=LOGINS, id="user id", fields="model.Logins"),
    Collection(name=CHANNELS, id="user id", fields="model.Channels"),
    Collection(name=CREDENTIALS, id="normalised e-mail address", fields="model.Reservation: user, seq"),
    Collection(name=PASSWORDS, id="user id", fields="model.Secret: seq, password_hash"),
    Collection(name=CONNECTIONS, id="pair id", fields="model.Connection"),
    Collection(
        name=RELATIONS,
        id="user:other, twice a connection",
        fields="seq, user, other, state, by, at; k: relation_key; theirs and mine: the same where `other` or `user` "
        "did it, else null",
        indexes=(Index("k"), Index("theirs"), Index("mine")),
    ),
    Collection(
        name=REPORTS,
        id="command id",
        fields="model.Report; open and closed: report_key in the one that it is, null in the other",
        indexes=(Index("open"), Index("closed")),
    ),
    Collection(name=CONVERSATIONS, id="pair id", fields="model.Conversation, positions whole"),
    Collection(
        name=MESSAGES,
        id="conversation:seq (model.message_key)",
        fields="model.Message; k: the _id again",
        indexes=(Index("k"),),
    ),
    Collection(
        name=TALKS,
        id="user:peer, twice a conversation",
        fields="seq: when the last message was said; user, peer; k: talk_key",
        indexes=(Index("k"),),
    ),
    Collection(
        name=WORDS,
        id="user:message's _id, twice a message",
        fields="seq; words: user:word each, none of a deleted message; k: words_key",
        indexes=(Index("k"), Index("words", each=True, then="k")),
    ),
    Collection(
        name=NOTIFICATIONS,
        id="user:notification id",
        fields="user, notification, kind, about, at, read_at or null; k: the _id again; unread: the user, or null",
        indexes=(Index("k"), Index("unread")),
    ),
    Collection(name=SEEN, id="user id", fields="up_to: the id of the last notification that was seen"),
    Collection(
        name=DELIVERIES,
        id="user:notification id:channel (delivering.delivery_id)",
        fields="delivering.Delivery; rank: of its state, which only grows; held: due_at, while it is; open: the _id "
        "while it can become seen; gathered: `into`, or null; expires",
        indexes=(Index("held"), Index("open"), Index("gathered"), Index("expires", expires=True)),
    ),
    Collection(
        name=DELIVERY_WINDOWS,
        id="user:channel:group (delivering.window_id)",
        fields="delivering.Window; expires",
        indexes=(Index("expires", expires=True),),
    ),
    Collection(
        name=DIGESTS,
        id="user id",
        fields="seq: of the preferences that made it so; at: when the next is due; since: what it tells of began then; "
        "due: due_at, or null for whoever wants none",
        indexes=(Index("due"),),
    ),
    Collection(
        name=OCCASIONS,
        id="notifications.occasion",
        fields="event: the id of the one that raises it; expires",
        indexes=(Index("expires", expires=True),),
    ),
    Collection(
        name=AUDIT,
        id="event id",
        fields="model.Audit; k: audit_key",
        indexes=(Index("k"),),
    ),
    Collection(
        name=DECISIONS,
        id="command id",
        fields="decision: model.Decision as a JSON text, its events as Kafka carries them; expires",
        indexes=(Index("expires", expires=True),),
    ),
    Collection(
        name=MAILS,
        id="id of the request for a mail that was sent",
        fields="sent_at; k: mail_key, of a digest of the address; expires",
        indexes=(Index("k"), Index("expires", expires=True)),
    ),
    Collection(
        name=INBOXES, id="user id", fields="epoch; head, the last cursor; source_<source>, the last seq of each"
    ),
    Collection(
        name=INBOX_ITEMS,
        id="user:source:seq: what was told once is there once",
        fields="k: inbox_key; previous, kind; text: what sockets are sent, as JSON; expires",
        indexes=(Index("k"), Index("expires", expires=True)),
    ),
    Collection(
        name=OUTBOX,
        id="request:target",
        fields="ports.outbox.Parcel; due: due_key, null once it is done with, and due_at the time in it; state: queued "
        "or ports.outbox.End; why: of the last try; ended_at; expires",
        indexes=(Index("due"), Index("expires", expires=True)),
    ),
    Collection(
        name=FAILING,
        id="push subscription's or webhook's id",
        fields="since: when the first try failed after which none has succeeded; expires",
        indexes=(Index("expires", expires=True),),
    ),
)

#: Where the documents that commands are decided on are kept.
COLLECTION_OF: dict[Kind, str] = {
    "user": USERS,
    "logins": LOGINS,
    "channels": CHANNELS,
    "connection": CONNECTIONS,
    "conversation": CONVERSATIONS,
    "message": MESSAGES,
    "audit": AUDIT,
    "report": REPORTS,
}

FEED = Listing(collection=USERS, key="created", rest=r"\d{13}:.+")
#: Kept in Redis alone: only its cursors are known here.
RANKED_FEED = Listing(collection="", key="", rest=r"(?:ranked|active):\d.*")
ALL_RELATIONS = Listing(collection=RELATIONS, key="k", rest=r"\d{13}:.+")
THEIR_RELATIONS = Listing(collection=RELATIONS, key="theirs", rest=r"\d{13}:.+")
OWN_RELATIONS = Listing(collection=RELATIONS, key="mine", rest=r"\d{13}:.+")
OPEN_REPORTS = Listing(collection=REPORTS, key="open", rest=r"\d{13}:.+")
CLOSED_REPORTS = Listing(collection=REPORTS, key="closed", rest=r"\d{13}:.+")
CONVERSATION_LIST = Listing(collection=TALKS, key="k", rest=r"\d{13}:.+")
FOUND = Listing(collection=WORDS, key="k", rest=r"\d{13}:.+:\d{16}")
HISTORY = Listing(collection=MESSAGES, key="k", rest=r"\d{16}")
CHANGES = Listing(collection=AUDIT, key="k", rest=r"\d{13}:.+")
INBOX = Listing(collection=NOTIFICATIONS, key="k", rest=r"\d{13}-.+")


#: Behind every time that a key can hold.
LATEST = 10**13 - 1


def created_key(at: int, user: str) -> str:
    """Sorts users by when they joined."""
    return f"{at:013d}:{user}"


def relation_id(user: str, other: str) -> str:
    """The id of what is between the two as `user` sees it."""
    return f"{user}:{other}"


def relation_key(user: str, state: str, at: int, other: str) -> str:
    """Sorts one user's relations of one state by when they came to be so."""
    return f"{user}:{state}:{at:013d}:{other}"


def talk_key(user: str, at: int, peer: str) -> str:
    """Sorts one user's conversations by when the last message was said."""
    return f"{user}:{at:013d}:{peer}"


def words_key(user: str, at: int, message: str) -> str:
    """Sorts what one user can find by when it was said."""
    return f"{user}:{at:013d}:{message}"


def report_key(at: int, report: str) -> str:
    """Sorts reports by when they were made."""
    return f"{at:013d}:{report}"


def notification_key(user: str, notification: str) -> str:
    """The id of a notification: its own id is unique a recipient, and sorts by time."""
    return f"{user}:{notification}"


def inbox_item_id(user: str, source: str, seq: int) -> str:
    """The id of an entry of an inbox."""
    return f"{user}:{source}:{seq:016d}"


def inbox_key(user: str, epoch: int, cursor: int) -> str:
    """Sorts the entries of an inbox."""
    return f"{user}:{epoch:06d}:{cursor:016d}"


#: Sorts behind whatever a key is made of.
LAST = "~"


def due_at(at: int, name: str) -> str:
    """Sorts what waits by when it is due."""
    return f"{at:013d}:{name}"


def mail_key(kind: str, recipient: str, at: int) -> str:
    """Sorts the mails of a kind to one recipient by when they were sent."""
    return f"{kind}:{recipient}:{at:013d}"


def due_key(channel: str, at: int, parcel: str) -> str:
    """Sorts the parcels of a channel by when they are due."""
    return f"{channel}:{at:013d}:{parcel}"


def audit_key(user: str, at: int, audit: str) -> str:
    """Sorts the changes of one user's rights by time."""
    return f"{user}:{at:013d}:{audit}"


async def ensure_indexes(db: Database, *, within: float = 60.0) -> None:
    """Create the indexes that are not there yet; any number of processes may, at once, and as often as they like.

    Raises UnavailableError when that isn't done `within` seconds; a repetition carries on.
    """
    async with reaching(within):
        whole = await _is_whole(db)
        for collection in LAYOUT:
            table = db[collection.name]
            for index in collection.indexes:
                if index.each:
                    if whole:
                        await table.create_index([(index.field, 1), (index.then, -1)])
                elif not index.expires:
                    await table.create_index(index.field)
                elif whole:
                    await table.create_index(index.field, expireAfterSeconds=0)
                else:
                    await table.delete_many({index.field: {"$lt": datetime.now(UTC)}})


async def _is_whole(db: Database) -> bool:
    """Whether indexes do all that MongoDB's do.

    The embedded server scans for the expired at each read, and through an index on a list finds none of what is in it.
    """
    return (await db.client.admin.command("buildInfo")).get("process") != "nx_27017"
