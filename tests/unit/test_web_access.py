"""Who may do what: every operation by everybody, in one table."""

from typing import Any, NamedTuple

import pytest

from devconnect.domain.model import Ref, User
from tests.delivery_fakes import a_delivery
from tests.unit.web_house import House, Person, gateway
from web.operations import Operation
from web.routes import OPERATIONS

#: Nobody; whose the things in the path are; somebody else; who is connected with the owner; then roles; then who has
#: logged out.
WHO = ("anonymous", "owner", "other", "connected", "analyst", "operator", "revoked")


class Row(NamedTuple):
    """One operation as everybody asks for it in turn, and the status that each gets."""

    name: str
    path: str
    body: Any
    statuses: tuple[int, ...]


#: Everybody who is logged in.
OPEN = (401, 200, 200, 200, 200, 200, 401)
ANALYSTS = (401, 403, 403, 403, 200, 200, 401)
OPERATORS = (401, 403, 403, 403, 403, 200, 401)
#: What somebody does with the owner: with themselves they can't.
PASSWORD = "correct horse"  # that of every person of these tests
NEW = "battery staple battery"
#: A point of P-256, of RFC 8291's example.
POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"

TABLE = (
    Row("signUp", "/v1/users", {"email": "new.{n}@example.com", "password": NEW, "name": "New"}, (201,) * 7),
    Row("readUser", "/v1/users/{ada}", None, OPEN),
    Row("changeTier", "/v1/users/{ada}/tier", {"tier": "gold"}, OPERATORS),
    Row("changeRole", "/v1/users/{eve}/role", {"role": "analyst"}, OPERATORS),
    Row("readAudit", "/v1/users/{ada}/audit", None, OPERATORS),
    Row("readMe", "/v1/me", None, OPEN),
    Row("changeMe", "/v1/me", {"about": "Me."}, OPEN),
    Row("deleteMe", "/v1/me", {"password": PASSWORD}, OPEN),
    Row("changePrivacy", "/v1/me/privacy", {"email": "connections"}, OPEN),
    Row("changePassword", "/v1/me/password", {"current_password": PASSWORD, "new_password": NEW}, OPEN),
    Row("changeEmail", "/v1/me/email", {"email": "new.{n}@example.com", "password": PASSWORD}, OPEN),
    Row("sendVerification", "/v1/me/email/verification", None, OPEN),
    Row("confirmEmail", "/v1/email-verifications", {"token": "none of ours"}, (410,) * 7),
    Row("setPresence", "/v1/me/presence", {"online": True}, OPEN),
    Row("logIn", "/v1/sessions", {"email": "{email}", "password": PASSWORD}, (401, 201, 201, 201, 201, 201, 201)),
    Row("renewSession", "/v1/sessions/renew", {"renewal_token": "{renewal}"}, (401, 200, 200, 200, 200, 200, 404)),
    Row("readSessions", "/v1/sessions", None, OPEN),
    Row("logOutEverywhere", "/v1/sessions", None, OPEN),
    Row("logOut", "/v1/sessions/current", None, OPEN),
    Row("endSession", "/v1/sessions/{session}", None, (401, 200, 404, 404, 404, 404, 401)),
    Row("requestReset", "/v1/password-resets", {"email": "ada@example.com"}, (202,) * 7),
    Row("confirmReset", "/v1/password-resets/confirm", {"token": "none of ours", "new_password": NEW}, (410,) * 7),
    Row("readFeed", "/v1/feed", None, OPEN),
    Row(
        "requestConnection",
        "/v1/connections",
        {"user": "{ada}", "interest": "interested"},
        (401, 422, 201, 409, 201, 201, 401),
    ),
    Row("readConnections", "/v1/connections", None, OPEN),
    Row("readRequests", "/v1/connections/requests", None, OPEN),
    Row("readSentRequests", "/v1/connections/requests/sent", None, OPEN),
    Row("readIgnored", "/v1/connections/ignored", None, OPEN),
    Row("withdrawRequest", "/v1/connections/requests/{ada}", None, (401, 404, 404, 404, 404, 404, 401)),
    Row(
        "reviewConnection",
        "/v1/connections/{ada}/review",
        {"verdict": "accepted"},
        (401, 404, 404, 404, 404, 404, 401),
    ),
    Row("removeConnection", "/v1/connections/{ada}", None, (401, 403, 403, 200, 403, 403, 401)),
    Row("readBlocks", "/v1/blocks", None, OPEN),
    Row("blockUser", "/v1/blocks/{ada}", None, (401, 422, 200, 200, 200, 200, 401)),
    Row("unblockUser", "/v1/blocks/{ada}", None, (401, 404, 404, 404, 404, 404, 401)),
    Row("reportUser", "/v1/reports", {"user": "{ada}", "reason": "spam"}, (401, 422, 201, 201, 201, 201, 401)),
    Row("readReports", "/v1/reports", None, OPERATORS),
    Row("closeReport", "/v1/reports/{report}/close", {"outcome": "warned"}, OPERATORS),
    Row("readConversations", "/v1/conversations", None, OPEN),
    Row("sendMessage", "/v1/conversations/{ada}/messages", {"text": "Hello"}, (401, 403, 403, 201, 403, 403, 401)),
    Row("readHistory", "/v1/conversations/{ada}/messages", None, OPEN),
    Row(
        "editMessage",
        "/v1/conversations/{bob}/messages/{message}",
        {"text": "Hello!"},
        (401, 200, 404, 404, 404, 404, 401),
    ),
    Row("deleteMessage", "/v1/conversations/{bob}/messages/{message}", None, (401, 200, 404, 404, 404, 404, 401)),
    Row(
        "markDelivered",
        "/v1/conversations/{ada}/delivered",
        {"up_to": "{message}"},
        (401, 404, 404, 200, 404, 404, 401),
    ),
    Row("markRead", "/v1/conversations/{ada}/read", {"up_to": "{message}"}, (401, 404, 404, 200, 404, 404, 401)),
    Row("searchMessages", "/v1/messages/search?q=hello", None, OPEN),
    Row("readPresence", "/v1/presence?users={ada}", None, OPEN),
    Row("readNotifications", "/v1/me/notifications", None, OPEN),
    Row("markNotificationsRead", "/v1/me/notifications/read", {"notifications": ["x"]}, OPEN),
    Row("readPushKey", "/v1/push-key", None, (200, 200, 200, 200, 200, 200, 401)),
    Row("readPushSubscriptions", "/v1/me/push-subscriptions", None, OPEN),
    Row(
        "subscribePush",
        "/v1/me/push-subscriptions",
        {"endpoint": "https://push.example.com/1", "keys": {"p256dh": POINT, "auth": "A" * 22}},
        (401, 201, 201, 201, 201, 201, 401),
    ),
    Row("unsubscribePush", "/v1/me/push-subscriptions/{session}", None, (401, 404, 404, 404, 404, 404, 401)),
    Row("readWebhooks", "/v1/me/webhooks", None, OPEN),
    Row("addWebhook", "/v1/me/webhooks", {"url": "https://example.com/1"}, (401, 201, 201, 201, 201, 201, 401)),
    Row("removeWebhook", "/v1/me/webhooks/{session}", None, (401, 404, 404, 404, 404, 404, 401)),
    Row("markNotificationsSeen", "/v1/me/notifications/seen", {"up_to": "1700000000000-x"}, OPEN),
    Row(
        "readNotificationDeliveries",
        "/v1/me/notifications/{note}/deliveries",
        None,
        (401, 200, 404, 404, 404, 404, 401),
    ),
    Row("changeNotificationPreferences", "/v1/me/notification-preferences", {"time_zone": "Europe/Berlin"}, OPEN),
    Row("readTable", "/v1/analytics/tables/events_by_type", None, ANALYSTS),
    Row("readCommand", "/v1/commands/{command}", None, (404, 200, 404, 404, 404, 404, 401)),
)

BY_NAME: dict[str, Operation] = {operation.name: operation for operation in OPERATIONS}


class Cast(NamedTuple):
    """Everybody, and what the paths name."""

    people: dict[str, Person]
    names: dict[str, Any]


async def assemble(house: House) -> Cast:
    ada, bob = await house.friends()
    eve, ann, oz, rae = [await house.person(name) for name in ("eve", "ann", "oz", "rae")]
    house.give_role(ann.id, "analyst")
    house.give_role(oz.id, "operator")
    changed = await ada.ask("PATCH", "/v1/me", {"headline": "Engines"})
    said = await ada.ask("POST", f"/v1/conversations/{bob.id}/messages", {"text": "hello"})
    report = await eve.ask("POST", "/v1/reports", {"user": bob.id, "reason": "spam"})
    people = {
        "owner": ada,
        "other": eve,
        "connected": bob,
        "analyst": await ann.logged_in_anew(),
        "operator": await oz.logged_in_anew(),
        "revoked": rae,
    }
    assert (await rae.ask("DELETE", "/v1/sessions/current")).status == 200
    note = house.world.notes[0].notification
    house.world.told[ada.id, note] = [a_delivery(ada.id, note)]
    names = {
        "ada": ada.id,
        "bob": bob.id,
        "eve": eve.id,
        "session": ada.session,
        "message": said.json["seq"],
        "report": report.json["report"],
        "note": note,
        "command": changed.headers["Command-Id"],
    }
    return Cast(people, names)


def filled(value: Any, names: dict[str, Any]) -> Any:
    """A path or body with the names in braces put in."""
    if isinstance(value, dict):
        return {name: filled(one, names) for name, one in value.items()}
    if not isinstance(value, str):
        return value
    if value.startswith("{") and value.endswith("}"):
        return names[value[1:-1]]
    for name, text in names.items():
        value = value.replace(f"{{{name}}}", str(text))
    return value


def test_the_table_has_every_operation_once() -> None:
    assert [row.name for row in TABLE] == list(dict.fromkeys(row.name for row in TABLE))
    assert {row.name for row in TABLE} == BY_NAME.keys()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_each_gets_what_the_table_says(row: Row) -> None:
    async with gateway() as house:
        cast = await assemble(house)
        found = []
        for number, who in enumerate(WHO):
            person = cast.people.get(who)
            names = {
                **cast.names,
                "n": number,
                "email": person.email if person else "nobody@example.com",
                "renewal": person.renewal if person else "none",
            }
            token = person.token if person else None
            before = len(house.world.sent)
            method, path = BY_NAME[row.name].method, filled(row.path, names)
            answer = await house.ask(method, path, filled(row.body, names), token=token)
            found.append(answer.status)
            if answer.status in (401, 403) and answer.json["code"] in ("not_logged_in", "not_allowed"):
                assert len(house.world.sent) == before or "Command-Id" in answer.headers
        assert dict(zip(WHO, found, strict=True)) == dict(zip(WHO, row.statuses, strict=True))


@pytest.mark.parametrize("row", [row for row in TABLE if BY_NAME[row.name].is_private], ids=lambda row: row.name)
async def test_a_session_that_kafka_says_is_over_opens_nothing_though_both_stores_say_otherwise(row: Row) -> None:
    async with gateway() as house:
        cast = await assemble(house)
        person = cast.people["operator"]
        house.world.ends.add(person.session)
        names = {**cast.names, "n": 0}
        answer = await house.ask(
            BY_NAME[row.name].method, filled(row.path, names), filled(row.body, names), token=person.token
        )
        assert (answer.status, answer.json["code"]) == (401, "not_logged_in")


async def test_a_role_that_has_risen_holds_in_a_new_session_only_and_one_that_fell_at_once() -> None:
    async with gateway() as house:
        ada = await house.person("ada")
        path = "/v1/analytics/tables/events_by_type"
        house.give_role(ada.id, "analyst")
        assert (await ada.ask("GET", path)).status == 403
        assert (await ada.ask("GET", "/v1/me")).json["role"] == "member"
        again = await ada.logged_in_anew()
        assert (await again.ask("GET", path)).status == 200
        house.give_role(ada.id, "member")
        assert (await again.ask("GET", path)).status == 403


async def test_to_whom_somebody_has_blocked_they_do_not_exist() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        await ada.ask("PUT", "/v1/me/privacy", {"presence": "everybody", "email": "connections"})
        assert (await bob.ask("GET", f"/v1/users/{ada.id}")).json["email"] == ada.email
        assert (await ada.ask("PUT", f"/v1/blocks/{bob.id}")).status == 200
        gone = await bob.ask("GET", f"/v1/users/{ada.id}")
        unknown = await bob.ask("GET", f"/v1/users/{'0' * 32}")
        assert (gone.status, gone.json) == (404, unknown.json)
        asked = await bob.ask("POST", "/v1/connections", {"user": ada.id, "interest": "interested"})
        nobody = await bob.ask("POST", "/v1/connections", {"user": "0" * 32, "interest": "interested"})
        assert (asked.status, asked.json) == (404, nobody.json)
        assert (await bob.ask("POST", f"/v1/conversations/{ada.id}/messages", {"text": "Hello?"})).status == 403
        house.world.devices[ada.id] = {"phone": 2**50}
        assert not (await bob.ask("GET", f"/v1/presence?users={ada.id}")).json["items"][0]["online"]
        assert [one["user"] for one in (await ada.ask("GET", "/v1/blocks")).json["items"]] == [bob.id]
        # Nor is it shown to whoever blocks in return.
        assert (await bob.ask("PUT", f"/v1/blocks/{ada.id}")).status == 200
        assert not (await bob.ask("GET", f"/v1/presence?users={ada.id}")).json["items"][0]["online"]
        assert ada.id not in [one["id"] for one in (await bob.ask("GET", "/v1/feed")).json["items"]]


async def test_what_a_person_does_not_show_is_not_shown() -> None:
    async with gateway() as house:
        ada, bob = await house.friends()
        eve = await house.person("eve")
        await ada.ask("PATCH", "/v1/me", {"about": "Private.", "photo_url": "https://example.com/ada.png"})
        await ada.ask("PUT", "/v1/me/privacy", {"email": "connections", "about": "connections", "photo_url": "nobody"})
        to_eve = (await eve.ask("GET", f"/v1/users/{ada.id}")).json
        assert ("email" not in to_eve, to_eve["about"], to_eve["photo_url"]) == (True, "", "")
        to_bob = (await bob.ask("GET", f"/v1/users/{ada.id}")).json
        assert (to_bob["email"], to_bob["about"], to_bob["photo_url"]) == (ada.email, "Private.", "")
        listed = (await bob.ask("GET", "/v1/connections")).json["items"][0]["user"]
        assert listed == to_bob
        found = house.world.documents[Ref("user", ada.id)]
        assert isinstance(found, User)
        assert found.profile.about == "Private."
