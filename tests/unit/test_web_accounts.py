"""Sign-up, log-in, log-out, profiles: who gets in, what is stored, what is told, and what never is."""

import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any

import jwt
import msgspec
import pytest

from devconnect.events import commands as c
from devconnect.events.facts import NotificationPreferences
from devconnect.settings import Settings
from tests.unit.web_fakes import KEY, NOON, PARTITIONS
from tests.unit.web_house import gateway, is_problem
from web.passwords import ArgonPasswords

SIGN_UP = {"email": "ada@example.com", "password": "correct horse", "name": "Ada"}


async def test_sign_up_answers_with_the_account_and_never_with_the_hash() -> None:
    async with gateway() as house:
        body = {
            **SIGN_UP,
            "email": "  Ada.Lovelace@EXAMPLE.com ",
            "name": "  Ada   Lovelace ",
            "headline": "Engines",
            "skills": ["Python", " python ", "Kafka  Streams"],
            "photo_url": "https://example.com/ada.png",
        }
        answer = await house.ask("POST", "/v1/users", body)
        assert answer.status == 201
        account = answer.json
        assert account == {
            "id": account["id"],
            "email": "ada.lovelace@example.com",
            "name": "Ada Lovelace",
            "headline": "Engines",
            "about": "",
            "photo_url": "https://example.com/ada.png",
            "skills": ["python", "kafka streams"],
            "email_verified": False,
            "privacy": {
                "email": "nobody",
                "about": "everybody",
                "photo_url": "everybody",
                "presence": "connections",
                "discoverable": True,
            },
            "notification_preferences": msgspec.to_builtins(NotificationPreferences()),
            "tier": "free",
            "role": "member",
            "created_at": NOON,
            "updated_at": NOON,
            "seq": account["seq"],
        }
        assert "hash" not in answer.text
        assert "correct horse" not in answer.text


async def test_a_new_user_id_falls_in_the_partition_of_the_address() -> None:
    async with gateway() as house:
        for name in ("ada", "bob", "cyd", "dee", "eve"):
            await house.person(name)
        [*sign_ups] = [command for command in house.world.sent if isinstance(command, c.SignUp)]
        assert len({house.world.partition_of(command.user) for command in sign_ups}) > 1
        for command in sign_ups:
            assert house.world.partition_of(command.user) == house.world.partition_of(command.email)
            assert command.actor == command.user
            assert command.password_hash == "hash of correct horse"
            assert command.reply_to == "gateway-1"
        assert PARTITIONS > 1


async def test_an_address_is_one_persons_however_it_is_spelled() -> None:
    async with gateway() as house:
        assert (await house.ask("POST", "/v1/users", SIGN_UP)).status == 201
        again = await house.ask("POST", "/v1/users", {**SIGN_UP, "email": "ADA@Example.COM"})
        assert is_problem(again, 409, "email_taken")
        assert again.headers["Command-Id"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no address"),
        ("email", "ada@localhost"),
        ("email", "a@b@example.com"),
        ("email", "ada@-example.com"),
        ("email", "ada lovelace@example.com"),
        ("email", "x" * 65 + "@example.com"),
        ("password", ""),
        ("password", "x" * 257),
        ("name", ""),
        ("name", "   "),
        ("name", "x" * 101),
        ("name", None),
        ("headline", "x" * 201),
        ("about", "x" * 2001),
        ("photo_url", "javascript:alert(1)"),
        ("photo_url", "https://"),
        ("photo_url", "https://exa mple.com/x"),
        ("photo_url", "https://ada:secret@example.com/x"),
        ("photo_url", "https://example.com/" + "x" * 500),
        ("skills", "python"),
        ("skills", ["x" * 51]),
        ("skills", [" "]),
        ("skills", [f"skill {number}" for number in range(51)]),
        ("skills", [1]),
        ("role", "operator"),
        ("user", "me"),
    ],
)
async def test_a_field_that_is_not_as_it_must_be_is_named(field: str, value: Any) -> None:
    async with gateway() as house:
        answer = await house.ask("POST", "/v1/users", {**SIGN_UP, field: value})
        assert is_problem(answer, 400, "invalid_body")
        [error] = answer.json["errors"]
        assert error["field"].partition("[")[0] == field
        assert error["message"]
        assert not house.world.sent
        assert "Command-Id" not in answer.headers


@pytest.mark.parametrize("field", ["email", "password", "name"])
async def test_a_missing_field_is_named(field: str) -> None:
    async with gateway() as house:
        body = {name: value for name, value in SIGN_UP.items() if name != field}
        answer = await house.ask("POST", "/v1/users", body)
        assert is_problem(answer, 400, "invalid_body")
        assert answer.json["errors"] == [{"field": field, "message": "is required"}]


async def test_a_password_that_others_would_guess_is_refused_and_nothing_is_sent() -> None:
    async with gateway() as house:
        answer = await house.ask("POST", "/v1/users", {**SIGN_UP, "password": "short"})
        assert is_problem(answer, 422, "password_refused")
        assert answer.json["errors"][0]["field"] == "password"
        assert house.passwords.inputs == ("ada@example.com", "Ada")
        assert not house.world.sent


async def test_log_in_gives_a_token_for_a_session_of_ones_own() -> None:
    async with gateway(access_token=600, session_idle=3600, session_lifetime=7200) as house:
        await house.ask("POST", "/v1/users", SIGN_UP)
        body = {"email": "Ada@Example.com", "password": "correct horse", "device": "phone"}
        answer = await house.ask("POST", "/v1/sessions", body)
        assert answer.status == 201
        assert answer.json.keys() == {
            "token",
            "token_expires_at",
            "renewal_token",
            "device_token",
            "session",
            "user",
            "expires_at",
            "ends_at",
            "generation",
        }
        assert answer.json["token_expires_at"] == NOON + 600_000
        assert (answer.json["expires_at"], answer.json["ends_at"]) == (NOON + 3_600_000, NOON + 7_200_000)
        claims = claims_of(answer.json["token"])
        assert claims == {
            "sub": answer.json["user"],
            "sid": answer.json["session"],
            "iat": NOON // 1000,
            "exp": NOON // 1000 + 600,
        }
        assert jwt.get_unverified_header(answer.json["token"])["kid"] == "k1"
        other = await house.ask("POST", "/v1/sessions", body)
        assert other.json["session"] != answer.json["session"]


@pytest.mark.parametrize(
    "change",
    [
        {"password": "wrong password"},
        {"email": "nobody@example.com"},
        {"email": "no address"},
    ],
)
async def test_wrong_credentials_take_the_same_way_whether_the_address_is_known_or_not(change: dict[str, str]) -> None:
    async with gateway() as house:
        await house.ask("POST", "/v1/users", SIGN_UP)
        body = {"email": "ada@example.com", "password": "correct horse", **change}
        answer = await house.ask("POST", "/v1/sessions", body)
        assert is_problem(answer, 401, "wrong_credentials")
        assert len(house.passwords.verified) == 1
        assert answer.json["detail"] == "No account has this e-mail address and this password."
        assert len(house.world.sent) == 1


async def test_log_out_ends_this_session_and_no_other() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        again = await house.ask("POST", "/v1/sessions", {"email": ada.email, "password": "correct horse"})
        gone = await ada.ask("DELETE", "/v1/sessions/current")
        assert (gone.status, gone.json) == (200, {"session": ada.session})
        assert is_problem(await ada.ask("GET", "/v1/me"), 401, "not_logged_in")
        assert (await house.ask("GET", "/v1/me", token=again.json["token"])).status == 200


async def test_a_session_that_ended_in_either_store_is_over() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        await ada.ask("DELETE", "/v1/sessions/current")
        for cache, database in (("up", "up"), ("wiped", "up"), ("down", "up"), ("up", "down")):
            house.cache.state, house.database.state = cache, database
            house.clock.now += 2000
            assert is_problem(await ada.ask("GET", "/v1/me"), 401, "not_logged_in")


async def test_a_token_is_over_at_its_time() -> None:
    async with gateway(access_token=600) as house:
        ada = await house.person("ada")
        house.clock.now += 599_000
        assert (await ada.ask("GET", "/v1/me")).status == 200
        house.clock.now += 1_000
        assert is_problem(await ada.ask("GET", "/v1/me"), 401, "not_logged_in")


ACCESS_KEY = hmac.digest(KEY.encode(), b"token:access", "sha256")


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, ACCESS_KEY, algorithms=["HS256"], options={"verify_exp": False})


def made(claims: Mapping[str, Any], key: bytes = ACCESS_KEY, algorithm: str = "HS256", kid: str | None = "k1") -> str:
    return jwt.encode(dict(claims), key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def forged(header: dict[str, str], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims)]
    return ".".join([*parts, ""])


async def test_a_token_that_is_not_ours_opens_nothing() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        claims = claims_of(ada.token)
        bob = await house.person("bob")
        assert (await house.ask("GET", "/v1/me", token=made(claims))).status == 200
        tokens = [
            "garbage",
            "a.b.c",
            ada.token[:-2],
            ada.token + "x",
            forged({"alg": "none", "typ": "JWT"}, claims),
            forged({"alg": "none", "typ": "JWT", "kid": "k1"}, claims),
            made(claims, b"o" * 48),
            made(claims, algorithm="HS512"),
            made(claims, kid=None),
            made(claims, kid="k2"),
            # A renewal token is no access token, and the ring's key signs neither.
            made(claims, hmac.digest(KEY.encode(), b"token:renewal", "sha256")),
            made(claims, KEY.encode()),
            made({**claims, "exp": NOON // 1000 - 1}),
            made({**claims, "sub": bob.id}),
            made({**claims, "sid": "0" * 32}),
            made({**claims, "exp": "soon"}),
            made({**claims, "sid": 5}),
            made({name: claims[name] for name in ("sub", "exp", "iat")}),
            made({name: claims[name] for name in ("sub", "sid", "iat")}),
        ]
        for token in tokens:
            assert is_problem(await house.ask("GET", "/v1/me", token=token), 401, "not_logged_in"), token
        for header in ("", "Basic abc", f"Token {ada.token}", "Bearer", "Bearer  "):
            async with house.client.get("/v1/me", headers={"Authorization": header}) as response:
                assert response.status == 401, header
        async with house.client.get("/v1/me", headers={"Authorization": f"bearer {ada.token}"}) as response:
            assert response.status == 200


async def test_a_profile_is_changed_where_it_was_given() -> None:
    async with gateway() as house:
        ada = await house.person("ada", about="Old", skills=["python"])
        changed = await ada.ask("PATCH", "/v1/me", {"headline": " Engines  now ", "skills": []})
        assert changed.status == 200
        assert (changed.json["headline"], changed.json["about"], changed.json["skills"]) == ("Engines now", "Old", [])
        me = await ada.ask("GET", "/v1/me")
        assert me.json == changed.json
        assert me.headers["X-Source"] == "cache"
        assert (await ada.ask("PATCH", "/v1/me", {})).json == me.json
        stale = await ada.ask("PATCH", "/v1/me", {"about": "Newer"}, headers={"If-Match": '"1"'})
        assert is_problem(stale, 412, "precondition_failed")
        fresh = await ada.ask("PATCH", "/v1/me", {"about": "Newer"}, headers={"If-Match": me.headers["ETag"]})
        assert (fresh.status, fresh.json["about"]) == (200, "Newer")
        assert is_problem(await ada.ask("PATCH", "/v1/me", {"email": "new@example.com"}), 400, "invalid_body")
        assert is_problem(await ada.ask("PATCH", "/v1/me", {"name": " "}), 400, "invalid_body")


async def test_a_card_shows_what_everybody_may_know() -> None:
    async with gateway() as house:
        ada, bob = await house.person("ada", skills=["python"]), await house.person("bob")
        card = await bob.ask("GET", f"/v1/users/{ada.id}")
        assert card.json == {
            "id": ada.id,
            "name": "ada",
            "headline": "",
            "about": "",
            "photo_url": "",
            "skills": ["python"],
            "created_at": NOON,
        }
        assert is_problem(await bob.ask("GET", f"/v1/users/{'0' * 32}"), 404, "user_unknown")
        assert is_problem(await bob.ask("GET", "/v1/users/nobody"), 404, "user_unknown")


async def test_presence_is_said_for_this_session_and_seen_by_the_connected() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        eve = await house.person("eve")
        here = await ada.ask("PUT", "/v1/me/presence", {"online": True})
        assert here.json == {"online": True, "until": NOON + 60_000}
        seen = await bob.ask("GET", f"/v1/presence?users={bob.id},{ada.id},{bob.id}")
        assert [(one["user"], one["online"]) for one in seen.json["items"]] == [(bob.id, False), (ada.id, True)]
        assert not (await eve.ask("GET", f"/v1/presence?users={ada.id}")).json["items"][0]["online"]
        await ada.ask("PUT", "/v1/me/privacy", {"presence": "everybody"})
        assert (await eve.ask("GET", f"/v1/presence?users={ada.id}")).json["items"][0]["online"]
        await ada.ask("PUT", "/v1/me/privacy", {"presence": "nobody"})
        assert not (await bob.ask("GET", f"/v1/presence?users={ada.id}")).json["items"][0]["online"]
        assert (await ada.ask("PUT", "/v1/me/presence", {"online": False})).json == {"online": False}
        last = house.world.sent[-1]
        assert isinstance(last, c.GoOffline)
        assert last.session == ada.session


async def test_argon2_hashes_are_salted_and_checked_off_the_loop(tmp_path: Any) -> None:
    passwords = ArgonPasswords(Settings(data_dir=tmp_path, argon2_memory_kib=64, argon2_time_cost=1))
    try:
        one, other = await passwords.hash("Pass\u0065\u0301word"), await passwords.hash("Pass\u0065\u0301word")
        assert one.startswith("$argon2id$")
        assert one != other
        assert await passwords.verify(one, "Pass\u00e9word")
        assert not await passwords.verify(one, "password")
        assert not await passwords.verify(None, "nobody's password")
        assert not await passwords.verify("no hash at all", "password")
    finally:
        passwords.close()
