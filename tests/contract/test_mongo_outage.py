"""A server that dies, hangs or comes back: what is raised, how soon, and that nothing acknowledged is gone."""

import asyncio
import itertools
import signal
from collections.abc import Callable
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from devconnect.adapters.mongo.connect import Database, ping
from devconnect.adapters.mongo.deliveries import MongoDeliveries, MongoOccasions
from devconnect.adapters.mongo.digests import MongoDigests
from devconnect.adapters.mongo.layout import ensure_indexes
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.domain.model import Ref, Reservation, Secret
from devconnect.domain.projections import MarkNotificationsRead, MarkNotificationsSeen
from devconnect.ports.truth import UnavailableError
from tests.contract.mongo_fixtures import (
    DRIVERS,
    Server,
    a_decision,
    a_message,
    a_notification,
    a_user,
    opened,
    own_server,
    timed,
)
from tests.delivery_fakes import a_delivery
from tests.waiting import until_done

__all__ = ["own_server"]

BOTH = pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.__name__)


def every_call(db: Database, within: float) -> dict[str, Any]:
    truth, reads = MongoTruth(db, within=within), MongoReads(db, within=within)
    return {
        "decisions": truth.decisions(["one"]),
        "record": truth.record([a_decision("one")]),
        "reserve": truth.reserve([Reservation("a@b", "ada", 256)]),
        "release": truth.release([Reservation("a@b", "ada", 256)]),
        "keep_secrets": truth.keep_secrets([Secret("ada", 256, "hash")]),
        "load": truth.load([Ref("user", "ada"), Ref("message", "m")]),
        "save": truth.save([a_user("ada"), a_message("ada", "bob")]),
        "add_notifications": truth.add_notifications([a_notification("ada", 1)]),
        "mark_notifications_read": truth.mark_notifications_read([MarkNotificationsRead("ada", ("n",), 1)]),
        "mark_notifications_seen": truth.mark_notifications_seen([MarkNotificationsSeen("ada", "n")]),
        "find deliveries": MongoDeliveries(db, within=within).find(["d"]),
        "decide": MongoDeliveries(db, within=within).decide([a_delivery()]),
        "due": MongoDeliveries(db, within=within).due(1, 1),
        "claim": MongoOccasions(db, within=within).claim({"o": "e"}),
        "digests": MongoDigests(db, within=within).due(1, 1),
        "deliveries": reads.deliveries("ada", "n"),
        "unseen": reads.unseen_notifications("ada"),
        "credentials": reads.credentials("a@b"),
        "sessions_of": reads.sessions_of("ada"),
        "audit": reads.audit("ada", None, 10),
        "session": reads.session("s", "ada"),
        "users": reads.users(["ada"]),
        "feed": reads.feed("ada", None, 10),
        "relations": reads.relations("ada", "accepted", None, 10),
        "history": reads.history("ada.bob", None, 10),
        "positions": reads.positions("ada.bob"),
        "notifications": reads.notifications("ada", None, 10),
        "unread": reads.unread_notifications("ada"),
        "ping": ping(db, within=within),
        "ensure_indexes": ensure_indexes(db, within=within),
    }


async def all_unavailable(calls: dict[str, Any], bound: float) -> None:
    outcomes = dict(zip(calls, await asyncio.gather(*map(timed, calls.values())), strict=True))
    wrong = {name: outcome for name, outcome in outcomes.items() if not isinstance(outcome[0], UnavailableError)}
    assert wrong == {}
    assert {name: seconds for name, (_, seconds) in outcomes.items() if seconds > bound} == {}


@BOTH
async def test_a_dead_server_is_unavailable_within_the_bound_and_back_with_everything(
    own_server: Server, driver: Callable[..., Any]
) -> None:
    async with opened(own_server.url, "test-outage", selection_timeout=1.0, driver=driver) as db:
        truth = MongoTruth(db)
        await truth.record([a_decision("kept")])
        await truth.save([a_user("ada"), a_message("ada", "bob")])
        own_server.kill()
        await all_unavailable(every_call(db, within=2.5), bound=5.0)
        own_server.start()
        await wait_until_answered(db)
        assert await truth.decisions(["kept"]) == {"kept": a_decision("kept")}
        assert await truth.load([Ref("user", "ada")]) == {Ref("user", "ada"): a_user("ada")}
        assert len((await MongoReads(db).history("ada.bob", None, 5)).items) == 1
        assert await truth.record([a_decision("kept", actor="eve"), a_decision("new")]) == {"kept": a_decision("kept")}


@pytest.mark.parametrize(("driver", "within"), [(AsyncIOMotorClient, 1.5), (AsyncMongoClient, 8.0)])
async def test_a_server_that_hangs_is_unavailable_within_the_bound(
    own_server: Server, driver: Callable[..., Any], within: float
) -> None:
    """PyMongo's client is bounded by its own timeouts here: before Python 3.12 it may not hear of a cancellation."""
    options = {"selection_timeout": 0.5, "socket_timeout": 1.0, "driver": driver}
    async with opened(own_server.url, "test-hang", **options) as db:
        await ping(db)
        own_server.signal(signal.SIGSTOP)
        try:
            await all_unavailable(every_call(db, within), bound=within + 4.0)
        finally:
            own_server.signal(signal.SIGCONT)
        await wait_until_answered(db)
        assert await MongoTruth(db).record([a_decision("after")]) == {}


async def wait_until_answered(db: Database) -> None:
    """The driver looks for a server that it has lost every half second: up to then it says that there is none."""
    await until_done(lambda: ping(db), UnavailableError)


@BOTH
async def test_what_was_acknowledged_before_a_kill_is_there_after_it(
    own_server: Server, driver: Callable[..., Any]
) -> None:
    async with opened(own_server.url, "test-kill", selection_timeout=0.5, driver=driver) as db:
        truth = MongoTruth(db)
        acknowledged: list[str] = []
        enough = asyncio.Event()

        async def decide(writer: int) -> None:
            for number in itertools.count():
                command = f"{writer}-{number}"
                await truth.record([a_decision(command)])
                acknowledged.append(command)
                if len(acknowledged) == 200:
                    enough.set()

        async def kill_in_the_middle() -> None:
            await enough.wait()
            own_server.kill()

        *died, _ = await asyncio.gather(*map(decide, range(8)), kill_in_the_middle(), return_exceptions=True)
        assert {type(each) for each in died} == {UnavailableError}
        own_server.start()
        await wait_until_answered(db)
        stored = await truth.decisions(acknowledged)
        assert stored.keys() == set(acknowledged)


async def test_an_unreachable_server_is_unavailable_within_the_bound() -> None:
    async with opened("mongodb://127.0.0.1:9", "test-nowhere", selection_timeout=0.3) as db:
        await all_unavailable(every_call(db, within=10.0), bound=5.0)
