"""The root of the gateway: the only place that builds adapters, and the one that makes an application of parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from devconnect import stack
from devconnect.adapters.inboxes import Inboxes
from devconnect.adapters.kafka.gateway import KafkaCommands
from devconnect.adapters.kafka.session_ends import SessionEnds
from devconnect.adapters.local.allowances import LocalAllowances
from devconnect.adapters.mongo.connect import (
    Database,
    close as close_mongo,
    connect as connect_mongo,
    ping as ping_mongo,
)
from devconnect.adapters.mongo.inbox import MongoInboxReads
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.prometheus import CONTENT_TYPE, PrometheusMetrics
from devconnect.adapters.redis.allowances import RedisAllowances
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.channels import Channels
from devconnect.adapters.redis.connect import (
    close as close_redis,
    connect_channels,
    connect_fast,
    connect_listener,
    ping as ping_redis,
)
from devconnect.adapters.redis.desk import RedisAnswerDesk
from devconnect.adapters.redis.focus import RedisFocus
from devconnect.adapters.redis.freshness import RedisFreshness
from devconnect.adapters.redis.inbox import RedisInboxReads, RedisLive
from devconnect.adapters.redis.near_reads import reads_on
from devconnect.adapters.redis.roster import Roster
from devconnect.adapters.redis.watching import Watching
from devconnect.adapters.redis.wire import Wire
from devconnect.domain.deciding import is_carried_out, touched
from devconnect.domain.model import Decision
from devconnect.events.topics import EVENT_TOPICS, USER_EVENTS
from devconnect.keys import Keyring, id_secret
from devconnect.ports.clock import SystemClock
from devconnect.ports.gateway import Commands
from devconnect.ports.metrics import ENDS_AGE, Metrics
from devconnect.push.vapid import vapid
from devconnect.settings import Settings
from web import health
from web.console.pages import Pages
from web.edge import BODY_MAX, Edge
from web.endpoints import routes
from web.fallback import FallbackAllowances
from web.gateway import GATEWAY, Gateway, Parts
from web.life import LIFE, Life
from web.passwords import ArgonPasswords
from web.reads import Breaker
from web.realtime.assembly import open_sockets
from web.realtime.farewells import Farewells
from web.realtime.ports import RealtimePorts
from web.realtime.sockets import SOCKETS, Sockets
from web.routes import OPERATIONS
from web.unsubscribe import handler

#: Seconds that MongoDB has to answer a read, and to be found.
MONGO_SECONDS, MONGO_SELECTION = 2.0, 1.0
#: Seconds between looks whether the keys of tokens have changed.
KEYS_SECONDS = 2.0


def create_app(parts: Parts, sockets: Sockets | None = None) -> web.Application:
    """The application on these parts, which it neither starts nor stops, and with these sockets, which it does."""
    app = web.Application(client_max_size=BODY_MAX)
    app[LIFE] = Life()
    gateway = app[GATEWAY] = Gateway.of(parts)
    pages = Pages(OPERATIONS, parts.settings)
    unsubscribe = web.post("/unsubscribe", handler(gateway, pages.unsubscribed))
    served = [*health.routes(), *pages.routes(), unsubscribe, *routes(gateway, OPERATIONS)]
    if sockets is not None:
        app[SOCKETS] = sockets
        app.cleanup_ctx.append(_open_sockets)
        served += sockets.routes()
    elif parts.realtime is not None:
        served += open_sockets(app, parts.realtime)
    app.add_routes(Edge(parts.settings, parts.metrics).around(served))
    return app


async def _open_sockets(app: web.Application) -> AsyncIterator[None]:
    app[SOCKETS].start()
    yield
    await app[SOCKETS].stop()


class _Realtime:
    """What is behind sockets, on real parts."""

    def __init__(
        self,
        redis: Client,
        channels: Channels,
        mongo: Database,
        commands: Commands,
        *,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._channels, self._farewells = channels, Farewells(commands)
        self._watching = Watching(redis, channels, metrics=metrics)
        self._roster = Roster(redis, lease=settings.gateway_lease, went=self._farewells.say, metrics=metrics)
        self.ports = RealtimePorts(
            inbox=Inboxes(RedisInboxReads(redis), MongoInboxReads(mongo, within=MONGO_SECONDS)),
            live=RedisLive(redis, channels),
            roster=self._roster,
            watching=self._watching,
            focus=RedisFocus(redis),
        )

    async def start(self) -> None:
        """Hear, and say who is here."""
        await self._channels.start()
        await self._roster.start()
        await self._watching.start()

    async def stop(self) -> None:
        """Say and hear nothing more."""
        await self._watching.stop()
        await self._roster.stop()
        await self._farewells.stop()
        await self._channels.stop()


def build(settings: Settings) -> web.Application:
    """The application on real parts, which start and stop with it.

    Raises StackError when an embedded part that is needed isn't running.
    """
    addresses = stack.addresses(settings)
    clock, metrics, passwords = SystemClock(), PrometheusMetrics(), ArgonPasswords(settings)
    kafka = KafkaCommands(addresses.kafka, partitions=settings.partitions)
    redis, listener = connect_fast(addresses.redis), connect_listener(addresses.redis)
    mongo = connect_mongo(addresses.mongo, settings.mongo_db, selection_timeout=MONGO_SELECTION)
    database, truth = MongoReads(mongo, within=MONGO_SECONDS), MongoTruth(mongo, within=MONGO_SECONDS)

    async def decided(command: str) -> Decision | None:
        """The stored decision once its documents are written: whoever is told of it may build on them."""
        decision = (await truth.decisions([command])).get(command)
        if decision is None or is_carried_out(decision, await truth.load(touched([decision]))):
            return decision
        return None

    desk = RedisAnswerDesk(redis, listener, decided)
    keys, ends = Keyring(settings, clock), SessionEnds(addresses.kafka, partitions=settings.partitions)
    freshness = RedisFreshness(redis, [topic.name for topic in EVENT_TOPICS], settings.partitions)

    def caught_up(user: str, since: int) -> bool:
        return freshness.as_of(kafka.partition_of(user), USER_EVENTS.name) >= since

    realtime = _Realtime(redis, connect_channels(addresses.redis), mongo, kafka, settings=settings, metrics=metrics)
    breaker = Breaker(clock)
    allowances = FallbackAllowances(RedisAllowances(redis), LocalAllowances(), breaker, metrics)
    parts = Parts(
        cache=reads_on(redis, metrics=metrics, caught_up=caught_up),
        database=database,
        accounts=database,
        library=database,
        credentials=database,
        commands=kafka,
        desk=desk,
        ends=ends,
        freshness=freshness,
        allowances=allowances,
        breaker=breaker,
        policies=settings.policies,
        clock=clock,
        metrics=metrics,
        passwords=passwords,
        settings=settings,
        keys=keys,
        id_secret=id_secret(settings),
        push_key=vapid(settings).public_key,
        checks={"kafka": kafka.ready, "redis": lambda: ping_redis(redis), "mongo": lambda: ping_mongo(mongo)},
        scrape=lambda: _scraped(metrics, ends),
        realtime=realtime.ports,
    )

    async def running(_: web.Application) -> AsyncIterator[None]:
        looking = asyncio.create_task(_follow(keys), name="keys")
        try:
            if isinstance(redis, Wire):
                redis.start()
            await kafka.start()
            await ends.start()
            await desk.start()
            await freshness.start()
            await realtime.start()
            yield
        finally:
            await realtime.stop()
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
            await freshness.stop()
            await desk.stop()
            await ends.stop()
            await kafka.stop()
            passwords.close()
            await close_redis(redis)
            await close_redis(listener)
            await close_mongo(mongo)

    app = create_app(parts)
    # Sockets begin after what they stand on, and end before it.
    app.cleanup_ctx.insert(0, running)
    return app


def _scraped(metrics: PrometheusMetrics, ends: SessionEnds) -> tuple[str, bytes]:
    metrics.set(ENDS_AGE, to=ends.age())
    return CONTENT_TYPE, metrics.expose()


async def _follow(keys: Keyring) -> None:
    """Look at the keys of tokens now and then: one that is retired must be found out though no new token comes."""
    while True:
        await asyncio.sleep(KEYS_SECONDS)
        keys.refresh()
