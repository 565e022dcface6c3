"""The promises of ports.truth, kept on a real server through both drivers."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pymongo import UpdateOne
from pymongo.errors import AutoReconnect, BulkWriteError, InvalidOperation, OperationFailure

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database, close, connect, ping
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.mongo.writes import put_newer
from devconnect.domain import deciding
from devconnect.domain.model import AnyDocument, Place, Position, Problem, Ref, Reservation, ref_of
from devconnect.domain.projections import MarkNotificationsRead
from devconnect.events import commands as c, facts as f
from devconnect.events.base import pair_id, seq_of
from devconnect.ports.truth import UnavailableError
from tests.contract.mongo_fixtures import (
    DRIVERS,
    NOON,
    Failing,
    a_connection,
    a_conversation,
    a_decision,
    a_message,
    a_notification,
    a_session,
    a_user,
    db,
    mongo_server,
)

__all__ = ["db", "mongo_server"]

ON_A_SERVER = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


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


async def test_the_first_decision_stays_and_its_neighbours_are_stored(db: Database) -> None:
    truth = MongoTruth(db)
    first = a_decision("one", actor="ada")
    await truth.record([first])
    other = a_decision("two", actor="eve")
    assert await truth.record([a_decision("one", actor="eve"), other]) == {"one": first}
    assert await truth.decisions(["one", "two"]) == {"one": first, "two": other}


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
        (layout.CREDENTIALS, lambda truth: truth.reserve([Reservation("a@b", "ada", "hash")])),
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


async def test_an_address_is_its_first_takers(db: Database) -> None:
    truth = MongoTruth(db)
    first, second = Reservation("a@b.org", "ada", "hash-a"), Reservation("a@b.org", "eve", "hash-e")
    other = Reservation("e@b.org", "eve", "hash-e")
    assert await truth.reserve([first, second, other]) == {"a@b.org": "ada", "e@b.org": "eve"}
    assert await truth.reserve([second]) == {"a@b.org": "ada"}
    assert await truth.reserve([first]) == {"a@b.org": "ada"}, "a replay finds its own"
    assert await MongoReads(db).credentials("a@b.org") == ("ada", "hash-a")
    assert await truth.reserve([]) == {}


async def test_sixteen_who_want_one_address_agree_on_who_has_it(db: Database) -> None:
    truth = MongoTruth(db)
    for email in (f"{n}@race.org" for n in range(10)):
        wishes = [Reservation(email, f"user-{n}", f"hash-{n}") for n in range(16)]
        answers = await asyncio.gather(*(truth.reserve([wish]) for wish in wishes))
        holders = {answer[email] for answer in answers}
        assert len(holders) == 1
        stored = await MongoReads(db).credentials(email)
        holder = holders.pop()
        assert stored == (holder, holder.replace("user", "hash"))


# Documents


def batch_of_every_kind() -> list[AnyDocument]:
    return [
        a_user("ada", headline='nul \x00, quote ", smile \U0001f600'),
        a_session("s-1", ended_at=NOON + 5),
        a_session("s-2"),
        a_connection("ada", "bob", state="requested"),
        a_conversation("ada", "bob", positions={"ada": Position(delivered=2**50, read=1)}),
        a_message("ada", "bob", seq=2**52),
    ]


async def test_documents_of_every_kind_come_back_as_they_were_saved(db: Database) -> None:
    truth = MongoTruth(db)
    documents = batch_of_every_kind()
    await truth.save(documents)
    refs = [ref_of(document) for document in documents]
    assert await truth.load([*refs, Ref("user", "nobody"), Ref("message", "none")]) == {
        ref_of(document): document for document in documents
    }
    assert await truth.load([]) == {}
    await truth.save([])


def version(kind: str, name: str, seq: int) -> AnyDocument:
    match kind:
        case "user":
            return a_user(name, seq, headline=f"version {seq}")
        case "session":
            return a_session(name, seq, ended_at=seq)
        case "connection":
            states = ("requested", "accepted", "removed")
            return a_connection(name, "zoe", seq, state=states[seq % 3], by=(name, "zoe")[seq % 2])
        case _:
            return a_conversation(name, "zoe", seq, positions={name: Position(delivered=seq)})


VERSIONS = st.tuples(
    st.sampled_from(["user", "session", "connection", "conversation"]), st.integers(0, 1), st.integers(1, 9)
)


@ON_A_SERVER
@given(saves=st.lists(st.lists(VERSIONS, max_size=8), min_size=1, max_size=6))
async def test_whatever_is_saved_in_whatever_order_the_newest_stays(db: Database, saves: Any) -> None:
    truth, run = MongoTruth(db), uuid.uuid4().hex
    newest: dict[Ref, AnyDocument] = {}
    for save in saves:
        documents = [version(kind, f"{run}{name}", seq) for kind, name, seq in save]
        await truth.save(documents)
        for document in documents:
            stored = newest.get(ref_of(document))
            if stored is None or stored.seq < document.seq:
                newest[ref_of(document)] = document
    assert await truth.load(newest.keys()) == newest
    await check_relations(db, newest)


async def check_relations(db: Database, newest: dict[Ref, AnyDocument]) -> None:
    """Both see what the connection says, in one state only."""
    for document in newest.values():
        if ref_of(document).kind != "connection":
            continue
        connection: Any = document
        for user, other in (connection.users, reversed(connection.users)):
            found = await db[layout.RELATIONS].find({"_id": f"{user}:{other}"}).to_list(None)
            assert [(each["state"], each["by"], each["seq"]) for each in found] == [
                (connection.state, connection.by, connection.seq)
            ]


@pytest.mark.parametrize("kind", ["user", "connection"])
async def test_concurrent_saves_of_one_document_end_with_the_newest(db: Database, kind: str) -> None:
    truth = MongoTruth(db)
    for name in (f"name{n}" for n in range(5)):
        versions = [version(kind, name, seq) for seq in range(1, 17)]
        await asyncio.gather(*(truth.save([each]) for each in versions[::-1]))
        ref = ref_of(versions[0])
        assert await truth.load([ref]) == {ref: versions[-1]}


class Raced:
    """A collection in which somebody inserts an older document just before our upsert, which then is a duplicate."""

    def __init__(self, db: Database, older: dict[str, Any]) -> None:
        self._table, self._older, self._first = db[layout.USERS], older, True

    async def bulk_write(self, updates: list[UpdateOne], **options: Any) -> Any:
        if self._first:
            self._first = False
            await self._table.insert_one(self._older)
            raise BulkWriteError({"writeErrors": [{"index": 0, "code": 11000}], "writeConcernErrors": []})
        return await self._table.bulk_write(updates, **options)


async def test_a_document_that_lost_the_insert_to_an_older_one_is_written_over_it(db: Database) -> None:
    raced: Any = Raced(db, {"_id": "ada", "seq": 5})
    await put_newer(raced, [{"_id": "ada", "seq": 7}])
    assert await db[layout.USERS].find({"_id": "ada"}).to_list(None) == [{"_id": "ada", "seq": 7}]


async def test_a_message_is_inserted_once_and_never_changed(db: Database) -> None:
    truth = MongoTruth(db)
    message = a_message("ada", "bob", text="as it was said")
    await truth.save([message])
    await truth.save([a_message("ada", "bob", text="changed"), a_message("ada", "bob", seq=2)])
    assert (await truth.load([ref_of(message)]))[ref_of(message)] == message
    history = await MongoReads(db).history(message.conversation, None, 10)
    assert [each.text for each in history.items] == ["hello", "as it was said"]


async def test_a_message_that_a_crash_kept_from_its_conversation_is_inserted_by_the_replay(db: Database) -> None:
    truth = MongoTruth(db)
    command = c.SendMessage(id="c1", actor="ada", at=NOON, to="bob", text="hello")
    placed = deciding.Placed(Place("message-commands", 0, 1), command)
    connected = a_connection("ada", "bob")
    before = deciding.settle([placed], {}, {ref_of(connected): connected}, {})
    await truth.record(before.fresh)
    await truth.save([each for each in before.documents if ref_of(each).kind == "conversation"])
    known = await truth.decisions(["c1"])
    state = await truth.load(deciding.touched(known.values()))
    again = deciding.settle([placed], known, state, {})
    await truth.save(again.documents)
    history = await MongoReads(db).history("ada.bob", None, 10)
    assert [(each.id, each.seq) for each in history.items] == [("c1", seq_of(1))]


async def test_no_connection_is_stored_before_what_both_see_of_it(db: Database) -> None:
    connection = a_connection("ada", "bob")
    broken: Any = Failing(db, layout.RELATIONS, AutoReconnect("died here"))
    with pytest.raises(UnavailableError):
        await MongoTruth(broken).save([connection])
    assert await MongoTruth(db).load([ref_of(connection)]) == {}, "a replay would find it done, and leave the rest"


async def test_no_conversation_is_stored_before_its_messages(db: Database) -> None:
    conversation = a_conversation("ada", "bob")
    broken: Any = Failing(db, layout.MESSAGES, AutoReconnect("died here"))
    with pytest.raises(UnavailableError):
        await MongoTruth(broken).save([conversation, a_message("ada", "bob")])
    assert await MongoTruth(db).load([ref_of(conversation)]) == {}


async def test_a_document_that_cannot_be_written_at_all_is_no_outage(db: Database) -> None:
    with pytest.raises(OverflowError):
        await MongoTruth(db).save([a_session("s", seq=2**70)])


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
        assert there >= {index.field for index in collection.indexes if not index.expires}


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.__name__)
async def test_a_handle_answers_until_it_is_closed(mongo_server: str, driver: Callable[..., Any]) -> None:
    handle = connect(mongo_server, "test-handle", driver=driver)
    await ping(handle)
    await close(handle)
    with pytest.raises(InvalidOperation):
        await ping(handle)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.__name__)
def test_a_handle_can_be_made_before_there_is_a_loop(mongo_server: str, driver: Callable[..., Any]) -> None:
    handle = connect(mongo_server, "test-handle", driver=driver)

    async def use() -> None:
        await ping(handle)
        await close(handle)

    asyncio.run(use())


def test_the_layout_names_every_collection_once() -> None:
    names = [collection.name for collection in layout.LAYOUT]
    assert len(set(names)) == len(names)
    assert set(layout.COLLECTION_OF.values()) < set(names)
    assert pair_id("b", "a") == "a.b"
