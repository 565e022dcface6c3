"""The main job from outside: people sign up, find each other, connect and chat; nobody reads what isn't theirs."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from devconnect.domain.analytics import TABLES
from tests.e2e.people import Client, Person, join, same_tables, set_role, shown
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.timeout(240)


def users(body: Any) -> set[str]:
    """The people in a list of cards, or of things with a card."""
    return {item["id"] if "id" in item else item["user"]["id"] for item in body["items"]}


def test_from_sign_up_to_a_connection(system: System) -> None:
    client = Client(system.url)
    ada = Person.join(client, "Ada", skills=["Python", "kafka"], headline="Engines")
    bob = Person.join(client, "Bob", skills=["python"])
    me = ada.sees("/v1/me", lambda account: account["name"] == "Ada")
    assert (me["id"], me["email"], me["skills"], me["tier"], me["role"]) == (
        ada.user,
        ada.email,
        ["python", "kafka"],
        "free",
        "member",
    )
    assert "password" not in str(me).lower()
    feed = bob.sees("/v1/feed?limit=200", lambda body: ada.user in users(body))
    [card] = [item for item in feed["items"] if item["id"] == ada.user]
    assert (card["shared_skills"], "email" in card, bob.user in users(feed)) == (["python"], False, False)

    ada.do("POST", "/v1/connections", {"user": bob.user, "interest": "interested"})
    waiting = bob.sees("/v1/connections/requests", lambda body: users(body) == {ada.user})
    assert waiting["items"][0]["user"]["headline"] == "Engines"
    assert ada.read("/v1/connections/requests")["items"] == []
    accepted = bob.do("POST", f"/v1/connections/{ada.user}/review", {"verdict": "accepted"})
    assert (accepted["user"], accepted["state"], accepted["by"]) == (ada.user, "accepted", bob.user)
    ada.sees("/v1/connections", lambda body: users(body) == {bob.user})
    bob.sees("/v1/connections", lambda body: users(body) == {ada.user})
    bob.sees("/v1/connections/requests", lambda body: not body["items"])
    bob.sees("/v1/feed?limit=200", lambda body: ada.user not in users(body))


def test_from_a_message_to_a_read_one(system: System) -> None:
    ada, bob = join(system, "Ada", "Bob")
    ada.connect(bob)
    sent = ada.say(bob, "Hello, Bob! 🎉")
    assert (sent["sender"], sent["recipient"], sent["text"]) == (ada.user, bob.user, "Hello, Bob! 🎉")
    path = f"/v1/conversations/{ada.user}/messages"
    assert bob.sees(path, lambda body: body["items"])["items"] == [sent]

    for mark, place in (("delivered", {"delivered": sent["seq"], "read": 0}), ("read", {"read": sent["seq"]})):
        marked = bob.do("POST", f"/v1/conversations/{ada.user}/{mark}", {"up_to": sent["seq"]})
        left = 0 if mark == "read" else 1
        assert marked == {"peer": ada.user, "delivered": sent["seq"], "read": 0, "unread": left, **place}
        ada.sees(
            f"/v1/conversations/{bob.user}/messages",
            lambda body, mark=mark: any(at["user"] == bob.user and at[mark] == sent["seq"] for at in body["positions"]),
        )
    beyond = {"up_to": sent["seq"] + 1}
    assert bob.refused("POST", f"/v1/conversations/{ada.user}/read", beyond) == (404, "message_unknown")


def test_history_pages_have_each_message_once_in_order(system: System) -> None:
    ada, bob = join(system, "Ada", "Bob")
    ada.connect(bob)
    said = []
    for number in range(11):
        one, other = (ada, bob) if number % 3 else (bob, ada)
        said.append(one.say(other, f"number {number}"))
    bob.hears(ada, [message["text"] for message in said])
    pages = list(bob.pages(f"/v1/conversations/{ada.user}/messages", limit=4))
    assert [message for page in pages for message in page] == said[::-1]
    assert len(pages) >= 3


def test_a_message_is_said_once_however_often_it_is_sent(system: System) -> None:
    ada, bob, eve = join(system, "Ada", "Bob", "Eve")
    ada.connect(bob)
    first = ada.say(bob, "once", key="a-key")
    assert ada.say(bob, "once", key="a-key") == first
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: ada.say(bob, "at the same time", key="b-key"), range(4)))
    assert again == [again[0]] * 4
    path = f"/v1/conversations/{bob.user}/messages"
    assert ada.refused("POST", path, {"text": "another"}, key="a-key") == (422, "idempotency_key_reused")
    # A key is its owner's: somebody else's request is another one.
    bob.say(ada, "mine", key="a-key")
    assert eve.refused("POST", path, {"text": "once"}, key="a-key") == (403, "not_connected")
    ada.say(bob, "the end")
    bob.hears(ada, ["once", "at the same time", "mine", "the end"])


def test_presence_comes_and_goes(system: System) -> None:
    ada, bob, eve = join(system, "Ada", "Bob", "Eve")
    ada.connect(bob)
    path = f"/v1/presence?users={ada.user},{bob.user}"

    def presence(online: bool) -> Any:
        return bob.sees(path, lambda body: body["items"][0]["online"] is online)["items"]

    came = ada.do("PUT", "/v1/me/presence", {"online": True})
    assert came["online"] is True
    hers, his = presence(True)
    assert (hers["user"], his["user"], his["online"]) == (ada.user, bob.user, False)
    # Unless she says otherwise only her connections are shown that.
    assert [(item["online"], item["last_seen"]) for item in eve.read(path)["items"]] == [(False, 0)] * 2
    ada.do("PUT", "/v1/me/presence", {"online": False})
    hers, _ = presence(False)
    assert 0 < hers["last_seen"] < came["until"]


def test_notifications_are_raised_once_and_marked_read(system: System) -> None:
    ada, bob = join(system, "Ada", "Bob")
    ada.connect(bob)
    sent = ada.say(bob, "Hello")
    kinds = ["message_received", "connection_requested", "welcome"]
    seen = bob.sees("/v1/me/notifications", lambda body: len(body["items"]) == 3)
    assert ([item["kind"] for item in seen["items"]], seen["unread"]) == (kinds, 3)
    newest = seen["items"][0]
    assert newest["about"] == {"user": ada.user, "conversation": sent["conversation"], "message": sent["id"]}
    ada.sees(
        "/v1/me/notifications",
        lambda body: [item["kind"] for item in body["items"]] == ["connection_accepted", "welcome"],
    )

    # Whoever marks somebody else's as read changes nothing of theirs.
    ada.do("POST", "/v1/me/notifications/read", {"notifications": [newest["id"]]})
    bob.do("POST", "/v1/me/notifications/read", {"notifications": [seen["items"][1]["id"]]})
    after = bob.sees("/v1/me/notifications", lambda body: body["unread"] == 2)
    assert [item["read"] for item in after["items"]] == [False, True, False]


def test_a_person_says_how_to_be_told_and_can_ask_why(system: System) -> None:
    ada, bob = join(system, "Ada", "Bob")
    kinds = {"message_received": {"push": False, "webhook": False}}
    told = bob.do("PUT", "/v1/me/notification-preferences", {"kinds": kinds, "time_zone": "Asia/Kathmandu"})
    assert told["notification_preferences"]["time_zone"] == "Asia/Kathmandu"
    ada.connect(bob)
    ada.say(bob, "Hello")
    first = bob.sees("/v1/me/notifications", lambda body: len(body["items"]) == 3)["items"][0]["id"]
    path = f"/v1/me/notifications/{first}/deliveries"
    wait_until(lambda: bob.send("GET", path).status == 200, PATIENCE, "a decision")
    rules = {each["channel"]: (each["state"], each["rule"]) for each in bob.read(path)["items"]}
    off = ("skipped", "switched_off")
    assert rules == {"in_app": ("delivered", "wanted"), "push": off, "email": off, "webhook": off}
    bob.do("POST", "/v1/me/notifications/seen", {"up_to": first})
    # The count and the items are read one after the other.
    seen = bob.sees(
        "/v1/me/notifications", lambda body: body["unseen"] == 0 and all(item["seen"] for item in body["items"])
    )
    assert (seen["unread"], [item["seen"] for item in seen["items"]]) == (3, [True] * 3)
    bob.sees(path, lambda body: body["items"][0]["state"] == "seen")


def test_a_changed_profile_is_seen_by_others(system: System) -> None:
    ada, bob = join(system, "Ada", "Bob")
    changed = ada.do("PATCH", "/v1/me", {"headline": "Now  with\tcards", "skills": ["Rust"]})
    assert (changed["headline"], changed["skills"], changed["name"]) == ("Now with cards", ["rust"], "Ada")
    card = bob.sees(f"/v1/users/{ada.user}", lambda body: body["headline"] == "Now with cards")
    assert (card["skills"], card.keys() & {"email", "tier", "role"}) == (["rust"], set())


def test_after_a_log_out_the_token_is_worth_nothing(system: System) -> None:
    [ada] = join(system, "Ada")
    other = Person(ada.client, ada.email, ada.user, Person.log_in(ada.client, ada.email)["token"])
    other.sees("/v1/me", lambda body: True)
    left = ada.send("DELETE", "/v1/sessions/current")
    assert left.status in (200, 202), left
    if left.status == 202:  # a machine this busy: then it holds as soon as it is decided
        wait_until(lambda: ada.send("GET", "/v1/me").status == 401, PATIENCE, "the log-out")
    for method, path, body in (("GET", "/v1/me", None), ("PATCH", "/v1/me", {"name": "Eve"})):
        reply = ada.send(method, path, body)
        assert reply.problem == (401, "not_logged_in")
        assert reply.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert other.read("/v1/me")["name"] == "Ada"


def test_analysts_read_the_tables_and_others_do_not(system: System) -> None:
    ada, bob, ann = join(system, "Ada", "Bob", "Ann")
    ada.connect(bob)
    ada.say(bob, "Count me")
    set_role(system, ann, "analyst")
    for table in TABLES:
        assert bob.send("GET", f"/v1/analytics/tables/{table}").problem == (403, "not_allowed")
    assert ann.send("GET", "/v1/analytics/tables/secrets").problem == (404, "table_unknown")

    counted = {"messages_sent": 1, "messages_received": 0, "requests_sent": 1, "connections": 1}
    wait_until(
        lambda: {"user": ada.user, **counted} in ann.items("/v1/analytics/tables/user_activity"), PATIENCE, "her row"
    )
    assert {"user": ada.user, **counted} in shown(system, "user_activity")
    same_tables(system, ann, *TABLES)


def test_two_who_ask_each_other_are_connected(system: System) -> None:
    ada, bob = join(system, "Ada", "Bob")

    def ask(one: Person, other: Person) -> Any:
        return one.do("POST", "/v1/connections", {"user": other.user, "interest": "interested"})["state"]

    with ThreadPoolExecutor(2) as pool:
        states = sorted(pool.map(ask, (ada, bob), (bob, ada)))
    assert states == ["accepted", "requested"]
    ada.sees("/v1/connections", lambda body: users(body) == {bob.user})
    bob.sees("/v1/connections", lambda body: users(body) == {ada.user})
    assert len(ada.items("/v1/connections")) == 1


def test_what_is_not_yours_is_not_shown_and_not_done(system: System) -> None:
    ada, bob, eve = join(system, "Ada", "Bob", "Eve")
    ada.do("POST", "/v1/connections", {"user": bob.user, "interest": "interested"})
    # A request is answered by the one who was asked, and seen by nobody else.
    for person in (ada, eve):
        for other in {ada, bob} - {person}:
            path = f"/v1/connections/{other.user}/review"
            assert person.refused("POST", path, {"verdict": "accepted"}) == (404, "request_unknown")
        assert person.read("/v1/connections/requests")["items"] == []
    bob.do("POST", f"/v1/connections/{ada.user}/review", {"verdict": "accepted"})
    sent = ada.say(bob, "Between us")
    bob.hears(ada, ["Between us"])

    for peer in (ada, bob):
        path = f"/v1/conversations/{peer.user}"
        assert eve.refused("POST", f"{path}/messages", {"text": "Hi"}) == (403, "not_connected")
        assert eve.refused("POST", f"{path}/read", {"up_to": sent["seq"]}) == (404, "conversation_unknown")
        assert eve.read(f"{path}/messages")["items"] == []
    assert [item["kind"] for item in eve.read("/v1/me/notifications")["items"]] in ([], ["welcome"])
    # A message's id is its command's: whoever knows it learns nothing by it.
    for person in (bob, eve):
        assert person.send("GET", f"/v1/commands/{sent['id']}").problem == (404, "command_unknown")
    assert Client(system.url).send("GET", f"/v1/commands/{sent['id']}").problem == (404, "command_unknown")
    assert ada.read(f"/v1/commands/{sent['id']}")["result"] == sent
    assert bob.texts(ada) == ["Between us"]
