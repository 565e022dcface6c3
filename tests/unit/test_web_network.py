"""Connections, conversations, feed, notifications, analytics: what people see, and what only they see."""

import pytest

from devconnect.domain.delivering import EXPLAINED, Rule
from devconnect.events.base import pair_id
from tests.delivery_fakes import a_delivery
from tests.unit.web_fakes import NOON
from tests.unit.web_house import gateway, is_problem


async def test_two_people_connect() -> None:
    async with gateway() as house:
        ada, bob = await house.person("ada"), await house.person("bob")
        asked = await ada.ask("POST", "/v1/connections", {"user": bob.id, "interest": "interested"})
        assert asked.status == 201
        assert asked.json == {"user": bob.id, "state": "requested", "by": ada.id, "at": NOON}
        waiting = await bob.ask("GET", "/v1/connections/requests")
        assert [(one["user"]["id"], one["at"]) for one in waiting.json["items"]] == [(ada.id, NOON)]
        assert (await ada.ask("GET", "/v1/connections/requests")).json["items"] == []
        verdict = await bob.ask("POST", f"/v1/connections/{ada.id}/review", {"verdict": "accepted"})
        assert (verdict.status, verdict.json["state"]) == (200, "accepted")
        for reader, other in ((ada, bob), (bob, ada)):
            mine = await reader.ask("GET", "/v1/connections")
            assert [one["user"]["id"] for one in mine.json["items"]] == [other.id]
            assert mine.json["items"][0]["since"] == NOON
            assert "email" not in mine.json["items"][0]["user"]
            assert mine.json["next"] is None
        gone = await ada.ask("DELETE", f"/v1/connections/{bob.id}")
        assert (gone.status, gone.json["state"]) == (200, "removed")


async def test_what_the_rules_refuse_comes_with_its_status() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        eve = await house.person("eve")
        ask = {"user": bob.id, "interest": "interested"}
        assert is_problem(await ada.ask("POST", "/v1/connections", ask), 409, "already_connected")
        assert is_problem(await ada.ask("POST", "/v1/connections", {**ask, "user": ada.id}), 422, "not_yourself")
        assert is_problem(await ada.ask("POST", "/v1/connections", {**ask, "user": "f" * 32}), 404, "user_unknown")
        assert is_problem(await ada.ask("POST", "/v1/connections", {**ask, "user": "bob.ada"}), 404, "user_unknown")
        assert (await eve.ask("POST", "/v1/connections", ask)).status == 201
        assert is_problem(await eve.ask("POST", "/v1/connections", ask), 409, "already_requested")
        ignored = {"user": eve.id, "interest": "ignored"}
        assert is_problem(await bob.ask("POST", "/v1/connections", ignored), 409, "request_waiting")
        verdict = {"verdict": "rejected"}
        assert (await bob.ask("POST", f"/v1/connections/{eve.id}/review", verdict)).status == 200
        assert is_problem(await eve.ask("POST", "/v1/connections", ask), 409, "request_rejected")
        late = await bob.ask("POST", f"/v1/connections/{eve.id}/review", verdict)
        assert is_problem(late, 404, "request_unknown")
        assert is_problem(await bob.ask("DELETE", f"/v1/connections/{eve.id}"), 403, "not_connected")
        say = await eve.ask("POST", f"/v1/conversations/{bob.id}/messages", {"text": "hello?"})
        assert is_problem(say, 403, "not_connected")
        read = await eve.ask("POST", f"/v1/conversations/{bob.id}/read", {"up_to": 1})
        assert is_problem(read, 404, "conversation_unknown")


async def test_friends_talk_and_see_how_far_the_other_has_read() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        sent = [
            (await ada.ask("POST", f"/v1/conversations/{bob.id}/messages", {"text": text})).json
            for text in ("one", " two\n", "three")
        ]
        assert sent[1]["text"] == " two\n"
        assert sent[0]["conversation"] == pair_id(ada.id, bob.id)
        marks = await bob.ask("POST", f"/v1/conversations/{ada.id}/delivered", {"up_to": sent[2]["seq"]})
        assert marks.json == {"peer": ada.id, "delivered": sent[2]["seq"], "read": 0, "unread": 3}
        marks = await bob.ask("POST", f"/v1/conversations/{ada.id}/read", {"up_to": sent[1]["seq"]})
        assert marks.json == {"peer": ada.id, "delivered": sent[2]["seq"], "read": sent[1]["seq"], "unread": 1}
        far = await bob.ask("POST", f"/v1/conversations/{ada.id}/read", {"up_to": sent[2]["seq"] + 1})
        assert is_problem(far, 404, "message_unknown")
        history = await ada.ask("GET", f"/v1/conversations/{bob.id}/messages?limit=2")
        assert history.json["items"] == sent[:0:-1]
        assert {"user": bob.id, "delivered": sent[2]["seq"], "read": sent[1]["seq"]} in history.json["positions"]
        path = f"/v1/conversations/{bob.id}/messages?limit=2&cursor={history.json['next']}"
        rest = await ada.ask("GET", path)
        assert (rest.json["items"], rest.json["next"]) == (sent[:1], None)


async def test_nobody_reads_a_conversation_that_is_not_theirs() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        await ada.ask("POST", f"/v1/conversations/{bob.id}/messages", {"text": "between us"})
        eve = await house.person("eve")
        for peer in (ada.id, bob.id):
            seen = await eve.ask("GET", f"/v1/conversations/{peer}/messages")
            assert seen.json["items"] == []
        for peer in (pair_id(ada.id, bob.id), f"{ada.id}.{bob.id}", f"{ada.id}%2F..%2F{bob.id}", f".{bob.id}"):
            seen = await eve.ask("GET", f"/v1/conversations/{peer}/messages")
            assert seen.status == 404
            assert "between us" not in seen.text
        assert is_problem(await eve.ask("GET", f"/v1/conversations/{'0' * 32}/messages"), 404, "user_unknown")


async def test_notifications_and_requests_are_the_readers_own() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        eve = await house.person("eve")
        mine = await bob.ask("GET", "/v1/me/notifications")
        assert [note["kind"] for note in mine.json["items"]] == ["connection_requested", "welcome"]
        assert (mine.json["unread"], mine.json["unseen"]) == (2, 2)
        assert mine.json["items"][0]["about"] == {"user": ada.id}
        theirs = (await eve.ask("GET", "/v1/me/notifications")).json["items"]
        assert [note["kind"] for note in theirs] == ["welcome"]
        ids = [note["id"] for note in mine.json["items"]]
        read = await bob.ask("POST", "/v1/me/notifications/read", {"notifications": [*ids, ids[0]]})
        assert (read.status, read.json) == (200, {"read": ids})
        too_many = {"notifications": ["x"] * 101}
        seen = await bob.ask("POST", "/v1/me/notifications/seen", {"up_to": min(ids)})
        assert (seen.status, seen.json) == (200, {"seen_up_to": min(ids)})
        assert (await bob.ask("GET", "/v1/me/notifications")).json["unseen"] == 1
        for up_to in ("nonsense", f"{min(ids)}\n", f"{NOON + 3_600_000:013d}-x"):
            answer = await bob.ask("POST", "/v1/me/notifications/seen", {"up_to": up_to})
            assert is_problem(answer, 400, "invalid_body")
        assert is_problem(await bob.ask("POST", "/v1/me/notifications/read", too_many), 400, "invalid_body")


async def test_the_feed_shows_strangers_and_the_skills_they_share() -> None:
    async with gateway() as house:
        ada = await house.person("ada", skills=["python", "kafka"])
        bob = await house.person("bob", skills=["kafka", "go", "python"])
        eve = await house.person("eve")
        feed = await ada.ask("GET", "/v1/feed")
        assert [card["id"] for card in feed.json["items"]] == [eve.id, bob.id]
        assert feed.json["items"][1]["shared_skills"] == ["kafka", "python"]
        await ada.ask("POST", "/v1/connections", {"user": bob.id, "interest": "ignored"})
        assert [card["id"] for card in (await ada.ask("GET", "/v1/feed")).json["items"]] == [eve.id]


async def test_pages_go_on_where_the_one_before_ended() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        others = [(await house.person(name)).id for name in ("bob", "cyd", "dee", "eve", "fay")]
        seen: list[str] = []
        cursor = None
        for _ in range(3):
            page = await ada.ask("GET", "/v1/feed?limit=2" + (f"&cursor={cursor}" if cursor else ""))
            seen += [card["id"] for card in page.json["items"]]
            cursor = page.json["next"]
        assert seen == others[::-1]
        assert cursor is None


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/feed?limit=0", "limit"),
        ("/v1/feed?limit=201", "limit"),
        ("/v1/feed?limit=ten", "limit"),
        ("/v1/feed?limit=-1", "limit"),
        ("/v1/feed?limit=%D9%A1", "limit"),
        ("/v1/feed?limit=1&limit=2", "limit"),
        ("/v1/feed?cursor=nonsense", "cursor"),
        ("/v1/feed?cursor=", "cursor"),
        ("/v1/connections?cursor=nonsense", "cursor"),
        ("/v1/connections/requests?page=2", "page"),
        ("/v1/me/notifications?cursor=nonsense", "cursor"),
        ("/v1/me?verbose=1", "verbose"),
        ("/v1/presence", "users"),
        ("/v1/presence?users=", "users"),
        ("/v1/presence?users=ada", "users"),
        (f"/v1/presence?users={1:032x}%0A", "users"),
        ("/v1/presence?users=" + ",".join(f"{number:032x}" for number in range(201)), "users"),
    ],
)
async def test_a_query_that_is_not_as_it_must_be_is_refused(path: str, field: str) -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        answer = await ada.ask("GET", path)
        assert is_problem(answer, 400, "invalid_query")
        assert [error["field"] for error in answer.json["errors"]] == [field]


async def test_analysts_and_operators_read_tables_and_others_do_not() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        path = "/v1/analytics/tables/events_by_type"
        assert is_problem(await ada.ask("GET", path), 403, "not_allowed")
        assert is_problem(await ada.ask("GET", "/v1/analytics/tables/secrets"), 403, "not_allowed")
        for role in ("analyst", "operator"):
            house.give_role(ada.id, role)
            ada = await ada.logged_in_anew()
            table = await ada.ask("GET", f"{path}?limit=2")
            assert table.status == 200
            assert (table.json["table"], table.json["key"]) == ("events_by_type", "type")
            assert table.json["items"] == [{"type": "0", "count": 0}, {"type": "1", "count": 1}]
            rest = await ada.ask("GET", f"{path}?limit=2&cursor={table.json['next']}")
            assert (len(rest.json["items"]), rest.json["next"]) == (1, None)
            assert is_problem(await ada.ask("GET", "/v1/analytics/tables/secrets"), 404, "table_unknown")
        house.cache.state = "wiped"
        assert is_problem(await ada.ask("GET", path), 503, "store_unavailable")


async def test_people_can_ask_why_they_were_told_and_nobody_else_can() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        note = (await bob.ask("GET", "/v1/me/notifications")).json["items"][0]["id"]
        path = f"/v1/me/notifications/{note}/deliveries"
        assert is_problem(await bob.ask("GET", path), 404, "notification_unknown")
        held = a_delivery(bob.id, note, state="held", rule=Rule.GATHERED, due=NOON)
        grouped = a_delivery(bob.id, note, channel="email", state="skipped", rule=Rule.GROUPED, into=held.id)
        house.world.told[bob.id, note] = [held, grouped]
        first, second = (await bob.ask("GET", path)).json["items"]
        assert (first["channel"], first["state"], first["rule"], first["due"]) == ("push", "held", "gathered", NOON)
        assert first["explanation"] == EXPLAINED[Rule.GATHERED]
        assert (second["into"], "due" in second) == (note, False)
        for person, asked in ((ada, path), (bob, "/v1/me/notifications/nonsense/deliveries")):
            assert is_problem(await person.ask("GET", asked), 404, "notification_unknown")


async def test_preferences_are_kept_whole_and_what_can_not_be_is_named() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        path = "/v1/me/notification-preferences"
        quiet = {"start": "22:00", "end": "07:00"}
        wanted = {"time_zone": "Europe/Berlin", "quiet_hours": quiet, "kinds": {"welcome": {"email": True}}}
        assert (await ada.ask("PUT", path, wanted)).status == 200
        kept = (await ada.ask("GET", "/v1/me")).json["notification_preferences"]
        assert (kept["time_zone"], kept["quiet_hours"]) == ("Europe/Berlin", quiet)
        assert kept["kinds"]["welcome"] == {"in_app": True, "push": True, "email": True, "webhook": True}
        for body, field in (
            ({"time_zone": "Mars/Olympus"}, "time_zone"),
            ({"quiet_hours": {"start": "25:00", "end": "07:00"}}, "quiet_hours.start"),
            ({"quiet_hours": {"start": "22:00", "end": "07:00\n"}}, "quiet_hours.end"),
            ({"quiet_hours": {"start": "22:00", "end": "22:00"}}, "quiet_hours.end"),
            ({"quiet_hours": {"start": "22:30\n", "end": "07:00"}}, "quiet_hours.start"),
            ({"digest": {"every": "daily", "hour": 24}}, "digest.hour"),
        ):
            answer = await ada.ask("PUT", path, body)
            assert is_problem(answer, 400, "invalid_body")
            assert [error["field"] for error in answer.json["errors"]] == [field]
        for bad in ({"kinds": {"password_changed": {}}}, {"digest": {"every": "hourly"}}, {"quiet": quiet}):
            assert is_problem(await ada.ask("PUT", path, bad), 400, "invalid_body")
        assert (await ada.ask("GET", "/v1/me")).json["notification_preferences"] == kept
