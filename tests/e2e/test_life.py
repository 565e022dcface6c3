"""A whole life of two people, through every kind of command that there is, and what each of them can read meanwhile."""

from typing import Any, get_args

import pytest
from pymongo import MongoClient

from devconnect import stack
from devconnect.domain.accounts import DELETED
from devconnect.events import facts as f
from tests.e2e.mails import links, mails, new_link
from tests.e2e.people import PASSWORD, Client, Person, Reply, join, set_role
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until
from web.bodies import PUSH_KEYS

pytestmark = pytest.mark.timeout(300)

OTHER = "a horse of another colour"
THIRD = "neither of those two horses"


def test_a_life(system: System) -> None:
    client = Client(system.url)
    ada = Person.join(client, "Ada", skills=["Python", "kafka"], headline="Engines", about="Of the difference kind")
    bob = Person.join(client, "Bob", skills=["python"])
    [olga] = join(system, "Olga")
    set_role(system, olga, "operator")
    proves_her_address(system, ada)
    moves(system, ada)
    has_sessions(ada)
    changes_her_password(ada)
    forgets_her_password(system, ada)
    shows_herself(ada, bob)
    meet(ada, bob)
    talk(ada, bob)
    come_and_go(ada, bob)
    says_how_she_is_told(ada)
    are_given_tiers(ada, bob, olga)
    quarrel(ada, bob, olga)
    leaves_and_comes_back(system, ada, bob)
    kinds = {str(kind.__struct_config__.tag) for kind in get_args(f.AnyUserEvent | f.AnyConnectionEvent)}
    kinds |= {str(kind.__struct_config__.tag) for kind in get_args(f.AnyMessageEvent)}
    # It takes three days without a success.
    kinds -= {"user.webhook_disabled"}
    olga.sees("/v1/analytics/tables/events_by_type?limit=200", lambda body: types(body) >= kinds, "every kind of event")


def types(body: Any) -> set[str]:
    return {row["type"] for row in body["items"]}


def ids(body: Any) -> list[str]:
    """The people in a list of cards, or of things with a card."""
    return [item["user"]["id"] if "user" in item else item["id"] for item in body["items"]]


def log_in(person: Person, password: str = PASSWORD) -> Reply:
    body = {"email": person.email, "password": password}
    return person.client.decided("POST", "/v1/sessions", body)


def is_over(client: Client, token: str) -> bool:
    """Whether a token is worth nothing any more."""
    return client.send("GET", "/v1/me", token=token).status == 401


def says_how_she_is_told(ada: Person) -> None:
    wanted = {"time_zone": "Europe/Berlin", "quiet_hours": {"start": "22:00", "end": "07:00"}}
    ada.do("PUT", "/v1/me/notification-preferences", wanted)
    ada.sees("/v1/me", lambda account: account["notification_preferences"]["time_zone"] == "Europe/Berlin")
    browser = {"endpoint": "https://push.example.org/ada", "keys": PUSH_KEYS}
    subscribed = ada.do("POST", "/v1/me/push-subscriptions", browser)
    ada.do("DELETE", f"/v1/me/push-subscriptions/{subscribed['id']}")
    hook = ada.do("POST", "/v1/me/webhooks", {"url": "https://hooks.example.org/ada"})
    ada.do("DELETE", f"/v1/me/webhooks/{hook['id']}")
    newest = ada.read("/v1/me/notifications")["items"][0]["id"]
    assert ada.do("POST", "/v1/me/notifications/seen", {"up_to": newest}) == {"seen_up_to": newest}
    ada.sees("/v1/me/notifications", lambda body: body["unseen"] == 0)


# -- the account


def proves_her_address(system: System, ada: Person) -> None:
    assert ada.read("/v1/me")["email_verified"] is False
    first = new_link(system, ada.email, "verify-email")
    assert ada.do("POST", "/v1/me/email/verification") == {"email": ada.email, "email_verified": False}
    second = new_link(system, ada.email, "verify-email", {first})
    follow = "POST", "/v1/email-verifications"
    assert ada.client.decided(*follow, {"token": first}).problem == (410, "link_invalid"), "there is a newer one"
    assert ada.client.result(*follow, {"token": second}) == {"email": ada.email, "email_verified": True}
    assert ada.client.decided(*follow, {"token": second}).problem == (410, "link_invalid"), "it is good once"
    ada.sees("/v1/me", lambda account: account["email_verified"])


def moves(system: System, ada: Person) -> None:
    before, after = ada.email, f"moved.{ada.email}"
    path = "/v1/me/email"
    assert ada.refused("PUT", path, {"email": after, "password": OTHER}) == (403, "wrong_password")
    assert ada.do("PUT", path, {"email": after, "password": PASSWORD})["email"] == after
    assert log_in(ada).status == 200, "nothing changes before the link is followed"
    ada.client.result("POST", "/v1/email-verifications", {"token": new_link(system, after, "verify-email")})
    assert log_in(ada).problem == (401, "wrong_credentials")
    ada.email = after
    assert log_in(ada).status == 200
    ada.sees("/v1/me", lambda account: (account["email"], account["email_verified"]) == (after, True))
    wait_until(lambda: any("another address" in text for text in mails(system, before)), PATIENCE, "the news")


def has_sessions(ada: Person) -> None:
    client, opened = ada.client, Person.log_in(ada.client, ada.email)
    renew = "POST", "/v1/sessions/renew"
    first, second = opened["renewal_token"], client.result(*renew, {"renewal_token": opened["renewal_token"]})
    third = client.result(*renew, {"renewal_token": second["renewal_token"]})
    assert (third["session"], third["generation"], third["user"]) == (opened["session"], 2, ada.user)
    assert client.send("GET", "/v1/me", token=third["token"]).status == 200
    assert client.decided(*renew, {"renewal_token": first}).problem == (401, "token_reused")
    for tokens in (opened, second, third):
        wait_until(lambda tokens=tokens: is_over(client, tokens["token"]), PATIENCE, "the end of a stolen session")
    assert client.decided(*renew, {"renewal_token": third["renewal_token"]}).problem == (404, "session_unknown")

    listed = ada.read("/v1/sessions")["items"]
    assert [each["current"] for each in listed].count(True) == 1
    assert opened["session"] not in {each["id"] for each in listed}
    one = Person.log_in(client, ada.email)
    assert ada.do("DELETE", f"/v1/sessions/{one['session']}") == {"session": one["session"]}
    wait_until(lambda: is_over(client, one["token"]), PATIENCE, "the end of one session")
    other = Person.log_in(client, ada.email)
    assert ada.do("DELETE", "/v1/sessions?keep_current=true")["ended"] > 0
    wait_until(lambda: is_over(client, other["token"]), PATIENCE, "the end of all others")
    assert [each["current"] for each in ada.read("/v1/sessions")["items"]] == [True]
    assert ada.refused("DELETE", f"/v1/sessions/{one['session']}") == (404, "session_unknown")


def changes_her_password(ada: Person) -> None:
    client, elsewhere, before = ada.client, ada.again(), ada.token
    body = {"current_password": PASSWORD, "new_password": OTHER}
    assert ada.refused("PUT", "/v1/me/password", {**body, "current_password": THIRD}) == (403, "wrong_password")
    common = {**body, "new_password": "passwordpassword"}
    assert ada.refused("PUT", "/v1/me/password", common) == (422, "password_refused")
    ada.token = ada.do("PUT", "/v1/me/password", body)["token"]
    for token in (before, elsewhere.token):
        wait_until(lambda token=token: is_over(client, token), PATIENCE, "the end of every session")
    ada.sees("/v1/me", lambda account: account["id"] == ada.user)
    assert log_in(ada).problem == (401, "wrong_credentials")
    assert log_in(ada, OTHER).status == 200


def forgets_her_password(system: System, ada: Person) -> None:
    client, before = ada.client, ada.token
    known, unknown = (
        client.send("POST", "/v1/password-resets", {"email": each}) for each in (ada.email, "no@body.org")
    )
    assert known.status == unknown.status == 202
    assert known.body.keys() == unknown.body.keys()
    token = new_link(system, ada.email, "reset-password")
    assert not links(system, "no@body.org", "reset-password")
    confirm = "POST", "/v1/password-resets/confirm"
    assert client.result(*confirm, {"token": token, "new_password": THIRD}) == {"user": ada.user}
    again = client.decided(*confirm, {"token": token, "new_password": OTHER})
    assert again.problem == (410, "link_invalid"), "it is good once"
    wait_until(lambda: is_over(client, before), PATIENCE, "the end of every session")
    assert log_in(ada, OTHER).problem == (401, "wrong_credentials")
    ada.token = Person.log_in(client, ada.email, THIRD)["token"]

    def told() -> int:
        return sum("password" in text for text in mails(system, ada.email))

    wait_until(lambda: told() == 3, PATIENCE, "the link, and the news of both changes")


# -- the two of them


def shows_herself(ada: Person, bob: Person) -> None:
    me = ada.send("GET", "/v1/me")
    version = {"If-Match": me.headers["etag"]}
    assert ada.send("PATCH", "/v1/me", {"headline": "Notes"}, more=version).status in (200, 202)
    ada.sees("/v1/me", lambda account: account["headline"] == "Notes")
    assert ada.send("PATCH", "/v1/me", {"headline": "Late"}, more=version).problem == (412, "precondition_failed")
    feed = bob.sees("/v1/feed?limit=200", lambda body: ada.user in ids(body))
    [card] = [item for item in feed["items"] if item["id"] == ada.user]
    assert (card["shared_skills"], card["about"], "email" in card) == (["python"], "Of the difference kind", False)
    privacy = {"email": "connections", "about": "connections", "photo_url": "nobody", "discoverable": False}
    assert ada.do("PUT", "/v1/me/privacy", privacy)["privacy"] == {**privacy, "presence": "connections"}
    bob.sees("/v1/feed?limit=200", lambda body: ada.user not in ids(body))
    bob.sees(f"/v1/users/{ada.user}", lambda card: (card["about"], "email" in card) == ("", False))


def meet(ada: Person, bob: Person) -> None:
    ask = {"user": bob.user, "interest": "interested"}
    assert ada.do("POST", "/v1/connections", {**ask, "interest": "ignored"})["state"] == "ignored"
    ada.sees("/v1/connections/ignored", lambda body: ids(body) == [bob.user])
    assert ada.do("POST", "/v1/connections", ask)["state"] == "requested"
    ada.sees("/v1/connections/requests/sent", lambda body: ids(body) == [bob.user])
    assert ada.do("DELETE", f"/v1/connections/requests/{bob.user}")["state"] == "removed"
    ada.sees("/v1/connections/requests/sent", lambda body: ids(body) == [])
    assert bob.refused("POST", f"/v1/connections/{ada.user}/review", {"verdict": "accepted"}) == (
        404,
        "request_unknown",
    )
    ada.do("POST", "/v1/connections", ask)
    bob.sees("/v1/connections/requests", lambda body: ids(body) == [ada.user])
    assert bob.do("POST", f"/v1/connections/{ada.user}/review", {"verdict": "rejected"})["state"] == "rejected"
    assert ada.refused("POST", "/v1/connections", ask) == (409, "request_rejected")
    bob.connect(ada)
    card = bob.sees(f"/v1/users/{ada.user}", lambda card: "email" in card)
    assert (card["email"], card["about"]) == (ada.email, "Of the difference kind")


def talks_in(body: Any) -> list[tuple[str, str, int]]:
    """With whom, the last message, and how many are not read."""
    return [(item["user"]["id"], item["last"]["id"], item["unread"]) for item in body["items"]]


def talk(ada: Person, bob: Person) -> None:
    said = [
        one.say(two, text) for one, two, text in ((ada, bob, "Hello"), (bob, ada, "Good day"), (ada, bob, "Secret"))
    ]
    for person, other, unread in ((ada, bob, 1), (bob, ada, 2)):
        expected = [(other.user, said[-1]["id"], unread)]
        person.sees("/v1/conversations", lambda body, expected=expected: talks_in(body) == expected)
    assert bob.do("POST", f"/v1/conversations/{ada.user}/delivered", {"up_to": said[2]["seq"]})["unread"] == 2
    assert bob.do("POST", f"/v1/conversations/{ada.user}/read", {"up_to": said[0]["seq"]})["unread"] == 1

    hers = f"/v1/conversations/{bob.user}/messages"
    edited = ada.do("PATCH", f"{hers}/{said[0]['seq']}", {"text": "Hello, analyst"})
    assert (edited["id"], edited["text"], edited["edited_at"] > edited["at"]) == (said[0]["id"], "Hello, analyst", True)
    path = f"/v1/conversations/{ada.user}/messages"
    assert bob.refused("DELETE", f"{path}/{said[2]['seq']}") == (403, "not_allowed")
    assert ada.do("DELETE", f"{hers}/{said[2]['seq']}")["deleted"] is True
    assert ada.refused("PATCH", f"{hers}/{said[2]['seq']}", {"text": "Again"}) == (409, "message_deleted")
    bob.hears(ada, ["Hello, analyst", "Good day", ""])
    bob.sees("/v1/conversations", lambda body: [each["unread"] for each in body["items"]] == [0])

    page = bob.read(f"{path}?limit=1")
    older = bob.read(f"{path}?limit=1&cursor={page['next']}")
    back = bob.read(f"{path}?limit=1&direction=newer&cursor={older['previous']}")
    assert [each["items"][0]["text"] for each in (page, older, back)] == ["", "Good day", ""]
    for person in (ada, bob):
        person.sees(
            "/v1/messages/search?q=HELLO%20analyst", lambda body: [e["id"] for e in body["items"]] == [said[0]["id"]]
        )
        person.sees("/v1/messages/search?q=secret", lambda body: body["items"] == [])


def come_and_go(ada: Person, bob: Person) -> None:
    here = f"/v1/presence?users={ada.user}"
    for online in (True, False):
        ada.do("PUT", "/v1/me/presence", {"online": online})
        bob.sees(here, lambda body, online=online: body["items"][0]["online"] is online)
    inbox = bob.sees("/v1/me/notifications", lambda body: len(body["items"]) == 6)
    assert [each["kind"] for each in inbox["items"]] == [
        "message_received",
        "message_received",
        "connection_accepted",
        "connection_requested",
        "connection_requested",
        "welcome",
    ]
    bob.do("POST", "/v1/me/notifications/read", {"notifications": [each["id"] for each in inbox["items"]]})
    bob.sees("/v1/me/notifications", lambda body: body["unread"] == 0)


def are_given_tiers(ada: Person, bob: Person, olga: Person) -> None:
    path = f"/v1/users/{ada.user}"
    assert bob.refused("PUT", f"{path}/tier", {"tier": "gold"}) == (403, "not_allowed")
    assert olga.do("PUT", f"{path}/tier", {"tier": "gold", "reason": "she pays"})["tier"] == "gold"
    assert ada.sees("/v1/me", lambda account: account["tier"] == "gold")["role"] == "member"
    olga.do("PUT", f"{path}/role", {"role": "analyst", "reason": "she counts"})
    assert ada.refused_read("/v1/analytics/tables/events_by_type") == (403, "not_allowed"), "in a new session only"
    analyst = ada.again(THIRD)
    analyst.sees("/v1/analytics/tables/events_by_type", lambda body: body["items"])
    audit = olga.sees(f"{path}/audit", lambda body: len(body["items"]) == 2)["items"]
    assert [(each["what"], each["before"], each["after"], each["reason"], each["by"]) for each in audit] == [
        ("role", "member", "analyst", "she counts", olga.user),
        ("tier", "free", "gold", "she pays", olga.user),
    ]
    olga.do("PUT", f"{path}/role", {"role": "member"})
    wait_until(
        lambda: analyst.send("GET", "/v1/analytics/tables/events_by_type").status == 403, PATIENCE, "taken at once"
    )


def quarrel(ada: Person, bob: Person, olga: Person) -> None:
    told = bob.do("POST", "/v1/reports", {"user": ada.user, "reason": "other", "note": "She deletes what she says"})
    assert bob.refused("POST", "/v1/reports", {"user": ada.user, "reason": "spam"}) == (409, "already_reported")
    assert ada.refused_read("/v1/reports") == (403, "not_allowed")
    [report] = [each for each in olga.items("/v1/reports") if each["id"] == told["report"]]
    assert (report["by"], report["user"], report["note"]) == (bob.user, ada.user, "She deletes what she says")
    close = f"/v1/reports/{told['report']}/close"
    assert olga.do("POST", close, {"outcome": "talked to"})["closed_by"] == olga.user
    assert olga.refused("POST", close, {"outcome": "again"}) == (409, "report_closed")

    ada.do("DELETE", f"/v1/connections/{bob.user}")
    bob.connect(ada)
    assert ada.do("PUT", f"/v1/blocks/{bob.user}")["state"] == "blocked"
    ada.sees("/v1/blocks", lambda body: [each["user"] for each in body["items"]] == [bob.user])
    wait_until(lambda: bob.send("GET", f"/v1/users/{ada.user}").status == 404, PATIENCE, "she is nobody to him")
    bob.sees("/v1/connections", lambda body: ids(body) == [])
    ask = {"user": ada.user, "interest": "interested"}
    assert bob.refused("POST", "/v1/connections", ask) == (404, "user_unknown")
    path = f"/v1/conversations/{ada.user}/messages"
    assert bob.refused("POST", path, {"text": "Why?"}) == (403, "not_connected")
    assert ada.do("DELETE", f"/v1/blocks/{bob.user}")["state"] == "removed"
    bob.sees(f"/v1/users/{ada.user}", lambda card: card["name"] == "Ada")
    ada.connect(bob)


# -- the end, and a new beginning


def leaves_and_comes_back(system: System, ada: Person, bob: Person) -> None:
    assert ada.refused("DELETE", "/v1/me", {"password": PASSWORD}) == (403, "wrong_password")
    assert ada.do("DELETE", "/v1/me", {"password": THIRD})["user"] == ada.user
    wait_until(lambda: is_over(ada.client, ada.token), PATIENCE, "the end of her sessions")
    assert log_in(ada, THIRD).problem == (401, "wrong_credentials")
    wait_until(lambda: bob.send("GET", f"/v1/users/{ada.user}").status == 404, PATIENCE, "her card")
    bob.sees("/v1/connections", lambda body: ids(body) == [])
    bob.hears(ada, ["Hello, analyst", "Good day", ""])
    [talk] = bob.sees("/v1/conversations", lambda body: body["items"])["items"]
    assert talk["user"]["name"] == DELETED
    nothing_is_left(system, ada)

    back = ada.client.result("POST", "/v1/users", {"email": ada.email, "password": PASSWORD, "name": "Ada"})
    assert (back["id"] != ada.user, back["email_verified"], back["tier"]) == (True, False, "free")
    again = Person(ada.client, ada.email, back["id"], Person.log_in(ada.client, ada.email)["token"])
    assert again.sees("/v1/me", lambda account: account["id"] == back["id"])["skills"] == []
    assert again.read("/v1/conversations")["items"] == []
    assert again.read(f"/v1/conversations/{bob.user}/messages")["items"] == []


def nothing_is_left(system: System, ada: Person) -> None:
    """Of what she has said of herself, where accounts are kept."""
    with MongoClient[dict[str, Any]](stack.addresses(system.settings).mongo) as mongo:
        database = mongo[system.settings.mongo_db]
        kept = [database[name].find_one({"_id": ada.user}) for name in ("users", "logins", "passwords")]
        assert database["credentials"].find_one({"_id": ada.email}) is None
    text = str(kept)
    assert not any(word in text for word in (ada.email, "Ada", "kafka", "Notes", "argon2")), text
