"""Blocks, reports, changed messages, lists of conversations and the search, in the database; on both drivers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pymongo.errors import AutoReconnect

from devconnect.adapters.mongo import layout
from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.listings import MongoListings
from devconnect.adapters.mongo.reads import MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.domain import deciding, search
from devconnect.domain.model import Conversation, Message, Place, Position, Report, message_key, ref_of
from devconnect.domain.projections import PutTalk
from devconnect.domain.search import Entry, sought, words_of
from devconnect.events import commands as c
from devconnect.events.base import pair_id
from devconnect.ports.reads import MessageView, Page, PositionView, RelationView, ReportView
from devconnect.ports.truth import UnavailableError
from tests.contract.mongo_fixtures import (
    NOON,
    Failing,
    a_connection,
    a_conversation,
    a_message,
    db,
    mongo_server,
)

__all__ = ["db", "mongo_server"]

ON_A_SERVER = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
replace = msgspec.structs.replace


async def every_page(read: Callable[[str | None, int], Awaitable[Page[Any]]], limit: int) -> list[Any]:
    items: list[Any] = []
    cursor: str | None = None
    while True:
        page = await read(cursor, limit)
        assert len(page.items) <= limit
        items += page.items
        cursor = page.next
        if cursor is None:
            return items


# -- blocks


async def test_who_blocks_sees_it_and_who_is_blocked_is_barred(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save([replace(a_connection("ada", "bob", seq=9, state="removed"), blocked_by={"ada": NOON})])
    blocked = RelationView(user="bob", state="blocked", by="ada", at=NOON)
    assert await reads.relation("ada", "bob") == blocked
    assert (await reads.relations("ada", "blocked", None, 10)).items == (blocked,)
    assert (await reads.relation("bob", "ada")).state == "barred"
    for state in ("requested", "accepted", "ignored", "rejected", "removed", "blocked"):
        assert (await reads.relations("bob", state, None, 10)).items == ()
    both = {"ada": NOON, "bob": NOON + 5}
    await truth.save([replace(a_connection("ada", "bob", seq=10, state="removed"), blocked_by=both)])
    assert await reads.relation("ada", "bob") == blocked
    assert await reads.relation("bob", "ada") == RelationView(user="ada", state="blocked", by="bob", at=NOON + 5)
    await truth.save([replace(a_connection("ada", "bob", seq=11, state="removed"), blocked_by={"bob": NOON + 5})])
    assert (await reads.relation("ada", "bob")).state == "barred"
    assert (await reads.relations("ada", "blocked", None, 10)).items == ()


async def test_a_pair_between_whom_nothing_but_a_report_was_has_no_relation(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save([replace(a_connection("ada", "bob", state="none"), by="", reports={"ada": "r1"})])
    none = RelationView(user="bob", state="none", by="", at=0)
    assert await reads.relations_to("ada", ["bob", "bob"]) == [none, none]
    assert await reads.relations_to("ada", []) == []


async def test_own_requests_are_told_from_those_of_others(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    by = ("ada", "")
    await truth.save(
        [a_connection("ada", f"p{n}", state="requested", by=by[n % 2] or f"p{n}", at=NOON + n) for n in range(6)]
    )
    own = await every_page(lambda cursor, limit: reads.relations("ada", "requested", cursor, limit, by_me=True), 2)
    assert [view.user for view in own] == ["p4", "p2", "p0"]


# -- reports


def report(number: int, **fields: Any) -> Report:
    return Report(
        **{"id": f"r{number}", "seq": number, "by": "ada", "user": "bob", "reason": "spam", "note": "", "at": NOON},
        **fields,
    )


async def test_reports_are_listed_while_they_are_open_and_when_they_are_closed(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    reports = [replace(report(n), at=NOON + n) for n in range(1, 8)]
    await truth.save(reports)
    closed = [
        replace(each, seq=100 + each.seq, closed_at=NOON + 99, closed_by="op", outcome="Warned.")
        for each in reports[1::2]
    ]
    await truth.save(closed)
    await truth.save(reports)
    is_open = await every_page(reads.reports, 2)
    assert [view.id for view in is_open] == ["r7", "r5", "r3", "r1"]
    others = await every_page(lambda cursor, limit: reads.reports(cursor, limit, open_ones=False), 2)
    assert [view.id for view in others] == ["r6", "r4", "r2"]
    assert await reads.report("r2") == others[-1]
    assert others[-1] == ReportView(
        id="r2",
        by="ada",
        user="bob",
        reason="spam",
        note="",
        at=NOON + 2,
        closed_at=NOON + 99,
        closed_by="op",
        outcome="Warned.",
    )
    assert await reads.report("nobody's") is None
    assert (await truth.load([ref_of(reports[0])])) == {ref_of(reports[0]): reports[0]}


# -- messages that were changed


def edited(message: Message, seq: int, text: str) -> Message:
    return replace(message, seq=seq, text=text, edited_at=NOON + seq)


def deleted(message: Message, seq: int) -> Message:
    return replace(message, seq=seq, text="", edited_at=None, deleted=True)


@ON_A_SERVER
@given(data=st.data())
async def test_in_whatever_order_the_versions_of_a_message_are_saved_the_last_stays(
    db: Database, data: st.DataObject
) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await db[layout.MESSAGES].delete_many({})
    first = a_message("ada", "bob", seq=3, text="first")
    versions = [first, edited(first, 5, "second"), edited(first, 8, "third"), deleted(first, 9)]
    versions = versions[: data.draw(st.integers(1, 4))]
    order = data.draw(st.permutations([*versions, *versions]))
    at = 0
    while at < len(order):
        size = data.draw(st.integers(1, 3))
        guess = {ref_of(first)} if data.draw(st.booleans()) else set()
        await truth.save(order[at : at + size], new=guess)
        at += size
    assert await truth.load([ref_of(first)]) == {ref_of(first): versions[-1]}
    history = await reads.history("ada.bob", None, 10)
    assert [(view.seq, view.text) for view in history.items] == [(3, versions[-1].text)]


async def test_nothing_of_the_text_of_a_deleted_message_is_stored(db: Database) -> None:
    truth, listings = MongoTruth(db), MongoListings(db)
    between, log = a_connection("ada", "bob"), list[deciding.Placed]()
    for offset, command in enumerate(
        (
            c.SendMessage(id="c0", actor="ada", at=NOON, to="bob", text="xylophone"),
            c.EditMessage(id="c1", actor="ada", at=NOON, peer="bob", message=256, text="a xylophone"),
            c.SendMessage(id="c2", actor="ada", at=NOON, to="bob", text="drum"),
            c.DeleteMessage(id="c3", actor="ada", at=NOON, peer="bob", message=256),
        )
    ):
        log.append(deciding.Placed(Place("message-commands", 0, offset), command))
    before = deciding.settle(log[:3], {}, {ref_of(between): between}, {})
    await truth.record(before.fresh)
    await truth.save(before.documents)
    await listings.put_words([entry for event in before.all_events() for entry in search.entries(event)])
    state = await truth.load(deciding.wanted([log[3].command]))
    after = deciding.settle(log[3:], {}, state, {})
    await truth.record(after.fresh)
    await truth.save(after.documents)
    await listings.put_words([entry for event in after.all_events() for entry in search.entries(event)])
    for name in (layout.MESSAGES, layout.WORDS, layout.CONVERSATIONS, layout.DECISIONS):
        stored = repr(await db[name].find({}).to_list(None))
        assert "xylophone" not in stored, name
        assert name == layout.CONVERSATIONS or "drum" in stored, name
    # They are decided all the same, and a replay comes to what is there.
    known = await truth.decisions(["c0", "c1", "c2", "c3"])
    again = deciding.settle(log, known, {**state, **await truth.load(deciding.touched(known.values()))}, {})
    await truth.save(again.documents)
    history = await MongoReads(db).history("ada.bob", None, 10)
    assert [(view.text, view.deleted) for view in history.items] == [("drum", False), ("", True)]


async def test_no_conversation_is_stored_before_a_change_of_its_messages(db: Database) -> None:
    conversation, said = a_conversation("ada", "bob", seq=9), a_message("ada", "bob", seq=3)
    broken: Any = Failing(db, layout.MESSAGES, AutoReconnect("died here"))
    with pytest.raises(UnavailableError):
        await MongoTruth(broken).save([edited(said, 9, "new"), conversation])
    assert await MongoTruth(db).load([ref_of(conversation)]) == {}


# -- history both ways


async def test_history_is_read_both_ways_by_the_same_cursors(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save([a_message("ada", "bob", seq=n) for n in range(1, 10)])
    await truth.save([a_message("ada", "cyd", seq=5), a_message("ada", "abe", seq=5)])

    async def forward(cursor: str | None, limit: int) -> Page[MessageView]:
        return await reads.history("ada.bob", cursor, limit, forward=True)

    assert [view.seq for view in await every_page(forward, 4)] == list(range(1, 10))
    newest = await reads.history("ada.bob", None, 4)
    older = await reads.history("ada.bob", newest.next, 3)
    assert [view.seq for view in older.items] == [5, 4, 3]
    back = await forward(older.previous, 4)
    assert back.items == newest.items[::-1]
    assert (await reads.history("ada.bob", back.previous, 3)).items == older.items
    assert await forward(newest.previous, 5) == Page(())
    await truth.save([a_message("ada", "bob", seq=10)])
    assert [view.seq for view in (await forward(newest.previous, 5)).items] == [10]
    assert await reads.history("ada.eve", None, 5) == Page(())


# -- lists of conversations


def talk(peer: str, seq: int, **fields: Any) -> list[Conversation | Message]:
    return [a_conversation("ada", peer, seq, **fields), a_message("ada", peer, seq)]


async def list_talks(db: Database, *talks: tuple[str, int]) -> None:
    await MongoListings(db).put_talks([PutTalk("ada", peer, NOON + at) for peer, at in talks])


async def test_conversations_are_listed_by_their_last_message(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    for n in range(1, 8):
        await truth.save(talk(f"u{n}", n, positions={"ada": Position(delivered=n, read=1)}, unread={"ada": (2, n)}))
    await list_talks(db, *((f"u{n}", n) for n in range(1, 8)), ("u3", 50), ("u3", 40))
    await MongoListings(db).put_talks([PutTalk("adam", "eve", NOON)])
    for limit in (1, 3, 100):
        found = await every_page(lambda cursor, limit: reads.conversations("ada", cursor, limit), limit)
        assert [view.peer for view in found] == ["u3", "u7", "u6", "u5", "u4", "u2", "u1"]
    assert (found[0].unread, found[0].last.seq) == (2, 3)
    assert PositionView(user="ada", delivered=3, read=1) in found[0].positions
    assert await reads.conversation("ada", "u3") == found[0]
    assert await reads.conversation("ada", "nobody") is None


@ON_A_SERVER
@given(
    order=st.permutations([("u1", 1), ("u1", 3), ("u2", 2), ("u2", 9), ("u3", 5), ("u1", 7)]), size=st.integers(1, 3)
)
async def test_in_whatever_order_talks_are_put_the_newest_stays(db: Database, order: Any, size: int) -> None:
    await db[layout.TALKS].delete_many({})
    for at in range(0, len(order), size):
        await list_talks(db, *order[at : at + size])
    found = await db[layout.TALKS].find({}).to_list(None)
    assert sorted(each["k"] for each in found) == [
        layout.talk_key("ada", NOON + at, peer) for peer, at in (("u3", 5), ("u1", 7), ("u2", 9))
    ]


# -- search


def entries(message: Message) -> list[Entry]:
    words = words_of(message.text)
    return [Entry(user, message.id, message.at, words, message.seq) for user in (message.sender, message.recipient)]


async def say(db: Database, *messages: Message) -> None:
    await MongoTruth(db).save(messages)
    await MongoListings(db).put_words([entry for message in messages for entry in entries(message)])


async def found(db: Database, user: str, query: str, peer: str | None = None, limit: int = 3) -> list[str]:
    reads = MongoReads(db)
    views = await every_page(
        lambda cursor, limit: reads.search(user, sought(query), peer, cursor, limit),
        limit,
    )
    return [view.text for view in views]


async def test_messages_are_found_by_all_of_their_words_newest_first(db: Database) -> None:
    log = [a_message("ada", "bob", n, f"Message number {n % 3} of {n}, Grüße") for n in range(10, 22)]
    await say(db, *log, a_message("ada", "bob", 30, "nothing like that"))
    assert await found(db, "ada", "NUMBER grüsse") == [each.text for each in reversed(log)]
    assert await found(db, "bob", "21") == [log[-1].text]
    assert await found(db, "ada", "number that") == []
    assert await found(db, "ada", "num") == [], "whole words only"
    assert await found(db, "ada", "?!") == []


async def test_only_ones_own_messages_are_found(db: Database) -> None:
    await say(db, a_message("ada", "bob", 3, "secret plans"), a_message("ada", "cyd", 4, "secret party"))
    await say(db, a_message("eve", "dan", 3, "secret"))
    assert await found(db, "ada", "secret") == ["secret party", "secret plans"]
    assert await found(db, "bob", "secret") == ["secret plans"]
    assert await found(db, "eve", "plans") == []
    assert await found(db, "ada", "secret", peer="bob") == ["secret plans"]
    assert await found(db, "bob", "secret", peer="cyd") == []
    assert await found(db, "eve", "secret", peer="ada") == []
    # A name among the words is a word, and no way into somebody else's.
    assert await found(db, "eve", "bob:secret ada:plans @ada") == []
    assert await MongoReads(db).search("eve", ["x", "@dan"], None, None, 5) == Page(())


async def test_a_changed_message_is_found_by_what_it_says_now(db: Database) -> None:
    said = a_message("ada", "bob", 3, "good morning")
    await say(db, said, a_message("ada", "bob", 4, "good day"))
    await say(db, edited(said, 9, "good night"))
    await MongoListings(db).put_words(entries(said))
    assert await found(db, "bob", "morning") == []
    assert await found(db, "bob", "night") == ["good night"]
    assert await found(db, "ada", "good") == ["good day", "good night"]
    await say(db, deleted(said, 12))
    assert await found(db, "ada", "good") == ["good day"]


async def test_what_the_index_has_not_heard_of_yet_is_not_found_by_what_it_said(db: Database) -> None:
    said = a_message("ada", "bob", 3, "good morning")
    await say(db, said)
    await MongoTruth(db).save([edited(said, 9, "good night")])
    assert await found(db, "ada", "morning") == []
    await MongoTruth(db).save([deleted(said, 10)])
    assert await found(db, "ada", "good") == []


@ON_A_SERVER
@given(
    log=st.lists(
        st.tuples(
            st.sampled_from(["bob", "cyd", "dan"]),
            st.lists(st.sampled_from(["kafka", "redis", "mongo", "faust"]), max_size=3),
        ),
        max_size=12,
    ),
    query=st.lists(st.sampled_from(["kafka", "redis", "mongo", "faust"]), min_size=1, max_size=2),
    peer=st.sampled_from([None, "bob", "cyd"]),
)
async def test_what_is_found_is_what_a_look_at_every_message_would_find(
    db: Database, log: Any, query: list[str], peer: str | None
) -> None:
    for name in (layout.MESSAGES, layout.WORDS):
        await db[name].delete_many({})
    messages = [a_message("ada", other, n, " ".join([*words, f"n{n}"])) for n, (other, words) in enumerate(log, 1)]
    await say(db, *messages)
    expected = [
        each.text
        for each in reversed(messages)
        if set(query) <= set(each.text.split()) and peer in (None, each.recipient)
    ]
    assert await found(db, "ada", " ".join(query), peer, limit=2) == expected


async def test_entries_of_an_event_are_what_is_stored(db: Database) -> None:
    await asyncio.gather(*(MongoListings(db).put_words(entries(a_message("ada", "bob", n, f"w{n}"))) for n in range(5)))
    stored = await db[layout.WORDS].find({}).to_list(None)
    assert len(stored) == 10
    assert {each["_id"] for each in stored} == {
        f"{user}:{message_key(pair_id('ada', 'bob'), n)}" for user in ("ada", "bob") for n in range(5)
    }
    assert all(set(each["words"]) == {f"{each['_id'][:3]}:w{each['seq']}", peer_of(each)} for each in stored)
    await MongoListings(db).put_words([])
    await MongoListings(db).put_talks([])


def peer_of(stored: dict[str, Any]) -> str:
    user = stored["_id"][:3]
    return f"{user}:@{'bob' if user == 'ada' else 'ada'}"


@pytest.mark.parametrize("cursor", ["", "?", "é", "bm90IG91cnM", "MTIz"])
async def test_a_bad_cursor_or_limit_is_a_value_error(db: Database, cursor: str) -> None:
    reads = MongoReads(db)
    calls: list[Callable[[str | None, int], Awaitable[object]]] = [
        lambda cursor, limit: reads.conversations("ada", cursor, limit),
        lambda cursor, limit: reads.history("ada.bob", cursor, limit, forward=True),
        lambda cursor, limit: reads.search("ada", ["word"], None, cursor, limit),
        reads.reports,
    ]
    for call in calls:
        with pytest.raises(ValueError, match="not a cursor"):
            await call(cursor, 10)
        with pytest.raises(ValueError, match="limit"):
            await call(None, 201)


def test_nothing_is_sought_that_no_message_could_have() -> None:
    assert search.sought("  ") == ()
