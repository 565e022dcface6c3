"""What the gateway is made of: the ports that it is given, and its own services built on them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from devconnect.ports.answers import AnswerDesk
from devconnect.ports.clock import Clock
from devconnect.ports.gateway import Commands, Credentials, Passwords
from devconnect.ports.metrics import Metrics
from devconnect.ports.reads import Reads
from devconnect.settings import Settings
from web.commands import Commander
from web.ids import Ids
from web.reads import ReadModels
from web.tokens import Tokens

#: Says None when a part works, else why not.
Check = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything of the outside world that the gateway uses. Only app.build makes real ones."""

    cache: Reads
    database: Reads
    credentials: Credentials
    commands: Commands
    desk: AnswerDesk
    clock: Clock
    metrics: Metrics
    passwords: Passwords
    settings: Settings
    #: Signs sessions and derives ids.
    signing_key: str
    #: The parts that /health/ready looks at, by name.
    checks: Mapping[str, Check]
    #: What /metrics answers: content type and body.
    scrape: Callable[[], tuple[str, bytes]]


@dataclass(frozen=True)
class Gateway:
    """The services that handlers use."""

    parts: Parts
    ids: Ids
    tokens: Tokens
    reads: ReadModels
    commander: Commander

    @classmethod
    def of(cls, parts: Parts) -> "Gateway":
        """The gateway on these parts."""
        ids = Ids(parts.signing_key)
        return cls(
            parts=parts,
            ids=ids,
            tokens=Tokens(parts.signing_key, parts.clock),
            reads=ReadModels(parts.cache, parts.database, parts.clock, parts.metrics),
            commander=Commander(
                ids,
                commands=parts.commands,
                desk=parts.desk,
                clock=parts.clock,
                metrics=parts.metrics,
                settings=parts.settings,
            ),
        )


GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)
