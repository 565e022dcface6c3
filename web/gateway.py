"""What the gateway is made of: the ports that it is given, and its own services built on them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from devconnect.domain.allowances import Policies
from devconnect.links import Link, Links, Purpose
from devconnect.ports.allowances import Allowances
from devconnect.ports.answers import AnswerDesk
from devconnect.ports.clock import Clock
from devconnect.ports.freshness import Freshness
from devconnect.ports.gateway import AccountLists, Commands, Credentials, EndedSessions, Passwords
from devconnect.ports.metrics import Metrics
from devconnect.ports.reads import Library, Reads
from devconnect.settings import Settings
from devconnect.webhook_secrets import WebhookSecrets
from web.auth import Gate
from web.commands import Commander
from web.cookies import Cookies
from web.device_tokens import DeviceTokens
from web.doorkeeper import Doorkeeper
from web.ids import Ids
from web.limits import Limits
from web.network import client_address, network_of
from web.problems import ProblemError
from web.reads import Breaker, ReadModels
from web.realtime.ports import RealtimePorts
from web.shown import Shown
from web.throttle import Throttle
from web.tokens import Keys, Tokens

#: Says None when a part works, else why not.
Check = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything of the outside world that the gateway uses. Only app.build makes real ones."""

    cache: Reads
    database: Reads
    #: What is read of the database alone.
    accounts: AccountLists
    library: Library
    credentials: Credentials
    commands: Commands
    desk: AnswerDesk
    ends: EndedSessions
    freshness: Freshness
    allowances: Allowances
    #: What is known of the cache's store: one for all who ask it.
    breaker: Breaker
    policies: Policies
    clock: Clock
    metrics: Metrics
    passwords: Passwords
    settings: Settings
    #: Sign tokens.
    keys: Keys
    #: Ids, links and the like follow from it.
    id_secret: str
    #: What browsers subscribe to push messages with.
    push_key: str
    #: The parts that /health/ready looks at, by name.
    checks: Mapping[str, Check]
    #: What /metrics answers: content type and body.
    scrape: Callable[[], tuple[str, bytes]]
    #: What sockets need; None: there are none.
    realtime: RealtimePorts | None = None


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The services that handlers use."""

    parts: Parts
    ids: Ids
    tokens: Tokens
    reads: ReadModels
    gate: Gate
    cookies: Cookies
    limits: Limits
    commander: Commander
    doorkeeper: Doorkeeper
    links: Links
    webhook_secrets: WebhookSecrets
    shown: Shown

    @classmethod
    def of(cls, parts: Parts) -> "Gateway":
        """The gateway on these parts."""
        ids, tokens = Ids(parts.id_secret), Tokens(parts.keys, parts.clock)
        reads = ReadModels(parts.cache, parts.database, parts.breaker, parts.metrics)
        cookies = Cookies(parts.settings, parts.clock)
        devices = DeviceTokens(parts.id_secret, parts.clock)
        throttle = Throttle(parts.id_secret, parts.allowances, devices, parts.metrics)
        return cls(
            parts=parts,
            ids=ids,
            tokens=tokens,
            reads=reads,
            gate=Gate(tokens, reads, ends=parts.ends, cookies=cookies, clock=parts.clock, settings=parts.settings),
            cookies=cookies,
            limits=Limits(parts.policies, parts.allowances, parts.metrics),
            commander=Commander(
                ids,
                commands=parts.commands,
                desk=parts.desk,
                clock=parts.clock,
                metrics=parts.metrics,
                settings=parts.settings,
            ),
            doorkeeper=Doorkeeper(parts.credentials, parts.passwords, throttle, devices),
            links=Links(parts.id_secret),
            webhook_secrets=WebhookSecrets(parts.id_secret),
            shown=Shown(),
        )

    def place(self, request: web.Request) -> str:
        """The network that a request comes from: what it is counted by, and what people are shown of their sessions."""
        return network_of(client_address(request, self.parts.settings.trusted_proxies))

    def read_link(self, purpose: Purpose, token: str) -> Link:
        """What a link says; ProblemError(link_invalid) when it is none of ours, or is over."""
        link = self.links.read(purpose, token, self.parts.clock.now_ms())
        if link is None:
            raise ProblemError("link_invalid", "This link is none of ours, or it is over: have another one sent.")
        return link


GATEWAY: web.AppKey[Gateway] = web.AppKey("gateway", Gateway)
