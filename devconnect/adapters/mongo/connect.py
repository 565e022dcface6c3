"""The one door to MongoDB: the only place that names a driver, its options and its errors."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import InvalidOperation, PyMongoError

from devconnect.ports.truth import UnavailableError

#: A document as the driver takes and gives it.
Fields = dict[str, Any]
#: PyMongo's own types: what type-checks against them runs on Motor too, and the other way round is what is avoided.
Database = AsyncDatabase[Fields]
Table = AsyncCollection[Fields]


def connect(
    url: str,
    database: str,
    *,
    selection_timeout: float = 2.0,
    socket_timeout: float = 5.0,
    driver: Callable[..., Any] = AsyncIOMotorClient,
) -> Database:
    """A handle on the database; nothing is sent yet. `close` it. Timeouts are in seconds.

    `driver` is Motor's client or PyMongo's AsyncMongoClient: the adapter makes only calls that both have.
    What is acknowledged is with a majority (which on a replica set means in their journals; docs/adr/0003), and what
    is read is what a majority has.
    """
    client = driver(
        url,
        appname="devconnect",
        serverSelectionTimeoutMS=_ms(selection_timeout),
        connectTimeoutMS=_ms(selection_timeout),
        socketTimeoutMS=_ms(socket_timeout),
        waitQueueTimeoutMS=_ms(socket_timeout),
        w="majority",
        wTimeoutMS=_ms(socket_timeout),
        readConcernLevel="majority",
        readPreference="primary",
        uuidRepresentation="standard",
        tz_aware=True,
    )
    return cast(Database, client[database])


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


async def close(db: Database) -> None:
    """Close the connections behind a handle."""
    # Motor closes at once, PyMongo's client when awaited.
    closing: object = db.client.close()
    if inspect.isawaitable(closing):
        await closing


async def ping(db: Database, *, within: float = 2.0) -> None:
    """Return when the database answers; UnavailableError when it doesn't, `within` seconds."""
    async with reaching(within):
        await db.command("ping")


@asynccontextmanager
async def reaching(within: float) -> AsyncIterator[None]:
    """What is done inside ends `within` seconds; whatever the database or the way to it fails with is Unavailable.

    On PyMongo's client it may be the driver's own timeouts later: before Python 3.12 its `asyncio.wait_for` can swallow
    a cancellation. A document that can't be written at all (too large, a number beyond 64 bits) is no failure of the
    database: bson's own errors pass through.
    """
    try:
        async with asyncio.timeout(within):
            yield
    except InvalidOperation:  # a closed client, an empty bulk: a fault of ours
        raise
    except PyMongoError as error:
        raise UnavailableError(f"MongoDB: {str(error).split(', Timeout:')[0]}") from error
    except TimeoutError as error:
        raise UnavailableError(f"MongoDB didn't answer within {within:g} s") from error
