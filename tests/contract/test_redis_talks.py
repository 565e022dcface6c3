"""Conversations in Redis: edits, deletions, what isn't read, lists and pages both ways; alone and on a cluster."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from devconnect.adapters.redis import gathering, keys, projections
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.gathering import PutTalks, PutUnreads, gathered
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.domain.projections import AppendMessage, MovePosition, PutTalk, PutUnread, Update
from devconnect.events.base import pair_id
from devconnect.ports.reads import PositionView, RelationView
from tests.contract.redis_fixtures import NOW, client, servers
from tests.contract.redis_samples import complete, deleted, edited, message, pages, relation, said

__all__ = ["client", "servers"]

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


async def texts(reads: RedisReads, **way: bool) -> list[Any]:
    found = await pages(lambda cursor, limit: reads.history("ada.bob", cursor, limit, **way), 3)
    assert found is not None
    return [view and (view.seq // 256, view.text) for view in found]


# -- changes


async def test_an_edited_message_says_what_it_says_now_in_its_place(client: Client) -> None:
    log = [message(n) for n in range(1, 5)]
    reads = await complete(client, [*log, edited(2, 9), edited(2, 7), *log])
    page = await reads.history("ada.bob", None, 4)
    assert page is not None
    assert [view.seq // 256 for view in page.items] == [4, 3, 2, 1]
    assert (page.items[2].text, page.items[2].edited_at, page.items[2].at) == ("the 9th version", NOW + 9, NOW + 2)
    assert page.items[1].edited_at is None


async def test_nothing_is_left_of_the_text_of_a_deleted_message(client: Client) -> None:
    reads = await complete(client, [*said(1), *said(2), edited(2, 8), *deleted(2, 9), edited(2, 8), *said(2)])
    page = await reads.history("ada.bob", None, 1)
    assert page is not None
    assert (page.items[0].text, page.items[0].deleted) == ("", True)
    held = [*await client.zrange(keys.messages("ada.bob"), 0, -1), *await client.hvals(keys.changes("ada.bob"))]
    assert [text for text in held if "Grüße, 2" in text or "version" in text] == []


async def test_a_change_that_overtakes_its_message_is_not_lost(client: Client) -> None:
    """While all is built anew, what happens meanwhile comes before what has happened long ago."""
    reads = await complete(client, [*deleted(2, 9), edited(1, 8), message(1), message(2), message(3)])
    assert await texts(reads) == [(3, "Grüße, 3|{}"), (2, ""), (1, "the 8th version")]
    await RedisProjections(client).apply([edited(2, 8), edited(1, 7)])
    assert await texts(reads) == [(3, "Grüße, 3|{}"), (2, ""), (1, "the 8th version")]


async def test_a_message_that_is_not_held_any_more_stays_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MESSAGES_KEPT", 3)
    log = [message(n) for n in range(1, 9)]
    reads = await complete(client, [*log, edited(2, 20), *deleted(3, 21)])
    assert await client.zcard(keys.messages("ada.bob")) == 3
    assert await client.hlen(keys.changes("ada.bob")) == 0
    assert await texts(reads) == [(8, "Grüße, 8|{}"), (7, "Grüße, 7|{}"), (6, "Grüße, 6|{}"), None]
    # Those that are held are few, and of what has gone nothing is remembered for long.
    await RedisProjections(client).apply([edited(n, 30 + n) for n in (6, 7, 8)])
    await RedisProjections(client).apply([update for n in range(9, 20) for update in (message(n), edited(n, 40 + n))])
    assert await client.hlen(keys.changes("ada.bob")) <= 4


# -- what isn't read


async def unread(client: Client, user: str = "bob") -> list[int]:
    return [int(place) // 256 for place in await client.zrange(keys.unread_messages("ada.bob", user), 0, -1)]


async def test_what_is_not_read_is_what_was_said_beyond_and_is_not_deleted(client: Client) -> None:
    log = [update for n in range(1, 7) for update in said(n)]
    read = MovePosition("ada.bob", "bob", 512, 512)
    await complete(client, [*log, read, *deleted(4, 9), *log, read])
    assert await unread(client) == [3, 5, 6]
    await RedisProjections(client).apply(log)
    assert await unread(client) == [3, 5, 6], "what was deleted is not unread again"
    assert await unread(client, "ada") == []
    await RedisProjections(client).apply([MovePosition("ada.bob", "bob", 256 * 6, 256 * 6), *log])
    assert await unread(client) == []
    assert await client.zcard(keys.gone_messages("ada.bob", "bob")) == 0


Step = tuple[str, int]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(st.sampled_from(["say", "say", "delete", "read"]), st.integers(1, 15)), max_size=30
)


def model(log: Sequence[Step], kept: int) -> list[int]:
    """Of the newest places beyond what was read, those that weren't deleted."""
    read = max((place for kind, place in log if kind == "read"), default=0)
    gone = {place for kind, place in log if kind == "delete"}
    known = {place for kind, place in log if kind != "read" and place > read}
    return [place for place in sorted(known)[-kept:] if place not in gone]


def update_of(step: Step) -> Update:
    kind, place = step
    if kind == "read":
        return MovePosition("ada.bob", "bob", 0, 256 * place)
    return PutUnread("ada.bob", "bob", 256 * place, kind == "delete")


@SLOW
@given(log=steps, kept=st.integers(2, 8), data=st.data())
async def test_in_whatever_order_and_however_often_the_same_is_not_read(
    client: Client, monkeypatch: pytest.MonkeyPatch, log: list[Step], kept: int, data: st.DataObject
) -> None:
    monkeypatch.setattr(projections, "UNREAD_KEPT", kept)
    monkeypatch.setattr(gathering, "UNREAD_KEPT", kept)
    await client.flushall()
    shuffled = data.draw(st.permutations([*log, *log[: data.draw(st.integers(0, len(log)))]]))
    at = 0
    while at < len(shuffled):
        size = data.draw(st.integers(1, 6))
        await RedisProjections(client).apply([update_of(step) for step in shuffled[at : at + size]])
        at += size
    assert await unread(client) == model(log, kept)


def test_a_batch_has_one_write_a_record_of_those_whose_order_means_nothing() -> None:
    log = [update for n in range(1, 300) for update in said(n)]
    others = [update for update in log if isinstance(update, AppendMessage)]
    found = gathered([*log, PutUnread("ada.bob", "bob", 256 * 299, True), PutUnread("ada.bob", "bob", 256 * 299)])
    assert found[: len(others)] == others
    *first, ada, bob = found[len(others) :]
    assert (ada, bob) == (PutTalks("ada", {"bob": NOW + 299}), PutTalks("bob", {"ada": NOW + 299}))
    [unreads] = first
    assert isinstance(unreads, PutUnreads)
    assert unreads.places == (*((256 * n, False) for n in range(100, 299)), (256 * 299, True))


# -- both ways


async def test_history_is_read_both_ways_by_the_same_cursors(client: Client) -> None:
    reads = await complete(client, [message(n) for n in range(1, 10)])
    assert [seq for seq, _ in await texts(reads, forward=True)] == list(range(1, 10))
    middle = await reads.history("ada.bob", None, 4)
    assert middle is not None
    older = await reads.history("ada.bob", middle.next, 3)
    assert older is not None
    assert [view.seq // 256 for view in older.items] == [5, 4, 3]
    back = await reads.history("ada.bob", older.previous, 4, forward=True)
    assert back is not None
    assert back.items == middle.items[::-1]
    again = await reads.history("ada.bob", back.previous, 3)
    assert again is not None
    assert again.items == older.items
    assert await reads.history("ada.bob", middle.previous, 5, forward=True) == back.__class__(())


async def test_who_waits_for_what_is_said_next_goes_on_from_the_last_page(client: Client) -> None:
    reads = await complete(client, [message(1), message(2)])
    page = await reads.history("ada.bob", None, 10)
    assert page is not None
    assert page.next is None
    await RedisProjections(client).apply([message(3), message(4)])
    new = await reads.history("ada.bob", page.previous, 1, forward=True)
    assert new is not None
    assert [view.seq // 256 for view in new.items] == [3]
    newer = await reads.history("ada.bob", new.next, 10, forward=True)
    assert newer is not None
    assert [view.seq // 256 for view in newer.items] == [4]


async def test_forward_a_page_that_would_leave_something_out_is_not_known(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MESSAGES_KEPT", 4)
    reads = await complete(client, [message(n) for n in range(1, 10)])
    first = await reads.history("ada.bob", None, 4)
    assert first is not None
    assert await reads.history("ada.bob", None, 2, forward=True) is None
    follows = await reads.history("ada.bob", first.next, 2, forward=True)
    assert follows is not None
    assert [view.seq // 256 for view in follows.items] == [7, 8]
    await RedisProjections(client).apply([message(n) for n in range(10, 15)])
    assert await reads.history("ada.bob", first.next, 2, forward=True) is None
    await client.delete(keys.messages("ada.bob"))
    assert await reads.history("ada.bob", first.next, 2, forward=True) is None
    assert await RedisReads(client).history("ada.cyd", None, 2, forward=True) is None


# -- lists of conversations


def with_peer(number: int, peer: str, at: int = 0, by: str = "ada") -> list[Update]:
    """The first message between ada and a peer."""
    updates: list[Update] = []
    for update in said(number, 0, pair_id("ada", peer), by=by):
        match update:
            case PutTalk():
                updates.append(PutTalk(update.user, update.peer, NOW + (at or number)))
            case _:
                updates.append(update)
    return updates


async def peers(reads: RedisReads, limit: int) -> list[Any] | None:
    found = await pages(lambda cursor, limit: reads.conversations("ada", cursor, limit), limit)
    return None if found is None else [view and view.peer for view in found]


async def test_conversations_are_listed_by_their_last_message(client: Client) -> None:
    log = [update for n in range(1, 8) for update in with_peer(n, f"u{n}", by=f"u{n}" if n % 2 else "ada")]
    more = [*said(9, 3, pair_id("ada", "u3"), by="u3"), MovePosition(pair_id("ada", "u5"), "ada", 1280, 1280)]
    reads = await complete(client, [*log, *more, *log])
    for limit in (1, 2, 3, 100):
        assert await peers(reads, limit) == ["u3", "u7", "u6", "u5", "u4", "u2", "u1"]
    page = await reads.conversations("ada", None, 4)
    assert page is not None
    assert [view.unread for view in page.items] == [2, 1, 0, 0]
    assert (page.items[0].last.seq, page.items[0].last.sender) == (256 * 9, "u3")
    assert PositionView(user="ada", delivered=1280, read=1280) in page.items[3].positions
    assert await reads.conversation("ada", "u3") == page.items[0]
    assert await reads.conversation("ada", "nobody") is None


async def test_conversations_of_the_same_moment_are_each_listed_once(client: Client) -> None:
    log = [update for n in range(1, 9) for update in with_peer(n, f"u{n}", at=5 + n // 4)]
    reads = await complete(client, log)
    for limit in (1, 2, 3):
        assert await peers(reads, limit) == ["u8", "u7", "u6", "u5", "u4", "u3", "u2", "u1"]


async def test_a_page_of_conversations_is_known_only_where_each_of_them_is(client: Client) -> None:
    reads = await complete(client, [update for n in range(1, 5) for update in with_peer(n, f"u{n}")])
    await client.delete(keys.messages(pair_id("ada", "u2")))
    assert await peers(reads, 1) == ["u4", "u3", None]
    assert await peers(reads, 2) == ["u4", "u3", None]
    assert await reads.conversations("ada", None, 3) is None
    assert await peers(RedisReads(client), 1) == ["u4", "u3", None]


async def test_the_last_of_a_conversation_may_be_a_message_that_was_deleted(client: Client) -> None:
    reads = await complete(client, [*said(1), *said(2), *deleted(2, 3)])
    view = await reads.conversation("bob", "ada")
    assert view is not None
    assert (view.last.text, view.last.deleted, view.unread) == ("", True, 1)


@pytest.mark.parametrize("bad", ["", "x", "Zm9v", "é"])
async def test_a_bad_cursor_or_limit_is_a_value_error(client: Client, bad: str) -> None:
    reads = await complete(client)
    with pytest.raises(ValueError, match="cursor"):
        await reads.conversations("ada", bad, 10)
    with pytest.raises(ValueError, match="cursor"):
        await reads.history("ada.bob", bad, 10, forward=True)
    for limit in (0, 201):
        with pytest.raises(ValueError, match="limit"):
            await reads.conversations("ada", None, limit)
        with pytest.raises(ValueError, match="limit"):
            await reads.history("ada.bob", None, limit, forward=True)


# -- relations for privacy


async def test_what_is_between_two_people_is_told_for_many_at_once(client: Client) -> None:
    log = [relation("ada", "bob", "accepted", 256, by="ada"), relation("ada", "cyd", "barred", 512)]
    reads = await complete(client, log)
    none = RelationView(user="dan", state="none", by="", at=0)
    assert await reads.relations_to("ada", ["cyd", "dan", "bob"]) == [
        RelationView(user="cyd", state="barred", by="cyd", at=NOW + 512),
        none,
        RelationView(user="bob", state="accepted", by="ada", at=NOW + 256),
    ]
    assert await reads.relation("ada", "dan") == none
    assert await reads.relations_to("ada", []) == []
    await client.delete(keys.EPOCH)
    assert await reads.relations_to("ada", ["bob"]) is None
    assert await reads.relation("ada", "bob") is None
