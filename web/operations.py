"""What the gateway offers, as values: routing, validation, the OpenAPI document and the table of who may follow.

An operation is a read or a command. A read's handler returns a `Reply`. A command's `make` is a plain function from a
`Call` to the command, so that whatever else hands commands in (a socket, say) is held to the very same rules.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, TypeVar

from aiohttp import web
from msgspec import Struct

from devconnect.domain.sessions import RANKS
from devconnect.events.base import Role
from devconnect.events.commands import AnyCommand
from devconnect.ports.reads import Source
from web.answers import Accepted
from web.calls import Call
from web.commands import Outcome
from web.queries import NoQuery, Query

B = TypeVar("B")
Q = TypeVar("Q")

#: Who may: anybody (also those who aren't logged in), or whoever has this role or a higher one.
Who = Literal["anybody", "member", "analyst", "operator"]
#: The quota that a request is counted against.
Quota = Literal["reads", "writes", "messages", "requests"]
#: The roles that are enough.
ROLES: Mapping[Who, frozenset[Role]] = {
    "anybody": frozenset(RANKS),
    **{least: frozenset(role for role in RANKS if RANKS[role] >= RANKS[least]) for least in RANKS},
}


class Reply(Struct, frozen=True, kw_only=True):
    """What a handler answers: `data` is encoded as JSON unless it is bytes already. A read says its `source`."""

    data: Any = None
    status: int = 200
    source: Source | None = None
    #: A strong entity tag where the handler knows a version; otherwise it follows from the body.
    etag: str | None = None
    headers: Mapping[str, str] = {}
    #: The command behind it, where it has one: `data` is then put beside its result.
    outcome: Outcome | None = None
    #: Ready to be sent, in place of all of that: a page, or what sets cookies.
    response: web.Response | None = None


Handler = Callable[[Call[Any, Any]], Awaitable[Reply]]
Make = Callable[[Call[Any, Any]], AnyCommand]


class Operation(Struct, frozen=True, kw_only=True):
    """One method at one path."""

    method: str
    path: str
    #: The name that clients' generators use: unique, in camel case.
    name: str
    summary: str
    tag: str
    who: Who = "member"
    body: Any = None
    query: type[Query] = NoQuery
    #: What is answered where all went well: status and type (None: no JSON).
    status: int = 200
    answer: Any = None
    #: What is answered with 202, where it became a command.
    pending: Any = Accepted
    #: Problems that are this operation's own; those that any may have are added in the document.
    problems: tuple[str, ...] = ()
    quota: Quota | Callable[[Any], Quota] = "reads"
    handler: Handler | None = None
    make: Make | None = None
    #: The answer holds a secret: it is neither compressed nor kept.
    secret: bool = False
    #: A short text for people, where the summary doesn't say all.
    description: str = ""

    @property
    def is_command(self) -> bool:
        """Whether it is handed to Kafka: it takes an Idempotency-Key, and may be answered 202."""
        return self.make is not None or self.method in _UNSAFE

    @property
    def is_private(self) -> bool:
        """Whether one must be logged in."""
        return self.who != "anybody"


_UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))


class Page(Struct, Generic[B], frozen=True, kw_only=True):
    """A page: `next` is the cursor of the one that follows, null on the last."""

    items: tuple[B, ...]
    next: str | None


def read(path: str, handler: Handler, summary: str, **more: Any) -> Operation:
    """A GET."""
    return Operation(method="GET", path=path, handler=handler, name=camel(handler.__name__), summary=summary, **more)


def command(method: str, path: str, make: Make, summary: str, **more: Any) -> Operation:
    """A request that becomes a command; its answer is the command's result."""
    more.setdefault("quota", "writes")
    return Operation(method=method, path=path, make=make, name=camel(make.__name__), summary=summary, **more)


def action(method: str, path: str, handler: Handler, summary: str, **more: Any) -> Operation:
    """A request that becomes a command and needs more than that before or after it."""
    more.setdefault("quota", "writes")
    return Operation(method=method, path=path, handler=handler, name=camel(handler.__name__), summary=summary, **more)


def camel(name: str) -> str:
    """`read_me` as `readMe`."""
    first, *rest = name.strip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)
