"""The promises of ports.truth, kept on a real server through both drivers."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, BulkWriteError, InvalidOperation, OperationFailure

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, close, connect, ping
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.domain.model import Problem, Reservation, Secret
from devconnect.domain.projections import MarkNotificationsRead
from devconnect.events import facts as f
from devconnect.events.base import pair_id
from devconnect.ports.truth import UnavailableError
from tests.contract.mongo_fixtures import (
    DRIVERS,
    NOON,
    Failing,
    a_decision,
    a_message,
    a_notification,
    a_user,
    db,
    mongo_server,
    opened,
)

__all__ = ["db", "mongo_server"]

#: The server must not drop what this clock stamps before it is read back.
NEW_YEAR_2100 = 4_102_444_800_000


class FixedClock:
    def __init__(self, now: int) -> None:
        self._now = now

    def now_ms(self) -> int:
        return self._now


def sent(seq: int = 256, index: int = 0) -> f.MessageSent:
    return f.MessageSent(
        id=f"c{seq}.{index}",
        seq=seq + index,
        at=NOON,
        conversation="ada.bob",
        message=f"c{seq}",
        sender="ada",
        recipient="bob",
        text='nul \x00, quote ", dot.ted, $dollar, smile \U0001f600',
        previous=0,
    )


# Decisions


async def test_a_decision_comes_back_as_it_was_stored(db: Database) -> None:
    truth = MongoTruth(db)
    event = f.UserLoggedOut(id="x.0", seq=256, at=NOON, user="ada", session="s")
    refused = a_decision("no", result=None, problem=Problem("email_taken", "Use another."))
    accepted = a_decision("yes", result={"a.b": [1, {"$x": 2**53}], "text": "nul \x00"}, events=(event,))
    said = a_decision("said", topic="message-commands", events=(sent(), sent(index=1)), result={})
    assert await truth.record([refused, accepted, said]) == {}
    assert await truth.decisions(["no", "yes", "said", "unknown"]) == {"no": refused, "yes": accepted, "said": said}
    assert await truth.decisions([]) == {}
    assert await truth.record([]) == {}


async def test_the_first_decision_stays_and_what_rests_on_another_one_is_not_stored(db: Database) -> None:
    truth = MongoTruth(db)
    first = a_decision("two", actor="ada")
    await truth.record([first])
    batch = [a_decision(name, actor="eve") for name in ("one", "two", "three")]
    assert await truth.record(batch) == {"two": first}
    assert await truth.decisions(["one", "two", "three"]) == {"one": batch[0], "two": first}


async def test_of_one_id_twice_in_a_batch_the_first_is_stored(db: Database) -> None:
    truth = MongoTruth(db)
    first = a_decision("one", actor="ada")
    assert await truth.record([first, a_decision("one", actor="eve")]) == {}
    assert await truth.decisions(["one"]) == {"one": first}


async def test_of_sixteen_deciders_one_wins_and_all_of_them_know(db: Database) -> None:
    truths = [MongoTruth(db) for _ in range(16)]
    for command in (f"raced-{n}" for n in range(10)):
        own = [a_decision(command, actor=f"writer-{n}") for n in range(16)]
        lost = await asyncio.gather(*(truth.record([each]) for truth, each in zip(truths, own, strict=True)))
        winners = [each for each, known in zip(own, lost, strict=True) if not known]
        assert len(winners) == 1
        assert {known.get(command, mine).actor for known, mine in zip(lost, own, strict=True)} == {winners[0].actor}


async def test_a_decision_is_kept_for_a_week(db: Database) -> None:
    await MongoTruth(db, clock=FixedClock(NEW_YEAR_2100)).record([a_decision("one")])
    stored = await db[layout.DECISIONS].find_one({"_id": "one"})
    assert stored is not None
    assert stored["expires"] == datetime(2100, 1, 8, tzinfo=UTC)


async def test_decisions_go_once_their_week_is_over(db: Database) -> None:
    await MongoTruth(db, clock=FixedClock(NOON)).record([a_decision("old")])
    await MongoTruth(db).record([a_decision("new")])
    await layout.ensure_indexes(db)
    indexes = (await db[layout.DECISIONS].index_information()).values()
    if any(index.get("expireAfterSeconds") == 0 for index in indexes):
        return  # the server does it, within a minute
    assert await MongoTruth(db).decisions(["old", "new"]) == {"new": a_decision("new")}


@pytest.mark.parametrize(
    "error",
    [
        BulkWriteError(
            {"writeErrors": [{"index": 0, "code": 11000}, {"index": 1, "code": 8}], "writeConcernErrors": []}
        ),
        BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64}]}),
        OperationFailure("no disk", 14031),
        AutoReconnect("gone"),
    ],
    ids=["another write error", "not on a majority", "refused", "cut off"],
)
async def test_a_write_that_failed_is_never_taken_for_done(db: Database, error: Exception) -> None:
    calls: list[tuple[str, Callable[[MongoTruth], Awaitable[object]]]] = [
        (layout.DECISIONS, lambda truth: truth.record([a_decision("one"), a_decision("two")])),
        (layout.CREDENTIALS, lambda truth: truth.reserve([Reservation("a@b", "ada", 256)])),
        (layout.CREDENTIALS, lambda truth: truth.release([Reservation("a@b", "ada", 256)])),
        (layout.PASSWORDS, lambda truth: truth.keep_secrets([Secret("ada", 256, "hash")])),
        (layout.USERS, lambda truth: truth.save([a_user("ada"), a_user("bob")])),
        (layout.MESSAGES, lambda truth: truth.save([a_message("ada", "bob")])),
        (layout.NOTIFICATIONS, lambda truth: truth.add_notifications([a_notification("ada", 1)])),
        (layout.NOTIFICATIONS, lambda truth: truth.mark_notifications_read([MarkNotificationsRead("a", ("n",), 1)])),
    ]
    for name, call in calls:
        broken: Any = Failing(db, name, error)
        with pytest.raises(UnavailableError):
            await call(MongoTruth(broken))


# Reservations


def held(email: str, user: str, seq: int = 256) -> Reservation:
    return Reservation(email, user, seq)


async def holder(db: Database, email: str) -> str | None:
    found = await db[layout.CREDENTIALS].find_one({"_id": email})
    return found["user"] if found else None


async def test_an_address_is_its_first_takers(db: Database) -> None:
    truth = MongoTruth(db)
    assert await truth.reserve([held("a@b.org", "ada"), held("e@b.org", "eve")]) == {"a@b.org": "ada", "e@b.org": "eve"}
    assert await truth.reserve([held("a@b.org", "eve")]) == {"a@b.org": "ada"}
    assert await truth.reserve([held("a@b.org", "ada")]) == {"a@b.org": "ada"}, "a replay finds its own"
    assert await truth.reserve([]) == {}


async def test_sixteen_who_want_one_address_agree_on_who_has_it(db: Database) -> None:
    truth = MongoTruth(db)
    for email in (f"{n}@race.org" for n in range(10)):
        wishes = [held(email, f"user-{n}") for n in range(16)]
        answers = await asyncio.gather(*(truth.reserve([wish]) for wish in wishes))
        holders = {answer[email] for answer in answers}
        assert holders == {await holder(db, email)}


async def test_an_address_that_was_let_go_of_can_be_taken_by_anybody(db: Database) -> None:
    truth = MongoTruth(db)
    await truth.reserve([held("a@b.org", "ada", 256), held("c@b.org", "ada", 512)])
    await truth.release([held("a@b.org", "ada", 768), held("c@b.org", "eve", 768), held("x@b.org", "ada", 768)])
    assert await truth.reserve([held("a@b.org", "eve", 1)]) == {"a@b.org": "eve"}
    assert await holder(db, "c@b.org") == "ada", "nobody lets go of what is somebody else's"
    await truth.release([])


async def test_what_was_reserved_since_is_not_let_go_of_by_who_comes_late(db: Database) -> None:
    """To another address and back: the first step is carried out again, by a replay or a former owner."""
    truth = MongoTruth(db)
    await truth.reserve([held("a@b.org", "ada", 256)])
    await truth.reserve([held("a@b.org", "ada", 1024)])
    await truth.release([held("a@b.org", "ada", 768)])
    assert await holder(db, "a@b.org") == "ada"
    await truth.reserve([held("a@b.org", "ada", 512)])
    await truth.release([held("a@b.org", "ada", 768)])
    assert await holder(db, "a@b.org") == "ada", "nor does an older reservation make it older"
    await truth.release([held("a@b.org", "ada", 1024)])
    assert await holder(db, "a@b.org") is None


async def test_whoever_reserves_what_is_let_go_of_in_the_same_moment_has_it_or_asks_again(db: Database) -> None:
    truth = MongoTruth(db)
    for number in range(20):
        email = f"{number}@race.org"
        await truth.reserve([held(email, "ada", 256)])
        found, _ = await asyncio.gather(
            truth.reserve([held(email, "ada", 1024)]), truth.release([held(email, "ada", 768)]), return_exceptions=True
        )
        if isinstance(found, UnavailableError):
            found = await truth.reserve([held(email, "ada", 1024)])
        assert found == {email: "ada"}
        assert await holder(db, email) == "ada"


# Passwords


async def test_a_password_goes_forward_only_and_opens_the_account_of_its_address(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.reserve([held("a@b.org", "ada")])
    assert await reads.credentials("a@b.org") is None, "its account isn't there yet"
    await truth.keep_secrets([Secret("ada", 256, "first"), Secret("eve", 256, "other")])
    assert await reads.credentials("a@b.org") == ("ada", "first")
    await truth.keep_secrets([Secret("ada", 768, "third")])
    await truth.keep_secrets([Secret("ada", 512, "second"), Secret("ada", 256, "first")])
    assert await reads.credentials("a@b.org") == ("ada", "third")
    await truth.keep_secrets([Secret("ada", 1024, "")])
    assert await reads.credentials("a@b.org") is None, "nothing opens a deleted account"
    await truth.keep_secrets([])


# Notifications


async def test_a_notification_is_added_once_and_read_once(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    first, second = a_notification("ada", 1), a_notification("ada", 2)
    await truth.add_notifications([first, second, first])
    assert await reads.unread_notifications("ada") == 2
    await truth.mark_notifications_read([MarkNotificationsRead("ada", (first.notification, "unknown"), NOON)])
    await truth.mark_notifications_read([MarkNotificationsRead("ada", (first.notification,), NOON + 9)])
    await truth.add_notifications([first])
    page = await reads.notifications("ada", None, 10)
    assert [(each.id, each.read) for each in page.items] == [(second.notification, False), (first.notification, True)]
    assert await reads.unread_notifications("ada") == 1
    stored = await db[layout.NOTIFICATIONS].find_one({"_id": f"ada:{first.notification}"})
    assert stored is not None
    assert stored["read_at"] == NOON, "the first mark stays"
    await truth.add_notifications([])
    await truth.mark_notifications_read([])


async def test_nobody_marks_what_is_anothers(db: Database) -> None:
    truth = MongoTruth(db)
    mine = a_notification("ada", 1)
    await truth.add_notifications([mine])
    await truth.mark_notifications_read([MarkNotificationsRead("eve", (mine.notification,), NOON)])
    await truth.mark_notifications_read([MarkNotificationsRead("eve", (f"ada:{mine.notification}",), NOON)])
    assert await MongoReads(db).unread_notifications("ada") == 1
    assert await MongoReads(db).unread_notifications("eve") == 0


# The layout and the handle


async def test_indexes_are_there_however_often_they_are_asked_for(db: Database, mongo_server: str) -> None:
    await asyncio.gather(*(layout.ensure_indexes(db) for _ in range(4)))
    for collection in layout.LAYOUT:
        there = {index["key"][0][0] for index in (await db[collection.name].index_information()).values()}
        assert there >= {index.field for index in collection.indexes if not index.expires and not index.each}


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.__name__)
async def test_a_handle_answers_until_it_is_closed(mongo_server: str, driver: Callable[..., Any]) -> None:
    async with opened(mongo_server, "test-handle", driver=driver) as handle:
        await ping(handle)
    with pytest.raises(InvalidOperation):
        await ping(handle)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.__name__)
def test_a_handle_can_be_made_before_there_is_a_loop(mongo_server: str, driver: Callable[..., Any]) -> None:
    handle = connect(mongo_server, "test-handle", driver=driver)

    async def use() -> None:
        try:
            await ping(handle)
        finally:
            await close(handle)

    asyncio.run(use())


def test_the_layout_names_every_collection_once() -> None:
    names = [collection.name for collection in layout.LAYOUT]
    assert len(set(names)) == len(names)
    assert set(layout.COLLECTION_OF.values()) < set(names)
    assert pair_id("b", "a") == "a.b"
