"""The root of the gateway: the only place that builds adapters, and the one that makes an application of parts."""

from collections.abc import AsyncIterator

from aiohttp import web

from devconnect import stack
from devconnect.adapters.kafka.gateway import KafkaCommands
from devconnect.adapters.mongo.connect import close as close_mongo, connect as connect_mongo, ping as ping_mongo
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.prometheus import CONTENT_TYPE, PrometheusMetrics
from devconnect.adapters.redis.connect import (
    close as close_redis,
    connect as connect_redis,
    connect_listener,
    ping as ping_redis,
)
from devconnect.adapters.redis.desk import RedisAnswerDesk
from devconnect.adapters.redis.reads import RedisReads
from devconnect.domain.deciding import is_carried_out, touched
from devconnect.domain.model import Decision
from devconnect.ports.clock import SystemClock
from devconnect.settings import Settings, signing_key
from web import health
from web.edge import BODY_MAX, Edge
from web.gateway import GATEWAY, Gateway, Parts
from web.life import LIFE, Life
from web.passwords import ArgonPasswords
from web.routes import routes

#: Seconds that MongoDB has to answer a read, and to be found.
MONGO_SECONDS, MONGO_SELECTION = 2.0, 1.0


def create_app(parts: Parts) -> web.Application:
    """The application on these parts; it neither starts nor stops them."""
    app = web.Application(client_max_size=BODY_MAX)
    app[LIFE] = Life()
    app[GATEWAY] = Gateway.of(parts)
    app.add_routes(Edge(parts.settings, parts.metrics).around([*health.routes(), *routes()]))
    return app


def build(settings: Settings) -> web.Application:
    """The application on real parts, which start and stop with it.

    Raises StackError when an embedded part that is needed isn't running.
    """
    addresses = stack.addresses(settings)
    kafka = KafkaCommands(addresses.kafka, partitions=settings.partitions)
    redis, listener = connect_redis(addresses.redis), connect_listener(addresses.redis)
    mongo = connect_mongo(addresses.mongo, settings.mongo_db, selection_timeout=MONGO_SELECTION)
    database, truth = MongoReads(mongo, within=MONGO_SECONDS), MongoTruth(mongo, within=MONGO_SECONDS)

    async def decided(command: str) -> Decision | None:
        """The stored decision once its documents are written: whoever is told of it may build on them."""
        decision = (await truth.decisions([command])).get(command)
        if decision is None or is_carried_out(decision, await truth.load(touched([decision]))):
            return decision
        return None

    desk = RedisAnswerDesk(redis, listener, decided)
    metrics, passwords = PrometheusMetrics(), ArgonPasswords(settings)
    parts = Parts(
        cache=RedisReads(redis),
        database=database,
        credentials=database,
        commands=kafka,
        desk=desk,
        clock=SystemClock(),
        metrics=metrics,
        passwords=passwords,
        settings=settings,
        signing_key=signing_key(settings),
        checks={"kafka": kafka.ready, "redis": lambda: ping_redis(redis), "mongo": lambda: ping_mongo(mongo)},
        scrape=lambda: (CONTENT_TYPE, metrics.expose()),
    )

    async def running(_: web.Application) -> AsyncIterator[None]:
        try:
            await kafka.start()
            await desk.start()
            yield
        finally:
            await desk.stop()
            await kafka.stop()
            passwords.close()
            await close_redis(redis)
            await close_redis(listener)
            await close_mongo(mongo)

    app = create_app(parts)
    app.cleanup_ctx.append(running)
    return app
