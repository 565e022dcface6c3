"""The AsyncAPI 3.0 document of the sockets, from the very types that events are made of and checked by."""

from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from devconnect import __version__
from devconnect.events.inbox import MessageData, NotificationData, NotificationsReadData, StatusData
from web.answers import Answer
from web.realtime.acks import Ack
from web.realtime.clients import EVENTS, Commanding, Telling
from web.realtime.followers import Standing
from web.realtime.sockets import PATH
from web.realtime.tellings import PresenceChanged, TypingChanged

T = TypeVar("T")

REF = "#/components/schemas/{name}"
DESCRIPTION = f"""What goes over sockets: Socket.IO 5 on Engine.IO 4, by websocket, at `{PATH}`.

A client gives its token as `auth: {{token}}` when it connects (or an Authorization header, or, from a page of this
service, the cookies of a log-in), and the cursor of the last event that it had as `auth: {{token, cursor}}`. It is told
by the event `inbox` whether it gets everything since then (`recovered`), then what it has missed, each once and in
order, then what comes. Without a cursor, or where something is kept no more, it reads the state over HTTP; what follows
may then be in it already, and is told apart by its `id`.

Who isn't let in gets `connect_error`, whose data is `{{code, detail}}`, with the codes of the HTTP API. Each event of a
client is acknowledged with what HTTP would have answered. A socket ends within a second of its session, with the event
`session_ended`; with `reconnect` the server is about to end it and another takes its place. Events with an attachment
are not taken."""


class Told(Struct, Generic[T], frozen=True):
    """What is kept in the person's inbox. `id` is that of what happened at `at`; give the last `cursor` at the next
    connection."""

    cursor: Annotated[str, Meta(pattern="^[0-9]+-[0-9]+$", description="To be kept, and given when coming back.")]
    id: Annotated[str, Meta(description="Of what has happened: the same if it is ever told again.")]
    at: Annotated[int, Meta(description="When that was, in milliseconds since 1970.")]
    data: T


class Live(Answer, frozen=True):
    """Whether what happens is told at once. While it isn't, it is told later: nothing is lost."""

    live: Annotated[bool, Meta(description="Whether that is so from here on.")]


class SessionOver(Answer, frozen=True):
    """The session has ended: log in again."""


class Reconnect(Answer, frozen=True):
    """The server ends this connection in so many milliseconds: come back, any gateway will do."""

    after_ms: int


#: What clients are told, by the event's name.
TOLD: dict[str, tuple[str, Any]] = {
    "inbox": ("What the client gets of what it has missed", Standing),
    "live": ("What happens is told at once, or no longer", Live),
    "message": ("Somebody has said something, to the person or on another device of theirs", Told[MessageData]),
    "message_changed": ("A message was edited or deleted", Told[MessageData]),
    "status": ("Messages were delivered to a device, or read", Told[StatusData]),
    "notification": ("Something for the list of notifications", Told[NotificationData]),
    "notifications_read": ("Notifications were read on another device", Told[NotificationsReadData]),
    "presence": ("People who are watched have come or gone", PresenceChanged),
    "typing": ("Somebody writes to the person, or no longer", TypingChanged),
    "session_ended": ("The session is over, and with it the socket", SessionOver),
    "reconnect": ("The server is about to end the connection", Reconnect),
}


def build() -> dict[str, Any]:
    """The document."""
    told = {name: _message(name, summary, kind) for name, (summary, kind) in TOLD.items()}
    taken = {f"{event.name}.asked": _message(event.name, _summary(event), event.payload) for event in EVENTS.values()}
    answers = {f"{event.name}.ack": _ack(event) for event in EVENTS.values()}
    messages = {**told, **taken, **answers}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "DevConnect sockets", "version": __version__, "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": PATH,
                "description": "One connection of a client.",
                "messages": {_key(name): {"$ref": f"#/components/messages/{_key(name)}"} for name in messages},
            }
        },
        "operations": {
            **{f"tell_{name}": _operation("send", name) for name in told},
            **{f"take_{name}": _operation("receive", f"{name}.asked", f"{name}.ack") for name in EVENTS},
        },
        "components": {
            "messages": {_key(name): message for name, message in messages.items()},
            "schemas": _schemas(),
        },
    }


def _key(name: str) -> str:
    return name.replace(".", "_")


def _summary(event: Commanding | Telling) -> str:
    return event.operation.summary if isinstance(event, Commanding) else event.summary


def _message(name: str, summary: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "title": name, "summary": summary, "payload": _ref(kind)}


def _ack(event: Commanding | Telling) -> dict[str, Any]:
    """An acknowledgement whose `result` is the event's own."""
    own = {"type": "object", "properties": {"result": _ref(event.answer)}}
    payload = {"allOf": [_ref(Ack), own]}
    return {"name": f"{event.name}.ack", "title": f"{event.name}.ack", "summary": "What came of it", "payload": payload}


def _operation(action: str, name: str, reply: str | None = None) -> dict[str, Any]:
    channel = {"$ref": "#/channels/socket"}
    operation: dict[str, Any] = {
        "action": action,
        "channel": channel,
        "messages": [{"$ref": f"#/channels/socket/messages/{_key(name)}"}],
    }
    if reply is not None:
        operation["reply"] = {
            "channel": channel,
            "messages": [{"$ref": f"#/channels/socket/messages/{_key(reply)}"}],
        }
    return operation


def _types() -> list[Any]:
    found = [kind for _, kind in TOLD.values()]
    return [Ack, *found, *(kind for event in EVENTS.values() for kind in (event.payload, event.answer))]


def _ref(kind: Any) -> dict[str, Any]:
    [schema], _ = msgspec.json.schema_components([kind], ref_template=REF)
    return schema


def _schemas() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(list(dict.fromkeys(_types())), ref_template=REF)
    return schemas
