"""The floors, each a process of its own: `python -m bench.gateways.bare NAME`, on PORT.

They are served as the gateway is (aiohttp on uvloop, no access log), and do nothing else.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer
from redis.asyncio import ConnectionPool, Redis

from devconnect.stack.ports import LOOPBACK

#: What `hello` says.
HELLO = b'{"hello":"world"}'
#: What `redis_get` reads, about as long as an account; the key isn't one of the product's own.
KEY, VALUE = "bench:redis_get", b'{"id":"%s","about":"%s"}' % (b"0" * 32, b"." * 350)
#: Where `produce` writes; the topic isn't one of the product's own.
TOPIC = "bench-produce"
#: Bytes of a record of its, about those of a command.
RECORD_BYTES = 250
#: Connections to Redis at most, as the gateway's own client has them.
POOL = 64


def hello() -> web.Application:
    """Answers a constant."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=HELLO, content_type="application/json")

    app = web.Application()
    app.add_routes([web.get("/", handle)])
    return app


def redis_get() -> web.Application:
    """Answers what one GET by redis-py has brought."""
    pool = ConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=POOL)
    client = Redis.from_pool(pool)

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=await client.get(KEY), content_type="application/json")

    async def running(_: web.Application) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = web.Application()
    app.add_routes([web.get("/", handle)])
    app.cleanup_ctx.append(running)
    return app


def produce() -> web.Application:
    """Answers 202 when Kafka, by a producer set as the gateway's, has acknowledged a record with the body in it."""
    # aiokafka wants a running loop.
    producers: list[AIOKafkaProducer] = []

    async def handle(request: web.Request) -> web.Response:
        value = (await request.read()).ljust(RECORD_BYTES)
        await producers[0].send_and_wait(TOPIC, value, key=request.match_info["key"].encode())
        return web.Response(status=202)

    async def running(_: web.Application) -> AsyncIterator[None]:
        producer = AIOKafkaProducer(
            bootstrap_servers=os.environ["KAFKA_URL"],
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            request_timeout_ms=3_000,
            retry_backoff_ms=50,
        )
        await producer.start()
        producers.append(producer)
        yield
        await producer.stop()

    app = web.Application()
    app.add_routes([web.post("/{key}", handle)])
    app.cleanup_ctx.append(running)
    return app


APPLICATIONS = {"hello": hello, "redis_get": redis_get, "produce": produce}


async def serve(name: str, port: int) -> None:
    """Serve until told to stop."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    runner = web.AppRunner(APPLICATIONS[name](), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        await stopping.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(os.environ["PORT"])))
