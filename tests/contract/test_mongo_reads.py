"""The promises of ports.reads, kept on a real server through both drivers."""

from typing import Any

import msgspec
import pytest

from devconnect.adapters.mongo.connect import Database
from devconnect.adapters.mongo.reads import FEED_BLOCKS, MongoReads
from devconnect.adapters.mongo.truth import MongoTruth
from devconnect.domain.model import Position
from devconnect.ports.reads import (
    AuditView,
    MessageView,
    PositionView,
    PresenceView,
    RelationView,
    SessionsView,
    SessionView,
    UserView,
)
from tests.contract.mongo_fixtures import (
    NOON,
    a_connection,
    a_conversation,
    a_message,
    a_notification,
    a_user,
    an_audit,
    db,
    mongo_server,
    some_logins,
)

__all__ = ["db", "mongo_server"]


async def every_page(read: Any, limit: int) -> list[Any]:
    """Every item of a list, page by page, and no page but the last shorter than `limit`."""
    items: list[Any] = []
    cursor = None
    while True:
        page = await read(cursor, limit)
        items += page.items
        if page.next is None:
            return items
        assert len(page.items) == limit
        cursor = page.next


async def test_a_session_and_its_user_are_read_together(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    user = a_user("ada", seq=7)
    await truth.save([user, some_logins("ada", "open"), some_logins("bob", "his")])
    view = UserView(
        id="ada",
        email=user.email,
        profile=user.profile,
        tier="free",
        role="member",
        created_at=NOON,
        seq=7,
        updated_at=NOON + 7,
    )
    session = SessionView(
        id="open", user="ada", expires_at=NOON + 1_000, ended=False, ends_at=NOON + 9_000, role="analyst"
    )
    assert await reads.session("open", "ada") == (session, view)
    over = SessionView(id="over", user="ada", expires_at=0, ended=True)
    assert await reads.session("over", "ada") == (over, view)
    assert await reads.session("his", "ada") == (msgspec.structs.replace(over, id="his"), view)
    assert await reads.session("open", "nobody") == (None, None)
    assert [each and each.id for each in await reads.users(["x", "ada", "x", "ada"])] == [None, "ada", None, "ada"]
    assert await reads.users([]) == []


async def test_sessions_are_listed_the_one_used_last_first(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save([some_logins("ada", "one", "two", "three"), some_logins("bob", "his")])
    listed = await reads.sessions_of("ada")
    assert [each.id for each in listed] == ["three", "two", "one"]
    assert listed[0] == SessionsView(
        id="three",
        device="phone",
        place="192.0.2.0/24",
        created_at=NOON,
        used_at=NOON + 2,
        expires_at=NOON + 1_000,
        ends_at=NOON + 9_000,
        role="analyst",
    )
    assert await reads.sessions_of("nobody") == []


async def test_a_deleted_account_is_read_as_one_and_listed_nowhere(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save([a_user("ada"), a_user("bob")])
    await truth.save([msgspec.structs.replace(a_user("bob", seq=9), email="", deleted=True)])
    [bob] = await reads.users(["bob"])
    assert bob is not None
    assert (bob.deleted, bob.email, bob.seq) == (True, "", 9)
    assert (await reads.feed("eve", None, 10)).items == ("ada",)


async def test_the_changes_of_ones_rights_are_paged_newest_first(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save([an_audit(number) for number in range(1, 31)] + [an_audit(99, "eve")])
    await truth.save([an_audit(7)])
    seen = await every_page(lambda cursor, limit: reads.audit("ada", cursor, limit), 7)
    assert [each.id for each in seen] == [f"event-{number}" for number in range(30, 0, -1)]
    assert seen[0] == AuditView(
        id="event-30", user="ada", by="olga", what="tier", before="free", after="gold", reason="Paid.", at=NOON + 30
    )


async def test_a_thousand_messages_are_paged_without_repeats(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save([a_message("ada", "bob", seq) for seq in range(1, 1001)])
    await truth.save([a_message("ada", "bobby", 5), a_message("ad", "bob", 5)])
    for limit in (7, 50, 200):
        seen = await every_page(lambda cursor, limit: reads.history("ada.bob", cursor, limit), limit)
        assert [each.seq for each in seen] == list(range(1000, 0, -1))
    assert seen[0] == MessageView(
        id="command-1000",
        conversation="ada.bob",
        seq=1000,
        sender="ada",
        recipient="bob",
        text="hello",
        at=NOON + 1000,
    )


async def test_what_is_said_while_somebody_pages_moves_nothing(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save([a_message("ada", "bob", seq) for seq in range(1, 11)])
    first = await reads.history("ada.bob", None, 5)
    await truth.save([a_message("ada", "bob", seq) for seq in range(11, 15)])
    second = await reads.history("ada.bob", first.next, 5)
    assert [each.seq for each in first.items + second.items] == list(range(10, 0, -1))
    assert second.next is None


async def test_positions_of_both_are_told(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save([a_conversation("bob", "ada", positions={"bob": Position(delivered=9, read=4)})])
    bob = PositionView(user="bob", delivered=9, read=4)
    assert await reads.positions("ada.bob") == [PositionView(user="ada", delivered=0, read=0), bob]
    nowhere = [PositionView(user=user, delivered=0, read=0) for user in ("ada", "eve")]
    assert await reads.positions("ada.eve") == nowhere


async def test_relations_are_listed_by_state_newest_first(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.save(
        [a_connection("ada", f"peer{n:02d}", state="requested", by=("ada", f"peer{n:02d}")[n % 2]) for n in range(30)]
    )
    later = [a_connection("ada", f"peer{n:02d}", seq=2, by=f"peer{n:02d}", at=NOON + 100 + n) for n in range(0, 10, 2)]
    await truth.save(later)
    accepted = await every_page(lambda cursor, limit: reads.relations("ada", "accepted", cursor, limit), 2)
    assert [each.user for each in accepted] == [f"peer{n:02d}" for n in (8, 6, 4, 2, 0)]
    assert accepted[0] == RelationView(user="peer08", state="accepted", by="peer08", at=NOON + 108)
    waiting = await every_page(lambda cursor, limit: reads.relations("ada", "requested", cursor, limit), 4)
    assert sorted(each.user for each in waiting) == sorted(
        {f"peer{n:02d}" for n in range(30)} - {each.user for each in accepted}
    )
    theirs = await every_page(
        lambda cursor, limit: reads.relations("ada", "requested", cursor, limit, by_others=True), 4
    )
    assert [each.user for each in theirs] == [f"peer{n:02d}" for n in range(29, 0, -2)]
    assert {each.by for each in theirs} == {each.user for each in theirs}
    assert (await reads.relations("peer00", "accepted", None, 5)).items[0].user == "ada"
    assert (await reads.relations("peer00", "requested", None, 5)).items == ()


async def test_the_feed_is_everybody_that_one_has_nothing_with(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    names = [f"u{n:03d}" for n in range(300)]
    await truth.save([a_user(name, at=NOON + n) for n, name in enumerate(names)])
    known = names[5::7]
    await truth.save([a_connection("u000", name, state="ignored", by=name) for name in known])
    for limit in (10, 200):
        seen = await every_page(lambda cursor, limit: reads.feed("u000", cursor, limit), limit)
        assert seen == [name for name in reversed(names) if name not in known and name != "u000"]


async def test_a_feed_among_people_all_known_takes_bounded_steps_to_its_end(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    count = FEED_BLOCKS * 100 + 50
    await truth.save([a_user(f"u{n:04d}", at=NOON + n) for n in range(count)])
    await truth.save([a_connection("u0000", f"u{n:04d}") for n in range(2, count)])
    first = await reads.feed("u0000", None, 10)
    assert first.items == ()
    assert first.next is not None
    second = await reads.feed("u0000", first.next, 10)
    assert (second.items, second.next) == (("u0001",), None)


async def test_notifications_are_paged_and_are_ones_own(db: Database) -> None:
    truth, reads = MongoTruth(db), MongoReads(db)
    await truth.add_notifications([a_notification("ada", n) for n in range(120)])
    await truth.add_notifications([a_notification("eve", n) for n in range(3)])
    seen = await every_page(lambda cursor, limit: reads.notifications("ada", cursor, limit), 50)
    assert [each.at - NOON for each in seen] == list(range(119, -1, -1))
    assert (seen[0].kind, seen[0].about, seen[0].read) == ("message_received", {"user": "bob"}, False)
    assert await reads.unread_notifications("ada") == 120
    assert await reads.unread_notifications("nobody") == 0
    assert (await reads.notifications("nobody", None, 5)).items == ()


@pytest.mark.parametrize("cursor", ["", "?", "é", "bm90IG91cnM", "MTIz", "A" * 5, "~~~~"])
async def test_a_bad_cursor_is_a_value_error(db: Database, cursor: str) -> None:
    reads = MongoReads(db)
    for call in (
        reads.history("ada.bob", cursor, 10),
        reads.relations("ada", "accepted", cursor, 10),
        reads.feed("ada", cursor, 10),
        reads.notifications("ada", cursor, 10),
    ):
        with pytest.raises(ValueError, match="not a cursor"):
            await call


@pytest.mark.parametrize("limit", [0, 201])
async def test_a_page_has_its_bounds(db: Database, limit: int) -> None:
    reads = MongoReads(db)
    for call in (reads.history("ada.bob", None, limit), reads.feed("ada", None, limit)):
        with pytest.raises(ValueError, match="limit"):
            await call


async def test_what_the_database_does_not_hold_is_not_made_up(db: Database) -> None:
    reads = MongoReads(db)
    assert reads.source == "database"
    assert await reads.presence(["ada"], NOON) == [PresenceView(user="ada", online=False, last_seen=0)]
    assert await reads.table("events_by_type", None, 10) is None
    assert await reads.credentials("nobody@example.org") is None
