"""Commands: answered, pending, refused, repeated; and who may ask what became of one."""

import asyncio
from typing import Any

import pytest

from devconnect.domain.model import Decision
from devconnect.events import commands as c
from tests.unit.web_fakes import KEY
from tests.unit.web_house import House, Person, gateway, is_problem
from web.ids import Ids

SIGN_UP = {"email": "ada@example.com", "password": "correct horse", "name": "Ada"}


async def test_a_result_that_does_not_come_in_time_is_202_and_where_to_ask() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        house.world.undecided = True
        answer = await ada.ask("PATCH", "/v1/me", {"name": "Countess"})
        command = answer.headers["Command-Id"]
        assert answer.status == 202
        assert answer.json == {"command": {"id": command, "status": "pending", "href": f"/v1/commands/{command}"}}
        assert answer.headers["Location"] == f"/v1/commands/{command}"
        status = await ada.ask("GET", answer.headers["Location"])
        assert (status.status, status.json) == (200, {"id": command, "status": "pending"})
        house.world.decide(house.world.sent[-1])
        status = await ada.ask("GET", answer.headers["Location"])
        assert status.json["status"] == "accepted"
        assert status.json["result"]["name"] == "Countess"
        assert house.metrics.counts["commands_answered_pending", "user.change_profile"] == 1
        assert not house.desk.expected


async def test_a_pending_log_in_has_its_token_already_and_it_works_once_the_session_exists() -> None:
    async with gateway() as house:
        await house.ask("POST", "/v1/users", SIGN_UP)
        house.world.undecided = True
        body = {"email": SIGN_UP["email"], "password": SIGN_UP["password"]}
        answer = await house.ask("POST", "/v1/sessions", body)
        assert answer.status == 202
        assert answer.json["command"]["status"] == "pending"
        token = answer.json["token"]
        assert is_problem(await house.ask("GET", "/v1/me", token=token), 401, "not_logged_in")
        house.world.decide(house.world.sent[-1])
        assert (await house.ask("GET", "/v1/me", token=token)).status == 200


async def test_kafka_down_is_503_and_says_how_to_repeat_it() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        house.world.kafka_down = True
        for method, path, body in (
            ("POST", "/v1/users", {**SIGN_UP, "email": "new@example.com"}),
            ("PATCH", "/v1/me", {"name": "Countess"}),
            ("DELETE", "/v1/sessions/current", None),
        ):
            answer = await ada.ask(method, path, body)
            assert is_problem(answer, 503, "kafka_unavailable")
            assert answer.headers["Command-Id"]
            assert "Idempotency-Key" in answer.json["detail"]
        assert (await ada.ask("GET", "/v1/me")).json["name"] == "ada"
        assert not house.desk.expected


async def test_the_database_down_stops_log_in_only_with_503() -> None:
    async with gateway() as house:
        await house.ask("POST", "/v1/users", SIGN_UP)
        house.world.database_down = True
        body = {"email": SIGN_UP["email"], "password": SIGN_UP["password"]}
        assert is_problem(await house.ask("POST", "/v1/sessions", body), 503, "store_unavailable")


async def test_a_repeated_request_has_the_effect_and_the_answer_of_the_first() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        path = f"/v1/conversations/{bob.id}/messages"
        first = await ada.ask("POST", path, {"text": "once"}, key="k1")
        house.clock.now += 5000
        again = await ada.ask("POST", path, {"text": "once"}, key="k1")
        assert (again.status, again.json) == (first.status, first.json)
        assert again.headers["Command-Id"] == first.headers["Command-Id"]
        assert len((await ada.ask("GET", path)).json["items"]) == 1
        for key in ("k2", None):
            other = await ada.ask("POST", path, {"text": "once"}, key=key)
            assert other.headers["Command-Id"] != first.headers["Command-Id"]


async def test_a_repeated_sign_up_and_log_in_open_one_account_and_one_session() -> None:
    async with gateway() as house:
        first, again = [await house.ask("POST", "/v1/users", SIGN_UP, key="k") for _ in range(2)]
        assert (first.status, again.status) == (201, 201)
        assert first.json == again.json
        body = {"email": SIGN_UP["email"], "password": SIGN_UP["password"]}
        first = await house.ask("POST", "/v1/sessions", body, key="k")
        house.clock.now += 5000
        again = await house.ask("POST", "/v1/sessions", body, key="k")
        assert again.json["session"] == first.json["session"]
        assert again.json["expires_at"] == first.json["expires_at"]
        assert (await house.ask("GET", "/v1/me", token=again.json["token"])).status == 200


async def test_the_same_key_with_another_body_or_peer_is_refused() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        eve = await house.person("eve")
        path = f"/v1/conversations/{bob.id}/messages"
        await ada.ask("POST", path, {"text": "once"}, key="k1")
        other = await ada.ask("POST", path, {"text": "twice"}, key="k1")
        assert is_problem(other, 422, "idempotency_key_reused")
        other = await ada.ask("POST", f"/v1/conversations/{eve.id}/messages", {"text": "once"}, key="k1")
        assert is_problem(other, 422, "idempotency_key_reused")
        await house.ask("POST", "/v1/users", {**SIGN_UP, "email": "new@example.com"}, key="k1")
        other = await house.ask(
            "POST", "/v1/users", {**SIGN_UP, "email": "new@example.com", "password": "another one"}, key="k1"
        )
        assert is_problem(other, 422, "idempotency_key_reused")


async def test_a_key_is_its_owners_and_its_routes() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        ids = {
            (await ada.ask("PATCH", "/v1/me", {}, key="k")).headers["Command-Id"],
            (await bob.ask("PATCH", "/v1/me", {}, key="k")).headers["Command-Id"],
            (await ada.ask("PUT", "/v1/me/presence", {"online": True}, key="k")).headers["Command-Id"],
        }
        assert len(ids) == 3
        for key in ("", "x" * 129, "two words", "ta\tb", "sch\u00f6n"):
            assert is_problem(await ada.ask("PATCH", "/v1/me", {}, key=key), 400, "invalid_header")


class TellsTheOther:
    """Two requests with one id at once: each asker is told what the other's became."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def wait(self, command_id: str, _: float) -> Decision | None:
        stored = self.house.world.decisions[command_id]
        return Decision(
            id=stored.id,
            command=stored.command,
            topic=stored.topic,
            partition=stored.partition,
            seq=stored.seq,
            actor=stored.actor,
            fingerprint="another request's",
            at=stored.at,
            result={"secret": "the other's"},
        )


async def test_an_answer_meant_for_another_request_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        monkeypatch.setattr(house.desk, "wait", TellsTheOther(house).wait)
        first = await ada.ask("PATCH", "/v1/me", {"name": "One"}, key="k")
        assert (first.status, first.json["name"]) == (200, "One")
        second = await ada.ask("PATCH", "/v1/me", {"name": "Two"}, key="k")
        assert is_problem(second, 422, "idempotency_key_reused")


def test_ids_follow_from_the_key_and_only_from_it() -> None:
    ids, others = Ids(KEY), Ids("o" * 48)
    assert ids.command("ada", "POST /v1/users", "k") == ids.command("ada", "POST /v1/users", "k")
    assert len(ids.command("ada", "POST /v1/users", "k")) == 32
    assert ids.command("ada", "POST /v1/users", "k") != others.command("ada", "POST /v1/users", "k")
    # No two ways to cut the same text into parts are the same.
    assert ids.command("a", "bc", "d") != ids.command("ab", "c", "d")
    assert ids.fingerprint("POST", "/v1/users", {"password": "p"}) != others.fingerprint(
        "POST", "/v1/users", {"password": "p"}
    )


async def test_no_password_travels_in_clear() -> None:
    async with gateway() as house:
        await house.person("ada")
        for command in house.world.sent:
            assert isinstance(command, c.SignUp | c.LogIn)
            told = str(command).replace("hash of correct horse", "")
            assert "correct horse" not in told
            assert len(command.fingerprint) == 64


async def commands_of(house: House) -> tuple[Person, Person, dict[str, str]]:
    """Two people and the ids of commands: what somebody did."""
    ada, bob = await house.person("ada"), await house.person("bob")
    house.clock.now += 1
    await ada.ask("PATCH", "/v1/me", {"name": "Countess"})
    refused = await ada.ask("DELETE", f"/v1/connections/{bob.id}")
    assert refused.status == 403
    taken = await house.ask("POST", "/v1/users", {**SIGN_UP, "email": ada.email})
    assert taken.status == 409
    found = {type(command).__name__: command.id for command in house.world.sent if command.actor == ada.id}
    return ada, bob, {**found, "taken": taken.headers["Command-Id"]}


@pytest.mark.parametrize("eventless", [False, True])
async def test_a_command_is_read_by_its_actor_and_a_door_by_whoever_has_its_id(eventless: bool) -> None:
    async with gateway() as house:
        house.desk.eventless = eventless
        ada, bob, ids = await commands_of(house)
        for name in ("SignUp", "LogIn", "ChangeProfile", "RemoveConnection"):
            path = f"/v1/commands/{ids[name]}"
            own = await ada.ask("GET", path)
            assert own.status == 200
            assert own.json["status"] == ("refused" if name == "RemoveConnection" else "accepted")
            assert is_problem(await bob.ask("GET", path), 404, "command_unknown")
            stranger = await house.ask("GET", path)
            if name in ("SignUp", "LogIn"):
                assert stranger.json == own.json
                assert "hash" not in stranger.text
            else:
                assert is_problem(stranger, 404, "command_unknown")
        refused = (await ada.ask("GET", f"/v1/commands/{ids['RemoveConnection']}")).json["problem"]
        assert (refused["code"], refused["status"]) == ("not_connected", 403)
        assert (await house.ask("GET", f"/v1/commands/{ids['taken']}")).json["problem"]["code"] == "email_taken"


async def test_a_pending_command_is_like_an_unknown_one_to_strangers() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        house.world.undecided = True
        pending = await ada.ask("PATCH", "/v1/me", {"name": "Countess"})
        door = await house.ask("POST", "/v1/users", {**SIGN_UP, "email": "new@example.com"})
        path = pending.headers["Location"]
        unknown = await bob.ask("GET", f"/v1/commands/{'0' * 32}")
        assert is_problem(unknown, 404, "command_unknown")
        for stranger in (await bob.ask("GET", path), await house.ask("GET", path)):
            assert stranger.json == unknown.json
        assert (await ada.ask("GET", path)).json["status"] == "pending"
        assert (await house.ask("GET", door.headers["Location"])).json["status"] == "pending"
        assert is_problem(await house.ask("GET", "/v1/commands/none"), 404, "command_unknown")
        assert is_problem(await house.ask("GET", path, token="bad"), 401, "not_logged_in")
        house.desk.down = True
        assert (await ada.ask("GET", path)).json["status"] == "pending"
        house.desk.down = False
        house.clock.now += 600_001
        assert is_problem(await ada.ask("GET", path), 404, "command_unknown")
        house.desk.down = True
        assert is_problem(await ada.ask("GET", path), 503, "store_unavailable")


async def test_what_was_sent_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.commands.REMEMBERED", 3)
    async with gateway() as house:
        ada = await house.person("ada")
        house.world.undecided = True
        paths = [(await ada.ask("PATCH", "/v1/me", {})).headers["Location"] for _ in range(5)]
        found = [(await ada.ask("GET", path)).status for path in paths]
        assert found == [404, 404, 200, 200, 200]


async def test_commands_and_their_times_are_counted() -> None:
    async with gateway() as house:
        await asyncio.gather(*(house.person(name) for name in ("ada", "bob")))
        counts: Any = house.metrics.counts
        assert counts["commands_sent", "user.sign_up"] == 2
        assert house.metrics.observed["command_seconds", "user.log_in"] == 2
        assert counts["http_requests", "POST", "/v1/sessions", "201"] == 2
