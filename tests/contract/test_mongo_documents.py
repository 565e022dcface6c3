"""Documents of the truth move forward only, whatever is saved again, out of order or at once; on both drivers."""

import asyncio
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pymongo import UpdateOne
from pymongo.errors import AutoReconnect, BulkWriteError

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.adapters.mongo.writes import put_newer
from devconnect.domain import deciding
from devconnect.domain.model import AnyDocument, Place, Position, Ref, Ticket, ref_of
from devconnect.events import commands as c
from devconnect.events.base import seq_of
from devconnect.events.facts import Privacy
from devconnect.ports.truth import UnavailableError
from tests.contract.mongo_fixtures import (
    NOON,
    Failing,
    a_connection,
    a_conversation,
    a_message,
    a_user,
    an_audit,
    db,
    mongo_server,
    some_logins,
)

__all__ = ["db", "mongo_server"]

ON_A_SERVER = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def batch_of_every_kind() -> list[AnyDocument]:
    return [
        a_user("ada", headline='nul \x00, quote ", smile \U0001f600'),
        msgspec.structs.replace(
            a_user("eve"),
            deleted=True,
            privacy=Privacy(discoverable=False),
            verification=Ticket(id="t1", email="eve@new.org", expires_at=NOON),
        ),
        some_logins("ada", "s-1", "s-2"),
        some_logins("bob"),
        an_audit(1),
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
        case "logins":
            return some_logins(name, f"s-{seq}", seq=seq)
        case "connection":
            states = ("requested", "accepted", "removed")
            return a_connection(name, "zoe", seq, state=states[seq % 3], by=(name, "zoe")[seq % 2])
        case _:
            return a_conversation(name, "zoe", seq, positions={name: Position(delivered=seq)})


VERSIONS = st.tuples(
    st.sampled_from(["user", "logins", "connection", "conversation"]), st.integers(0, 1), st.integers(1, 9)
)


@ON_A_SERVER
@given(saves=st.lists(st.lists(VERSIONS, max_size=8), min_size=1, max_size=6), guesses=st.randoms())
async def test_whatever_is_saved_in_whatever_order_the_newest_stays(db: Database, saves: Any, guesses: Any) -> None:
    """Whatever is guessed of what is there."""
    truth, run = MongoTruth(db), uuid.uuid4().hex
    newest: dict[Ref, AnyDocument] = {}
    for save in saves:
        documents = [version(kind, f"{run}{name}", seq) for kind, name, seq in save]
        await truth.save(documents, new={ref_of(document) for document in documents if guesses.random() < 0.5})
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

    async def bulk_write(self, updates: list[Any], **options: Any) -> Any:
        if self._first and isinstance(updates[0], UpdateOne):
            self._first = False
            await self._table.insert_one(self._older)
            raise BulkWriteError({"writeErrors": [{"index": 0, "code": 11000}], "writeConcernErrors": []})
        return await self._table.bulk_write(updates, **options)


async def test_a_document_that_lost_the_insert_to_an_older_one_is_written_over_it(db: Database) -> None:
    raced: Any = Raced(db, {"_id": "ada", "seq": 5})
    await put_newer(raced, [{"_id": "ada", "seq": 7}])
    assert await db[layout.USERS].find({"_id": "ada"}).to_list(None) == [{"_id": "ada", "seq": 7}]


async def test_a_message_is_inserted_once_and_changed_by_nothing_but_a_change(db: Database) -> None:
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


async def test_no_account_is_stored_before_the_audit_of_what_has_changed_in_it(db: Database) -> None:
    broken: Any = Failing(db, layout.AUDIT, AutoReconnect("died here"))
    with pytest.raises(UnavailableError):
        await MongoTruth(broken).save([a_user("ada"), an_audit(1)])
    assert await MongoTruth(db).load([Ref("user", "ada")]) == {}


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
        await MongoTruth(db).save([some_logins("ada", seq=2**70)])
