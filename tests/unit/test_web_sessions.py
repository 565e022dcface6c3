"""Sessions over their whole life: renewed, listed, ended, moved by a new password; cookies; links in mails."""

from typing import Any

from aiohttp import CookieJar
from aiohttp.test_utils import TestClient

from devconnect.domain.model import Ref, User
from devconnect.events import commands as c
from devconnect.links import Links
from tests.unit.web_fakes import KEY, NOON
from tests.unit.web_house import Answer, House, Person, gateway, is_problem

PASSWORD, NEW = "correct horse", "battery staple battery"
HERE = "http://127.0.0.1"


def link(house: House, purpose: Any, person: Person, ticket: str, *, email: str = "", hours: int = 1) -> str:
    expires_at = house.clock.now + hours * 3_600_000
    return Links(KEY).sign(purpose, user=person.id, ticket=ticket, expires_at=expires_at, email=email)


def command_of(house: House, kind: type[Any]) -> Any:
    return next(command for command in reversed(house.world.sent) if isinstance(command, kind))


async def renew(house: House, token: str) -> Answer:
    return await house.ask("POST", "/v1/sessions/renew", {"renewal_token": token})


async def test_a_renewal_moves_the_sessions_end_and_its_token_is_good_once() -> None:
    async with gateway(session_idle=3600, session_lifetime=7200) as house:
        ada = await house.person("ada")
        house.clock.now += 3_000_000
        first = await renew(house, ada.renewal)
        assert first.status == 200
        assert (first.json["session"], first.json["generation"]) == (ada.session, 1)
        assert (first.json["expires_at"], first.json["ends_at"]) == (NOON + 6_600_000, NOON + 7_200_000)
        assert (await house.ask("GET", "/v1/me", token=first.json["token"])).status == 200
        house.clock.now += 3_000_000
        second = await renew(house, first.json["renewal_token"])
        assert second.json["expires_at"] == NOON + 7_200_000
        # The one before comes again: one of the two who have it isn't its owner.
        house.clock.now += 61_000
        assert is_problem(await renew(house, first.json["renewal_token"]), 401, "token_reused")
        assert is_problem(await house.ask("GET", "/v1/me", token=second.json["token"]), 401, "not_logged_in")
        assert is_problem(await renew(house, second.json["renewal_token"]), 404, "session_unknown")


async def test_a_renewal_whose_answer_was_lost_is_answered_again() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        first = await renew(house, ada.renewal)
        house.clock.now += 30_000
        again = await renew(house, ada.renewal)
        assert (again.status, again.json["generation"]) == (200, first.json["generation"])
        assert (await house.ask("GET", "/v1/me", token=again.json["token"])).status == 200


async def test_what_is_no_renewal_token_renews_nothing() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        for token in ("", "garbage", ada.token, ada.renewal[:-2]):
            assert is_problem(await renew(house, token), 401 if token else 403, "not_logged_in" if token else OTHER)
        house.clock.now += 15 * 86_400_000
        assert is_problem(await renew(house, ada.renewal), 401, "not_logged_in")


OTHER = "origin_not_allowed"


async def test_rights_that_rise_give_the_session_another_id() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        house.give_role(ada.id, "analyst")
        answer = await renew(house, ada.renewal)
        assert answer.json["session"] != ada.session
        assert answer.json["generation"] == 0
        assert is_problem(await ada.ask("GET", "/v1/me"), 401, "not_logged_in")
        me = await house.ask("GET", "/v1/me", token=answer.json["token"])
        assert me.json["role"] == "analyst"


async def test_own_sessions_are_listed_and_ended_one_by_one_or_all() -> None:
    async with gateway() as house:
        ada, bob = await house.person("ada"), await house.person("bob")
        house.clock.now += 1000
        body = {"email": ada.email, "password": PASSWORD, "device": "  phone  of Ada "}
        phone = (await house.ask("POST", "/v1/sessions", body)).json
        listed = (await ada.ask("GET", "/v1/sessions")).json["items"]
        assert {(one["id"], one["device"], one["current"]) for one in listed} == {
            (ada.session, "", True),
            (phone["session"], "phone of Ada", False),
        }
        assert {one["place"] for one in listed} == {"127.0.0.1"}
        assert is_problem(await bob.ask("DELETE", f"/v1/sessions/{phone['session']}"), 404, "session_unknown")
        assert (await ada.ask("DELETE", f"/v1/sessions/{phone['session']}")).status == 200
        assert is_problem(await house.ask("GET", "/v1/me", token=phone["token"]), 401, "not_logged_in")
        others = [(await house.ask("POST", "/v1/sessions", body)).json["token"] for _ in range(2)]
        assert (await ada.ask("DELETE", "/v1/sessions?keep_current=true")).json == {"ended": 2}
        assert (await ada.ask("GET", "/v1/me")).status == 200
        for token in others:
            assert is_problem(await house.ask("GET", "/v1/me", token=token), 401, "not_logged_in")
        assert (await ada.ask("DELETE", "/v1/sessions")).json == {"ended": 1}
        assert is_problem(await ada.ask("GET", "/v1/me"), 401, "not_logged_in")
        assert (await bob.ask("GET", "/v1/me")).status == 200


async def test_a_new_password_ends_every_session_and_moves_this_one() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        body = {"email": ada.email, "password": PASSWORD}
        other = (await house.ask("POST", "/v1/sessions", body)).json["token"]
        change = {"current_password": "wrong", "new_password": NEW}
        wrong = await ada.ask("PUT", "/v1/me/password", change)
        assert is_problem(wrong, 403, "wrong_password")
        assert wrong.json["errors"][0]["field"] == "current_password"
        weak = await ada.ask("PUT", "/v1/me/password", {"current_password": PASSWORD, "new_password": "short"})
        assert is_problem(weak, 422, "password_refused")
        changed = await ada.ask("PUT", "/v1/me/password", {**change, "current_password": PASSWORD})
        assert changed.status == 200
        assert changed.json["session"] != ada.session
        for token in (ada.token, other):
            assert is_problem(await house.ask("GET", "/v1/me", token=token), 401, "not_logged_in")
        assert (await house.ask("GET", "/v1/me", token=changed.json["token"])).status == 200
        assert is_problem(await house.ask("POST", "/v1/sessions", body), 401, "wrong_credentials")
        assert (await house.ask("POST", "/v1/sessions", {**body, "password": NEW})).status == 201


async def test_a_reset_is_answered_alike_for_everybody_and_its_link_is_good_once() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        known = await house.ask("POST", "/v1/password-resets", {"email": ada.email})
        unknown = await house.ask("POST", "/v1/password-resets", {"email": "nobody@example.com"})
        assert (known.status, unknown.status) == (202, 202)
        assert known.json.keys() == unknown.json.keys() == {"command"}
        assert known.headers.keys() == unknown.headers.keys()
        request = command_of(house, c.RequestPasswordReset)
        assert (request.user, request.key) == ("", "nobody@example.com")
        ticket = known.headers["Command-Id"]
        body = {"token": link(house, "reset-password", ada, ticket), "new_password": NEW}
        done = await house.ask("POST", "/v1/password-resets/confirm", body)
        assert (done.status, done.json) == (200, {"user": ada.id})
        assert is_problem(await ada.ask("GET", "/v1/me"), 401, "not_logged_in")
        assert is_problem(await house.ask("POST", "/v1/password-resets/confirm", body), 410, "link_invalid")
        assert (await house.ask("POST", "/v1/sessions", {"email": ada.email, "password": NEW})).status == 201


async def test_links_of_others_of_another_purpose_or_over_are_worth_nothing() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        ticket = command_of(house, c.SignUp).id
        path = "/v1/email-verifications"
        good = link(house, "verify-email", ada, ticket, email=ada.email)
        for token in ("", "x" * 50, good[:-1], link(house, "reset-password", ada, ticket, email=ada.email)):
            assert is_problem(await house.ask("POST", path, {"token": token}), 410, "link_invalid")
        forged = Links("o" * 48).sign("verify-email", user=ada.id, ticket=ticket, expires_at=2**50, email=ada.email)
        assert is_problem(await house.ask("POST", path, {"token": forged}), 410, "link_invalid")
        house.clock.now += 2 * 3_600_000
        assert is_problem(await house.ask("POST", path, {"token": good}), 410, "link_invalid")
        again = link(house, "verify-email", ada, ticket, email=ada.email)
        assert (await house.ask("POST", path, {"token": again})).json == {"email": ada.email, "email_verified": True}
        assert (await (await ada.logged_in_anew()).ask("GET", "/v1/me")).json["email_verified"]
        assert is_problem(await house.ask("POST", path, {"token": again}), 410, "link_invalid")


async def test_an_address_is_moved_to_once_its_link_is_followed() -> None:
    async with gateway() as house:
        ada, bob = await house.person("ada"), await house.person("bob")
        body = {"email": "new@example.com", "password": PASSWORD}
        assert is_problem(await ada.ask("PUT", "/v1/me/email", {**body, "password": "wrong"}), 403, "wrong_password")
        assert is_problem(await ada.ask("PUT", "/v1/me/email", {**body, "email": ada.email}), 400, "invalid_body")
        asked = await ada.ask("PUT", "/v1/me/email", body)
        assert (asked.status, asked.json) == (200, {"email": "new@example.com"})
        assert (await ada.ask("GET", "/v1/me")).json["email"] == ada.email
        token = link(house, "verify-email", ada, asked.headers["Command-Id"], email="new@example.com")
        assert (await house.ask("POST", "/v1/email-verifications", {"token": token})).status == 200
        assert (await ada.ask("GET", "/v1/me")).json["email"] == "new@example.com"
        assert (
            await house.ask("POST", "/v1/sessions", {"email": "new@example.com", "password": PASSWORD})
        ).status == 201
        old = {"email": ada.email, "password": PASSWORD}
        assert is_problem(await house.ask("POST", "/v1/sessions", old), 401, "wrong_credentials")
        # What somebody has taken meanwhile is theirs.
        asked = await bob.ask("PUT", "/v1/me/email", {"email": "new@example.com", "password": PASSWORD})
        token = link(house, "verify-email", bob, asked.headers["Command-Id"], email="new@example.com")
        assert is_problem(await house.ask("POST", "/v1/email-verifications", {"token": token}), 409, "email_taken")


async def test_an_account_is_closed_with_its_password_and_its_address_is_free() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        assert is_problem(await ada.ask("DELETE", "/v1/me", {"password": "wrong"}), 403, "wrong_password")
        gone = await ada.ask("DELETE", "/v1/me", {"password": PASSWORD})
        assert (gone.status, gone.json) == (200, {"user": ada.id, "deleted": True})
        assert is_problem(await ada.ask("GET", "/v1/me"), 401, "not_logged_in")
        assert is_problem(await bob.ask("GET", f"/v1/users/{ada.id}"), 404, "user_unknown")
        assert ada.id not in str((await bob.ask("GET", "/v1/connections")).json)
        body = {"email": ada.email, "password": PASSWORD}
        assert is_problem(await house.ask("POST", "/v1/sessions", body), 401, "wrong_credentials")
        again = await house.ask("POST", "/v1/users", {**body, "name": "Another Ada"})
        assert again.status == 201
        assert again.json["id"] != ada.id
        found = house.world.documents[Ref("user", ada.id)]
        assert isinstance(found, User)
        assert (found.email, found.deleted) == ("", True)


async def test_wrong_passwords_are_few_and_lock_nobody_out_who_has_been_here() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        body = {"email": ada.email, "password": PASSWORD}
        known = (await house.ask("POST", "/v1/sessions", body)).json["device_token"]
        for _ in range(10):
            wrong = await house.ask("POST", "/v1/sessions", {**body, "password": "wrong"})
            assert is_problem(wrong, 401, "wrong_credentials")
        refused = await house.ask("POST", "/v1/sessions", body)
        assert is_problem(refused, 429, "too_many_attempts")
        assert int(refused.headers["Retry-After"]) > 0
        nobody = {"email": "nobody@example.com", "password": "wrong"}
        found = [(await house.ask("POST", "/v1/sessions", nobody)).status for _ in range(11)]
        assert found == [401] * 10 + [429]
        for more, headers in (({"device_token": known}, {}), ({}, {"Device-Token": known})):
            assert (await house.ask("POST", "/v1/sessions", {**body, **more}, headers=headers)).status == 201


def browser(house: House) -> TestClient[Any, Any]:
    """Keeps cookies, also those that are for TLS only."""
    return TestClient(house.client.server, cookie_jar=CookieJar(unsafe=True))


async def test_a_browser_has_its_tokens_in_cookies_that_scripts_and_other_sites_cannot_use() -> None:
    async with gateway(cookie_secure=False) as house:
        ada = await house.person("ada")
        pages = browser(house)
        own = {"Origin": str(house.client.make_url("")).rstrip("/")}
        body = {"email": ada.email, "password": PASSWORD, "cookie": True}
        async with pages.post("/v1/sessions", json=body) as opened:
            assert opened.status == 201
            assert not {"token", "renewal_token"} & (await opened.json()).keys()
            for name, path, site in (("dc_token", "/", "Lax"), ("dc_renewal", "/v1/sessions", "Strict")):
                cookie = opened.cookies[name]
                assert (cookie["httponly"], cookie["path"], cookie["samesite"]) == (True, path, site)
        async with pages.get("/v1/me") as read:
            assert read.status == 200
        for headers, status in (({}, 403), ({"Origin": "https://evil.example"}, 403), (own, 200)):
            async with pages.patch("/v1/me", json={"about": "By a page."}, headers=headers) as changed:
                assert changed.status == status, headers
        async with pages.post("/v1/sessions/renew", json={}, headers={"Origin": "https://evil.example"}) as renewed:
            assert renewed.status == 403
        async with pages.post("/v1/sessions/renew", json={}, headers=own) as renewed:
            assert renewed.status == 200
            assert renewed.cookies["dc_token"].value
        async with pages.delete("/v1/sessions/current", headers=own) as gone:
            assert gone.status == 200
            assert gone.cookies["dc_token"]["max-age"] == "0"
        async with pages.get("/v1/me") as read:
            assert read.status == 401


async def test_cookies_are_for_tls_only_unless_the_settings_say_otherwise() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        body = {"email": ada.email, "password": PASSWORD, "cookie": True}
        async with house.client.post("/v1/sessions", json=body) as opened:
            assert opened.cookies.keys() == {"__Host-dc_token", "__Secure-dc_renewal"}
            assert all(cookie["secure"] for cookie in opened.cookies.values())


async def test_keys_are_changed_without_logging_anyone_out_and_a_retired_one_is_worth_nothing() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        [old] = house.keys.keys
        new = type(old)("k2", "n" * 48)
        house.keys.set(new, old)
        assert (await ada.ask("GET", "/v1/me")).status == 200
        again = await renew(house, ada.renewal)
        assert again.status == 200
        house.keys.set(new)
        assert is_problem(await ada.ask("GET", "/v1/me"), 401, "not_logged_in")
        assert (await house.ask("GET", "/v1/me", token=again.json["token"])).status == 200
