"""Documents, decisions, reservations and notifications as the fields that MongoDB holds, and back. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Fields
from devconnect.domain.model import (
    AnyDocument,
    Audit,
    Channels,
    Connection,
    Conversation,
    Decision,
    Kind,
    Logins,
    Message,
    Problem,
    RelationState,
    Report,
    Reservation,
    Secret,
    User,
)
from devconnect.domain.projections import AddNotification, PutTalk
from devconnect.domain.search import Entry
from devconnect.events.base import other_of
from devconnect.events.codec import Codec
from devconnect.events.topics import COMMAND_TO_EVENT

_TYPES: dict[Kind, type[AnyDocument]] = {
    "user": User,
    "logins": Logins,
    "channels": Channels,
    "connection": Connection,
    "conversation": Conversation,
    "message": Message,
    "audit": Audit,
    "report": Report,
}


def document_fields(document: AnyDocument) -> Fields:
    """A document of the truth, with the key that its collection is listed by."""
    fields: Fields = msgspec.to_builtins(document)
    fields = {"_id": fields.pop("id"), **fields}
    match document:
        case User():
            # Neither the deleted nor those who don't want to be found are listed.
            found = document.privacy.discoverable and not document.deleted
            fields["created"] = layout.created_key(document.created_at, document.id) if found else None
        case Audit():
            fields["k"] = layout.audit_key(document.user, document.at, document.id)
        case Message():
            fields["k"] = document.id
        case Report():
            key = layout.report_key(document.at, document.id)
            fields["open"], fields["closed"] = (key, None) if document.closed_at is None else (None, key)
    return fields


def document_of(kind: Kind, fields: Fields) -> AnyDocument:
    """The document that these fields hold.

    Not strictly: on the embedded server a truth value that an update has set comes back as 0 or 1.
    """
    document: AnyDocument = msgspec.convert({**fields, "id": fields["_id"]}, _TYPES[kind], strict=False)
    return document


def relation_fields(connection: Connection) -> Iterator[Fields]:
    """What is between the two, as each of them sees it; nothing where nothing ever was."""
    one, other = connection.users
    for user, peer in ((one, other), (other, one)):
        state, by, at = _seen_by(user, peer, connection)
        if state == "none":
            continue
        key = layout.relation_key(user, state, at, peer)
        yield {
            "_id": layout.relation_id(user, peer),
            "seq": connection.seq,
            "user": user,
            "other": peer,
            "state": state,
            "by": by,
            "at": at,
            "k": key,
            "theirs": key if by == peer else None,
            "mine": key if by == user else None,
        }


def _seen_by(user: str, peer: str, connection: Connection) -> tuple[RelationState, str, int]:
    """The state, whose doing it is, and since when."""
    if user in connection.blocked_by:
        return "blocked", user, connection.blocked_by[user]
    if peer in connection.blocked_by:
        return "barred", peer, connection.at
    return connection.state, connection.by, connection.at


def talk_fields(talk: PutTalk) -> Fields:
    """A conversation in the list of one of its two people: forward only by time."""
    return {
        "_id": layout.relation_id(talk.user, talk.peer),
        "seq": talk.at,
        "user": talk.user,
        "peer": talk.peer,
        "k": layout.talk_key(talk.user, talk.at, talk.peer),
    }


def words_fields(entry: Entry) -> Fields:
    """What a user can find a message by."""
    return {
        "_id": f"{entry.user}:{entry.message}",
        "seq": entry.seq,
        "words": [word_of(entry.user, word) for word in _sought(entry)],
        "k": layout.words_key(entry.user, entry.at, entry.message),
    }


def _sought(entry: Entry) -> tuple[str, ...]:
    conversation = entry.message.rpartition(":")[0]
    return (*entry.words, said_to(other_of(conversation, entry.user))) if entry.words else ()


def word_of(user: str, word: str) -> str:
    """A word as it is indexed: nobody's is anybody else's."""
    return f"{user}:{word}"


def said_to(peer: str) -> str:
    """What stands for the peer among the words of a message; no word looks like it."""
    return f"@{peer}"


def reservation_fields(reservation: Reservation) -> Fields:
    """Who holds an e-mail address."""
    return {"_id": reservation.email, "user": reservation.user, "seq": reservation.seq}


def secret_fields(secret: Secret) -> Fields:
    """What opens an account."""
    return {"_id": secret.user, "seq": secret.seq, "password_hash": secret.password_hash}


def notification_fields(added: AddNotification) -> Fields:
    """A notification that nobody has read yet."""
    key = layout.notification_key(added.user, added.notification)
    return {
        "_id": key,
        "k": key,
        "user": added.user,
        "notification": added.notification,
        "kind": added.kind,
        "about": added.about,
        "at": added.at,
        "unread": added.user,
        "read_at": None,
    }


class _Stored(Struct, frozen=True):
    """A decision as it is stored, its events as they were written."""

    id: str
    command: str
    topic: str
    partition: int
    seq: int
    actor: str
    fingerprint: str
    at: int
    result: dict[str, Any] | None
    problem: Problem | None
    events: tuple[msgspec.Raw, ...]
    last: int = 0


_ENCODER = msgspec.json.Encoder()
_STORED = msgspec.json.Decoder(_Stored)


def decision_fields(decision: Decision, expires: datetime) -> Fields:
    """A decision in one text: nobody looks into it, and a field costs more than what is in it."""
    return {"_id": decision.id, "decision": _ENCODER.encode(decision).decode(), "expires": expires}


def without_text(fields: Fields) -> str:
    """The decision that these fields hold, as a text, without what was said."""
    decision = msgspec.json.decode(fields["decision"])
    for said in (decision["result"] or {}, *decision["events"]):
        if "text" in said:
            said["text"] = ""
    return _ENCODER.encode(decision).decode()


def decision_of(fields: Fields) -> Decision:
    """The decision that these fields hold; events of an older version are lifted."""
    stored = _STORED.decode(fields["decision"])
    codec = _events(stored.topic)
    events = tuple(codec.decode(bytes(event)) for event in stored.events)
    return Decision(**{**msgspec.structs.asdict(stored), "events": events})


def _events(command_topic: str) -> Codec[Any]:
    codec = COMMAND_TO_EVENT[command_topic].codec
    if codec is None:
        raise TypeError(f"the events of {command_topic} have no codec")
    return codec
