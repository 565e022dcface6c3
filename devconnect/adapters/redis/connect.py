"""The one door to Redis: addresses to clients, with their timeouts."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from devconnect.adapters.redis import keys
from devconnect.adapters.redis.address import Address
from devconnect.adapters.redis.calls import Client, Pooled, run
from devconnect.adapters.redis.channels import Channels
from devconnect.adapters.redis.wire import DEADLINE, Wire


def connect(
    url: str, *, connect_timeout: float = 1.0, socket_timeout: float = 0.5, max_connections: int = 64
) -> Pooled:
    """A client for "redis://host:port/db", "rediss://…" or "unix://…"; nothing is sent yet. `close` it.

    With `?cluster=true` the address is a node of a Redis Cluster. Timeouts are in seconds; a call whose
    connection turns out to be dead is tried once more on a new one, a call that takes too long is not.
    """
    address, cluster = _address(url)
    options = {
        "decode_responses": True,
        "protocol": 2,
        "socket_connect_timeout": connect_timeout,
        "socket_timeout": socket_timeout,
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }
    if cluster:
        return RedisCluster.from_url(address, max_connections=max_connections, **options)
    pool = BlockingConnectionPool.from_url(address, max_connections=max_connections, timeout=socket_timeout, **options)
    return Redis.from_pool(pool)


def connect_fast(url: str, *, deadline: float = DEADLINE) -> Client:
    """One pipelined connection to a single server, on which a call may take `deadline` seconds; to a cluster `connect`.

    Nothing is sent yet. `close` it. ValueError for an address that is none.
    """
    address, cluster = _address(url)
    return connect(url) if cluster else Wire(address, deadline=deadline)


def connect_listener(url: str, *, connect_timeout: float = 1.0) -> Redis:
    """A client for Pub/Sub alone: it may hear nothing for ever, and its errors are the listener's to handle.

    On a cluster a message published anywhere is heard at every node, so the node of the address will do.
    """
    address, _ = _address(url)
    return Redis.from_url(
        address,
        decode_responses=True,
        protocol=2,
        socket_connect_timeout=connect_timeout,
        socket_timeout=None,
        retry=Retry(NoBackoff(), 0),
    )


def connect_channels(url: str) -> Channels:
    """What hears any number of channels over one connection, of a cluster to the node of the address; `start` it.

    ValueError for an address that is none.
    """
    return Channels(Address.parse(_address(url)[0]))


async def ping(client: Client) -> None:
    """Return when Redis answers; UnavailableError when it doesn't."""
    # A key, so that a cluster asks the node that has it.
    await run(client, [("GET", keys.EPOCH)])


async def close(client: Client) -> None:
    """Close the connections of a client."""
    await client.aclose()


def _address(url: str) -> tuple[str, bool]:
    """The address without `cluster`, and whether it was there and true."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    cluster = query.pop("cluster", "").lower() in ("true", "1", "yes")
    return urlunsplit(parts._replace(query=urlencode(query))), cluster
