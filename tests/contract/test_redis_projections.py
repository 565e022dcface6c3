"""What the projections promise: forward only, nothing twice, nothing invented; alone and on a cluster."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from redis.asyncio.cluster import RedisCluster

from devconnect.adapters.redis import calls, keys
from devconnect.adapters.redis.calls import Client
from devconnect.adapters.redis.projections import RedisProjections
from devconnect.adapters.redis.reads import RedisReads
from devconnect.domain.presence import is_online, last_seen
from devconnect.domain.projections import EndSession, MarkNotificationsRead, MovePosition, PutUser, SetPresence, Update
from devconnect.events.base import pair_of
from devconnect.events.facts import Privacy, Profile
from devconnect.ports.projections import Mark
from devconnect.ports.reads import MessageView, PositionView, PresenceView, UserView
from devconnect.ports.truth import UnavailableError
from tests.contract.redis_fixtures import NOW, client, servers
from tests.contract.redis_samples import (
    FAR,
    PAIRS,
    PEOPLE,
    SESSIONS,
    STATES,
    complete,
    deleted,
    edited,
    everything,
    left,
    message,
    notification,
    notification_id,
    pages,
    relation,
    renewed,
    said,
    session,
    session_view,
    signed_up,
)

__all__ = ["client", "servers"]

DAY = 86_400_000
SLOW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


async def test_a_user_is_the_newest_of_what_was_put(client: Client) -> None:
    put = signed_up("ada", seq=256)
    newer, newest = PutUser("ada", 768, {"tier": "gold"}), PutUser("ada", 1024, {"role": "analyst"})
    reads = await complete(client, [*put, newer, newest, newer, *put, PutUser("ada", 512, {"tier": "silver"})])
    (ada,) = await reads.users(["ada"])
    assert ada is not None
    assert (ada.tier, ada.role, ada.email, ada.seq) == ("gold", "analyst", "ada@x", 1024)
    assert (ada.profile.name, ada.profile.skills, ada.created_at) == ("Ada", ("python", "Zürich"), NOW)


async def test_a_user_of_whom_only_a_part_has_come_is_not_known_and_is_completed_by_what_comes_late(
    client: Client,
) -> None:
    reads = await complete(client, [PutUser("ada", 768, {"tier": "gold"}), PutUser("bob", 768, {"email": "bob@x"})])
    assert await reads.users(["ada", "bob", "nobody"]) == [None] * 3
    await RedisProjections(client).apply(signed_up("ada", seq=256))
    (ada,) = await reads.users(["ada"])
    assert ada is not None
    assert (ada.tier, ada.seq) == ("gold", 768)


async def test_an_ended_session_is_not_opened_again_by_a_replay(client: Client) -> None:
    opened, ended = session("ada-1"), EndSession("ada-1", "ada", 768)
    reads = await complete(client, [opened])
    assert (await reads.session("ada-1", "ada"))[0] == session_view("ada-1")
    await RedisProjections(client).apply([ended, opened, opened])
    assert (await reads.session("ada-1", "ada"))[0] == session_view("ada-1", ended=True)


async def test_an_open_session_is_believed_once_no_log_out_can_be_missing(client: Client) -> None:
    reads = await complete(
        client, [*signed_up("ada"), session("ada-1"), session("ada-2"), EndSession("ada-2", "ada", 768)]
    )
    await client.script_flush()  # what a server that was started anew, or has taken over, doesn't know
    assert await reads.session("ada-1", "ada") == (None, None)
    assert (await reads.session("ada-2", "ada"))[0] == session_view("ada-2", ended=True)
    assert await reads.users(["ada"]) != [None]
    projections = RedisProjections(client)
    assert await projections.complete()
    assert not await projections.sessions_known()
    await projections.declare_sessions_known()
    assert (await reads.session("ada-1", "ada"))[0] == session_view("ada-1")


async def test_the_end_of_a_session_that_is_not_known_is_remembered(client: Client) -> None:
    reads = await complete(client, [EndSession("ada-1", "ada", 768)])
    ttl = await client.pttl(keys.session("ada-1"))
    assert 29 * 86_400_000 < ttl <= 30 * 86_400_000
    for _ in range(2):
        found, _ = await reads.session("ada-1", "ada")
        assert found is not None
        assert found.ended
        await RedisProjections(client).apply([session("ada-1")])


async def test_a_session_is_forgotten_when_it_would_have_ended_at_the_latest(client: Client) -> None:
    seconds, _ = await client.time()
    soon, later = (seconds + 3600) * 1000, (seconds + 7200) * 1000
    opened = [session(name, soon, ends_at=later) for name in ("ada-1", "ada-2")]
    reads = await complete(client, [*opened, EndSession("ada-2", "ada", 768), renewed("ada-1", soon + 1, 1024)])
    for name in ("ada-1", "ada-2"):
        assert await client.execute_command("PEXPIRETIME", keys.session(name)) == later
    await RedisProjections(client).apply([session("ada-3", 1_000, ends_at=2_000)])
    assert await reads.session("ada-3", "ada") == (None, None)


async def test_a_renewal_moves_the_end_of_a_session_and_nothing_older_moves_it_back(client: Client) -> None:
    opened, first, second = session("ada-1", 1_000), renewed("ada-1", 3_000, 1024), renewed("ada-1", 2_000, 1280)
    reads = await complete(client, [opened, first])
    assert (await reads.session("ada-1", "ada"))[0] == session_view("ada-1", 3_000)
    await RedisProjections(client).apply([second, opened, first])
    assert (await reads.session("ada-1", "ada"))[0] == session_view("ada-1", 2_000)


async def test_a_renewal_opens_nothing_that_has_ended_and_nothing_that_is_not_known(client: Client) -> None:
    opened, ended, moved = session("ada-1", 1_000), EndSession("ada-1", "ada", 768), renewed("ada-1", 3_000, 1024)
    reads = await complete(client, [moved])
    assert await reads.session("ada-1", "ada") == (None, None), "what it gives isn't known"
    assert 0 < await client.pttl(keys.session("ada-1")) <= 30 * 86_400_000
    await RedisProjections(client).apply([opened])
    assert (await reads.session("ada-1", "ada"))[0] == session_view("ada-1", 3_000)
    await RedisProjections(client).apply([ended, moved, opened])
    assert (await reads.session("ada-1", "ada"))[0] == session_view("ada-1", 3_000, ended=True)


async def test_of_a_closed_account_nothing_is_left_and_nothing_comes_back(client: Client) -> None:
    here = SetPresence("ada", "phone", NOW + 60_000, NOW, 512)
    before: list[Update] = [*signed_up("ada"), here, notification(1)]
    reads = await complete(client, [*before, PutUser("ada", 768, {"tier": "gold"}), left("ada", 1024, NOW + 9)])
    gone = UserView(
        id="ada",
        email="",
        profile=Profile(name="Deleted account"),
        tier="free",
        role="member",
        created_at=0,
        seq=1024,
        updated_at=NOW + 9,
        deleted=True,
    )
    for _ in range(2):
        assert await reads.users(["ada"]) == [gone]
        assert await reads.presence(["ada"], NOW) == [PresenceView(user="ada", online=False, last_seen=0)]
        assert await reads.unread_notifications("ada") == 0
        assert await numbers(reads) == []
        await RedisProjections(client).apply(
            [*before, SetPresence("ada", "phone", NOW + 9, NOW, 2048), notification(2)]
        )


async def test_what_an_account_shows_is_read_as_it_was_put(client: Client) -> None:
    privacy = Privacy(email="connections", discoverable=False)
    changes = {"email_verified": "1", "privacy": msgspec.json.encode(privacy).decode(), "updated_at": str(NOW + 7)}
    reads = await complete(client, [*signed_up("ada"), PutUser("ada", 768, changes), PutUser("ada", 1024, {})])
    (ada,) = await reads.users(["ada"])
    assert ada is not None
    assert (ada.email_verified, ada.privacy, ada.updated_at, ada.seq) == (True, privacy, NOW + 7, 1024)
    assert not ada.deleted


async def test_presence_goes_forward_a_device_at_a_time(client: Client) -> None:
    here = SetPresence("ada", "phone", NOW + 60_000, NOW, 512)
    gone = SetPresence("ada", "phone", 0, NOW + 10, 768)
    tab = SetPresence("ada", "tab", NOW + 50_000, NOW + 5, 640)
    reads = await complete(client, [here, gone, here])
    assert await reads.presence(["ada", "bob"], NOW + 20) == [
        PresenceView(user="ada", online=False, last_seen=NOW + 10),
        PresenceView(user="bob", online=False, last_seen=0),
    ]
    await RedisProjections(client).apply([tab, here])
    assert await reads.presence(["ada"], NOW + 20) == [PresenceView(user="ada", online=True, last_seen=NOW + 20)]
    (later,) = await reads.presence(["ada"], NOW + 90_000)
    assert later == PresenceView(user="ada", online=False, last_seen=NOW + 50_000)


presences = st.lists(
    st.builds(
        SetPresence,
        st.just("ada"),
        st.sampled_from(["phone", "tab", "web"]),
        st.one_of(st.just(0), st.integers(NOW - 3 * DAY, NOW + 60_000)),
        st.integers(NOW - 3 * DAY, NOW),
        st.integers(1, 50),
    ),
    min_size=1,
    max_size=12,
)


@SLOW
@given(updates=presences, now=st.integers(NOW - 3 * DAY, NOW + 120_000))
async def test_what_is_read_of_presence_is_what_the_devices_say(
    client: Client, updates: list[SetPresence], now: int
) -> None:
    await client.flushall()
    await RedisProjections(client).apply(updates)
    fields = await client.hgetall(keys.presence("ada"))
    devices = {name: int(value.partition(":")[0]) for name, value in fields.items() if name != "seen"}
    (read,) = await RedisReads(client).presence(["ada"], now)
    assert read.online == is_online(devices, now)
    assert read.last_seen == last_seen(devices, int(fields["seen"]), now)


async def test_presence_is_one_command_on_a_single_server(client: Client) -> None:
    await RedisProjections(client).apply([SetPresence(f"u{n}", "phone", NOW + n, NOW, 512) for n in range(50)])
    await client.config_resetstat()
    found = await RedisReads(client).presence([f"u{n}" for n in range(50)], NOW)
    assert [view.online for view in found] == [n > 0 for n in range(50)]
    calls = await client.info("commandstats")
    expected = ("cmdstat_get", 50) if isinstance(client, RedisCluster) else ("cmdstat_mget", 1)
    assert calls[expected[0]]["calls"] == expected[1]
    assert await RedisReads(client).presence([], NOW) == []


async def test_devices_that_are_long_gone_are_forgotten(client: Client) -> None:
    day = 86_400_000
    updates = [SetPresence("ada", f"d{n}", NOW + n * day + 60_000, NOW + n * day, 256 * (n + 1)) for n in range(10)]
    reads = await complete(client, updates)
    fields = await client.hkeys(keys.presence("ada"))
    assert set(fields) == {"seen", "d:d9", "d:d8"}
    before = await reads.presence(["ada"], NOW + 9 * day)
    await RedisProjections(client).apply(updates)
    assert await reads.presence(["ada"], NOW + 9 * day) == before


async def test_a_relation_is_listed_in_its_newest_state_only(client: Client) -> None:
    asked, taken = relation("ada", "bob", "requested", 512), relation("ada", "bob", "accepted", 768, by="ada")
    reads = await complete(client, [asked, taken, asked])
    assert await pages(lambda cursor, limit: reads.relations("ada", "requested", cursor, limit)) == []
    for others, expected in ((False, ["bob"]), (True, [])):
        page = await reads.relations("ada", "accepted", None, 10, by_others=others)
        assert page is not None
        assert [view.user for view in page.items] == expected
        assert all((view.by, view.state, view.at) == ("ada", "accepted", taken.at) for view in page.items)


async def test_requests_of_others_are_told_from_own_ones(client: Client) -> None:
    updates = [relation("ada", f"u{n}", "requested", 256 * n, by="ada" if n % 3 else "") for n in range(1, 10)]
    reads = await complete(client, updates)
    theirs = await pages(lambda cursor, limit: reads.relations("ada", "requested", cursor, limit, by_others=True))
    every = await pages(lambda cursor, limit: reads.relations("ada", "requested", cursor, limit))
    assert theirs is not None
    assert every is not None
    assert [view.user for view in theirs] == ["u9", "u6", "u3"]
    assert [view.user for view in every] == [f"u{n}" for n in range(9, 0, -1)]
    own = await pages(lambda cursor, limit: reads.relations("ada", "requested", cursor, limit, by_me=True))
    assert own is not None
    assert [view.user for view in own] == ["u8", "u7", "u5", "u4", "u2", "u1"]
    assert {view.by for view in theirs} == {"u9", "u6", "u3"}


async def seqs(reads: RedisReads, limit: int = 3) -> list[int | None] | None:
    found = await pages(lambda cursor, limit: reads.history("ada.bob", cursor, limit), limit)
    return None if found is None else [view and view.seq // 256 for view in found]


async def test_a_conversation_held_from_its_beginning_is_read_to_its_end(client: Client) -> None:
    reads = await complete(client, [message(n) for n in range(1, 8)])
    assert await seqs(reads) == [7, 6, 5, 4, 3, 2, 1]
    page = await reads.history("ada.bob", None, 7)
    assert page is not None
    assert page.next is None
    assert (page.items[0].id, page.items[0].text, page.items[0].at) == ("m7", "Grüße, 7|{}", NOW + 7)


async def test_an_older_message_that_comes_again_changes_nothing(client: Client) -> None:
    reads = await complete(client, [*(message(n) for n in range(1, 6)), message(2), message(5), message(1)])
    assert await seqs(reads) == [5, 4, 3, 2, 1]


async def test_after_a_gap_the_tail_begins_anew_and_what_is_before_it_is_not_known(client: Client) -> None:
    reads = await complete(client, [message(1), message(2), message(4), message(5), message(2), message(6)])
    assert await seqs(reads) == [6, 5, 4, None]
    assert await reads.history("ada.bob", None, 4) is None


async def test_a_trimmed_conversation_gives_only_pages_that_are_wholly_held(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MESSAGES_KEPT", 6)
    reads = await complete(client, [message(n) for n in range(1, 11)])
    assert await seqs(reads, 3) == [10, 9, 8, 7, 6, 5, None]
    assert await seqs(reads, 4) == [10, 9, 8, 7, None]


async def test_a_replay_into_a_conversation_that_was_let_go_of_changes_nothing(client: Client) -> None:
    reads = await complete(client, [message(1), message(2), message(3)])
    await client.delete(keys.messages("ada.bob"))
    await RedisProjections(client).apply([message(1), message(2), message(3)])
    assert await reads.history("ada.bob", None, 10) is None
    await RedisProjections(client).apply([message(4)])
    assert await seqs(reads, 1) == [4, None]


async def test_a_conversation_of_which_nothing_is_held_is_not_known(client: Client) -> None:
    reads = await complete(client)
    assert await reads.history("ada.bob", None, 10) is None
    assert await reads.positions("ada.bob") is None


async def test_a_page_as_it_is_sent_is_the_page_and_the_positions(client: Client) -> None:
    said = [message(n) for n in range(1, 8)]
    reads = await complete(
        client, [*said, MovePosition("ada.bob", "bob", 512, 256), message(3, conversation="ada.cyd")]
    )
    cursor = None
    for _ in range(3):
        page, sent = await reads.history("ada.bob", cursor, 3), await reads.history_json("ada.bob", cursor, 3)
        assert page is not None
        assert sent is not None
        assert msgspec.json.decode(sent.items, type=tuple[MessageView, ...]) == page.items
        assert bytes(sent.items) == msgspec.json.encode(page.items)
        assert (sent.next, sent.positions) == (page.next, await reads.positions("ada.bob"))
        assert msgspec.json.decode(msgspec.json.encode(sent))["items"][0]["text"].startswith("Grüße")
        cursor = page.next
    assert cursor is None
    assert await reads.history_json("ada.cyd", None, 3) is None, "what is before it isn't held"
    assert await reads.history_json("bob.cyd", None, 3) is None
    await client.delete(keys.positions("ada.bob"))
    assert await reads.history_json("ada.bob", None, 3) is None
    with pytest.raises(ValueError, match="cursor"):
        await reads.history_json("ada.bob", "x", 3)
    await client.delete(keys.EPOCH)
    assert await reads.history_json("ada.bob", None, 3) is None


async def test_what_is_kept_of_a_message_may_grow(client: Client) -> None:
    reads = await complete(client, [message(1), message(2)])
    [(kept, score)] = await client.zrange(keys.messages("ada.bob"), -1, -1, withscores=True)
    await client.zrem(keys.messages("ada.bob"), kept)
    await client.zadd(keys.messages("ada.bob"), {kept[:-1] + ',"edited_at":5}': score})
    page = await reads.history("ada.bob", None, 1)
    assert page is not None
    assert page.items[0].id == "m2"


async def test_positions_only_grow(client: Client) -> None:
    moves = [MovePosition("ada.bob", "bob", 768, 0), MovePosition("ada.bob", "bob", 512, 512)]
    reads = await complete(client, [message(1), *moves, *moves])
    assert await reads.positions("ada.bob") == [
        PositionView(user="ada", delivered=0, read=0),
        PositionView(user="bob", delivered=768, read=512),
    ]


async def numbers(reads: RedisReads, limit: int = 2) -> list[Any] | None:
    found = await pages(lambda cursor, limit: reads.notifications("ada", cursor, limit), limit)
    return None if found is None else [view and (view.at - NOW, view.read) for view in found]


def read_mark(*wanted: int) -> MarkNotificationsRead:
    return MarkNotificationsRead("ada", tuple(map(notification_id, wanted)), NOW + 99)


async def test_a_notification_is_there_once_and_read_for_good(client: Client) -> None:
    added = [notification(n) for n in (2, 1, 3)]
    reads = await complete(client, [*added, read_mark(1), *added, read_mark(1)])
    assert await client.zcard(keys.marks("ada")) == 0
    assert await numbers(reads) == [(3, False), (2, False), (1, True)]
    assert await reads.unread_notifications("ada") == 2


async def test_a_read_mark_that_comes_before_its_notification_wins(client: Client) -> None:
    reads = await complete(client, [read_mark(1, 2), notification(1), notification(3), notification(2)])
    assert await numbers(reads) == [(3, False), (2, True), (1, True)]
    assert await reads.unread_notifications("ada") == 1
    assert await client.zcard(keys.marks("ada")) == 0


async def test_a_notification_older_than_the_window_is_not_added_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "NOTIFICATIONS_KEPT", 4)
    added = [notification(n) for n in range(1, 8)]
    reads = await complete(client, [*added, read_mark(1, 7)])
    expected = [(7, True), (6, False), (5, False), (4, False)]
    for _ in range(2):
        assert await numbers(reads, 1) == [*expected[:3], None]
        assert await numbers(reads, 3) == [*expected[:3], None]
        assert await reads.notifications("ada", None, 4) is None
        assert await reads.unread_notifications("ada") == 5
        await RedisProjections(client).apply(added)


async def test_no_more_than_the_newest_unread_ones_and_marks_are_kept(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "NOTIFICATIONS_KEPT", 2)
    monkeypatch.setattr(keys, "UNREAD_KEPT", 5)
    monkeypatch.setattr(keys, "MARKS_KEPT", 3)
    marks = [MarkNotificationsRead("ada", (f"junk-{n}",), n) for n in range(9)]
    reads = await complete(client, [*(notification(n) for n in range(1, 10)), *marks])
    assert await reads.unread_notifications("ada") == 5
    assert await client.zrange(keys.marks("ada"), 0, -1) == ["junk-6", "junk-7", "junk-8"]


@pytest.mark.parametrize("bad", ["", "x", "!!", "Zm9v", "MTIz", "é"])
async def test_a_bad_cursor_or_limit_is_a_value_error(client: Client, bad: str) -> None:
    reads = await complete(client)
    for call in (
        lambda cursor, limit: reads.feed("ada", cursor, limit),
        lambda cursor, limit: reads.relations("ada", "accepted", cursor, limit),
        lambda cursor, limit: reads.history("ada.bob", cursor, limit),
        lambda cursor, limit: reads.notifications("ada", cursor, limit),
        lambda cursor, limit: reads.table("user_activity", cursor, limit),
    ):
        with pytest.raises(ValueError, match="cursor"):
            await call(bad, 10)
        for limit in (0, 201):
            with pytest.raises(ValueError, match="limit"):
                await call(None, limit)


async def test_a_wiped_redis_knows_nothing_until_it_is_declared_complete(client: Client) -> None:
    updates = [*a_bit_of_everything(), EndSession("ada-2", "ada", 1024)]
    projections, reads = RedisProjections(client), await complete(client, updates)
    before = await everything(reads)
    assert await projections.complete()
    await client.flushall()
    await projections.apply(updates)
    assert not await projections.complete()
    for name, found in (await everything(reads)).items():
        if name == "users":
            assert found == [None] * 3
        elif name.startswith("session"):
            assert found[1] is None
            assert found[0] is None if name != "session ada-2" else found[0].ended
        elif name != "presence":
            assert found is None, name
    await projections.declare_complete()
    assert await everything(reads) == before


def a_bit_of_everything() -> list[Update]:
    return [
        *(update for user in PEOPLE for update in signed_up(user)),
        *map(session, SESSIONS),
        renewed("ada-1", FAR, 768),
        SetPresence("ada", "ada-1", NOW + 5, NOW, 512),
        relation("ada", "bob", "accepted", 512),
        *said(1),
        *said(2),
        *said(3),
        edited(2, 4),
        *deleted(3, 5),
        MovePosition("ada.bob", "bob", 512, 256),
        notification(1),
        notification(2),
        MarkNotificationsRead("ada", (notification_id(1), notification_id(3)), NOW),
    ]


async def test_lost_scripts_are_loaded_again(client: Client) -> None:
    reads = await complete(client, a_bit_of_everything())
    before = await everything(reads)
    await client.flushall()
    await client.script_flush()
    await complete(client, a_bit_of_everything())
    assert await everything(reads) == before


async def test_scripts_that_are_lost_over_and_over_are_given_up_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_at_all(_: Client) -> None:
        await client.script_flush()

    monkeypatch.setattr(calls, "load", not_at_all)
    await client.script_flush()
    with pytest.raises(UnavailableError, match="scripts"):
        await RedisProjections(client).apply([message(1)])


@pytest.mark.parametrize("number", [1, 2, 999, 1000, 1001, 2500])
async def test_a_batch_of_any_size_is_applied_in_order(client: Client, number: int) -> None:
    reads = await complete(client, [message(n) for n in range(1, number + 1)])
    page = await reads.history("ada.bob", None, 1)
    assert page is not None
    assert page.items[0].seq == 256 * number
    await RedisProjections(client).apply([])
    assert await client.zcard(keys.messages("ada.bob")) == min(number, keys.MESSAGES_KEPT)


Action = tuple[Any, ...]
user, other, pair = st.sampled_from(PEOPLE), st.sampled_from(PEOPLE), st.sampled_from(PAIRS)
small = st.integers(0, 12)
action: st.SearchStrategy[Action] = st.one_of(
    st.tuples(st.just("sign up"), user),
    st.tuples(st.just("change"), user, st.sampled_from(["free", "silver", "gold"])),
    st.tuples(st.just("log in"), st.sampled_from(SESSIONS)),
    st.tuples(st.just("renew"), st.sampled_from(SESSIONS), small),
    st.tuples(st.just("log out"), st.sampled_from(SESSIONS)),
    st.tuples(st.just("leave"), user),
    st.tuples(st.just("presence"), user, st.sampled_from(["phone", "tab"]), small, small),
    st.tuples(st.just("relate"), user, other, st.sampled_from(STATES), st.booleans(), small),
    st.tuples(st.just("say"), pair),
    st.tuples(st.just("lose"), pair),
    st.tuples(st.just("edit"), pair, small),
    st.tuples(st.just("delete"), pair, small),
    st.tuples(st.just("move"), pair, user, small, small),
    st.tuples(st.just("notify"), user, small),
    st.tuples(st.just("mark"), user, small, small),
)


def updates_of(actions: Sequence[Action]) -> list[Update]:
    """A log as the projections get it: seqs grow, each message names the one before it, which may not have come."""
    last = dict.fromkeys(PAIRS, 0)
    updates: list[Update] = []
    for number, (kind, *rest) in enumerate(actions, 1):
        if kind in ("say", "lose"):
            (where,) = rest
            updates += said(number, last[where], where, by=pair_of(where)[number % 2]) if kind == "say" else []
            last[where] = number
        else:
            updates += MAKERS[kind](number, *rest)
    return updates


MAKERS: dict[str, Callable[..., list[Update]]] = {
    "sign up": lambda n, who: [*signed_up(who, 256 * n, NOW + PEOPLE.index(who))],
    "change": lambda n, who, tier: [PutUser(who, 256 * n, {"tier": tier})],
    "log in": lambda n, name: [session(name, seq=256 * n)],
    "renew": lambda n, name, until: [renewed(name, FAR + until, 256 * n)],
    "leave": lambda n, who: [left(who, 256 * n)],
    "log out": lambda n, name: [EndSession(name, name.partition("-")[0], 256 * n)],
    "presence": lambda n, who, device, until, at: [
        SetPresence(who, device, until and NOW - 6 + until, NOW - at, 256 * n)
    ],
    "relate": lambda n, who, whom, state, own, at: [
        relation(who, whom, state, 256 * n, by=who if own else whom, at=NOW + at)
    ],
    "edit": lambda n, where, which: [edited(which, n, conversation=where)] if which else [],
    "delete": lambda n, where, which: deleted(which, n, conversation=where) if which else [],
    "move": lambda n, where, who, delivered, read: [MovePosition(where, who, 256 * delivered, 256 * read)],
    "notify": lambda n, who, which: [notification(which, who)],
    "mark": lambda n, who, *which: [MarkNotificationsRead(who, tuple(map(notification_id, which)), NOW + n)],
}


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MESSAGES_KEPT", 4)
    monkeypatch.setattr(keys, "NOTIFICATIONS_KEPT", 5)


@SLOW
@given(actions=st.lists(action, max_size=40), data=st.data())
async def test_replays_of_what_was_applied_change_no_read(
    client: Client, small_windows: None, actions: list[Action], data: st.DataObject
) -> None:
    updates = updates_of(actions)
    await client.flushall()
    expected = await everything(await complete(client, updates))
    await client.flushall()
    # Crashes: each goes on from some place before, as from a committed offset.
    at, replayed = 0, list[Update]()
    for _ in range(data.draw(st.integers(1, 3))):
        crash = data.draw(st.integers(at, len(updates)))
        replayed += updates[at:crash]
        at = data.draw(st.integers(0, crash))
    assert await everything(await complete(client, [*replayed, *updates[at:]])) == expected


@SLOW
@given(actions=st.lists(action, max_size=25), data=st.data())
async def test_the_order_of_what_has_a_clock_of_its_own_changes_no_read(
    client: Client, actions: list[Action], data: st.DataObject
) -> None:
    updates = updates_of([each for each in actions if each[0] not in ("say", "lose")])
    await client.flushall()
    expected = await everything(await complete(client, updates))
    await client.flushall()
    shuffled = data.draw(st.permutations(updates + updates[: len(updates) // 2]))
    assert await everything(await complete(client, shuffled)) == expected


async def test_every_key_is_on_the_page_with_its_type_and_its_time(client: Client) -> None:
    await complete(client, a_bit_of_everything())
    await RedisProjections(client).applied("user-events", {0: Mark(256, NOW)})
    found = [key async for key in client.scan_iter()]
    assert len(found) > 15
    for key in found:
        (row,) = [row for row in keys.LAYOUT if row.type != "channel" and matches(row.name, key)]
        assert await client.type(key) == row.type, key
        assert (await client.pttl(key) > 0) == (row.ttl != "-"), key


def matches(pattern: str, key: str) -> bool:
    """Whether a key is of a kind: both have the same words, where those in angle brackets are any."""
    pairs = list(itertools.zip_longest(pattern.split(":"), key.split(":")))
    return all(want is not None and have is not None and (want == have or "<" in want) for want, have in pairs)


async def test_a_rebuild_during_which_redis_was_wiped_makes_nothing_complete(client: Client) -> None:
    one, other = RedisProjections(client), RedisProjections(client)
    assert not await one.complete()
    await client.flushall()
    assert not await other.complete()
    with pytest.raises(UnavailableError, match="wiped"):
        await one.declare_complete()
    assert not await one.complete()
    await other.declare_complete()
    await one.declare_complete()
    assert await one.complete()
    await client.flushall()
    assert not await other.complete()
