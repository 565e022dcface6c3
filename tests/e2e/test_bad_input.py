"""Bad input: told in the documented words and never stored; in a topic it is buried, and its neighbours are applied."""

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from pymongo import MongoClient

from devconnect import stack
from devconnect.events.base import new_id, pair_id
from tests.e2e.kafka import Place, ends, letters, produce
from tests.e2e.people import PASSWORD, Person, join, set_role
from tests.e2e.system import System
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.timeout(240)

COMMANDS = ["user-commands", "connection-commands", "message-commands"]
NOBODY = "0" * 32
GOOD = {"email": "good@example.org", "password": PASSWORD, "name": "Good"}


class Bad(NamedTuple):
    """A request that must be refused; `OTHER` in a path or body stands for a connected person."""

    method: str
    path: str
    body: Any
    status: int
    code: str
    field: str = ""


MESSAGES = "/v1/conversations/OTHER/messages"
BAD_BODIES = [
    Bad("POST", "/v1/users", b'{"email": "a@example.org",', 400, "malformed_json"),
    Bad("POST", "/v1/users", b"\xff\xfe", 400, "malformed_json"),
    Bad("POST", MESSAGES, b'{"text": "\xff"}', 400, "malformed_json"),
    Bad("POST", MESSAGES, b'{"text": ' + b"[" * 30_000, 400, "invalid_body", "text"),
    Bad("PATCH", "/v1/me", b"", 400, "malformed_json"),
    Bad("POST", "/v1/users", {**GOOD, "role": "operator"}, 400, "invalid_body", "role"),
    Bad("PATCH", "/v1/me", {"name": "Ada", "tier": "gold"}, 400, "invalid_body", "tier"),
    Bad("POST", MESSAGES, {"text": "hi", "sender": "OTHER"}, 400, "invalid_body", "sender"),
    Bad("POST", "/v1/users", [GOOD], 400, "invalid_body"),
    Bad("POST", "/v1/users", {**GOOD, "name": 5}, 400, "invalid_body", "name"),
    Bad("POST", "/v1/users", {**GOOD, "skills": "python"}, 400, "invalid_body", "skills"),
    Bad("POST", "/v1/users", {**GOOD, "email": "nobody"}, 400, "invalid_body", "email"),
    Bad("POST", "/v1/users", {**GOOD, "password": ""}, 400, "invalid_body", "password"),
    Bad("POST", "/v1/users", {**GOOD, "password": "x" * 257}, 400, "invalid_body", "password"),
    Bad("POST", "/v1/users", {**GOOD, "password": "only 14 chars."}, 422, "password_refused", "password"),
    Bad("POST", "/v1/users", {**GOOD, "password": "passwordpassword"}, 422, "password_refused", "password"),
    Bad("POST", "/v1/users", {"email": "a@example.org", "password": PASSWORD}, 400, "invalid_body", "name"),
    Bad("PUT", "/v1/me/presence", {"online": "yes"}, 400, "invalid_body", "online"),
    Bad("POST", "/v1/connections", {"user": "OTHER", "interest": "love"}, 400, "invalid_body", "interest"),
    Bad("POST", "/v1/conversations/OTHER/read", {"up_to": "1"}, 400, "invalid_body", "up_to"),
    Bad("POST", "/v1/conversations/OTHER/read", {"up_to": 0}, 400, "invalid_body", "up_to"),
    Bad("POST", "/v1/conversations/OTHER/read", {"up_to": 2**53}, 400, "invalid_body", "up_to"),
    Bad("PATCH", "/v1/me", {"name": "x" * 101}, 400, "invalid_body", "name"),
    Bad("PATCH", "/v1/me", {"name": " \t "}, 400, "invalid_body", "name"),
    Bad("PATCH", "/v1/me", {"skills": [f"skill {n}" for n in range(51)]}, 400, "invalid_body", "skills"),
    Bad("PATCH", "/v1/me", {"photo_url": "javascript:alert(1)"}, 400, "invalid_body", "photo_url"),
    Bad("POST", MESSAGES, {"text": "x" * 4001}, 400, "invalid_body", "text"),
    Bad("POST", MESSAGES, {"text": "   "}, 400, "invalid_body", "text"),
    Bad("POST", "/v1/me/notifications/read", {"notifications": ["x"] * 101}, 400, "invalid_body", "notifications"),
    Bad("POST", MESSAGES, {"text": "x" * 70_000}, 413, "body_too_large"),
    Bad("POST", "/v1/connections", {"user": "nobody", "interest": "interested"}, 404, "user_unknown"),
    Bad("POST", "/v1/conversations/nobody/messages", {"text": "hi"}, 404, "user_unknown"),
    Bad("POST", "/v1/sessions", {"email": "nobody@example.org", "password": PASSWORD}, 401, "wrong_credentials"),
    Bad("DELETE", MESSAGES, None, 405, "method_not_allowed"),
    Bad("POST", "/v1/nothing", {}, 404, "not_found"),
]
BAD_READS = [
    ("/v1/feed?limit=0", "invalid_query"),
    ("/v1/feed?limit=many", "invalid_query"),
    ("/v1/feed?colour=red", "invalid_query"),
    ("/v1/conversations/OTHER/messages?cursor=never-given", "invalid_query"),
    ("/v1/presence", "invalid_query"),
    ("/v1/presence?users=me", "invalid_query"),
]


def friends(system: System) -> tuple[Person, Person]:
    """Two who are connected."""
    ada, bob = join(system, "Ada", "Bob")
    ada.connect(bob)
    return ada, bob


def test_a_bad_request_is_a_problem_and_never_reaches_kafka(system: System) -> None:
    ada, bob = friends(system)
    before = ends(system, COMMANDS)
    for bad in BAD_BODIES:
        raw = bad.body if isinstance(bad.body, bytes) else None
        body = None if raw is not None else json.loads(json.dumps(bad.body).replace("OTHER", bob.user))
        reply = ada.send(bad.method, bad.path.replace("OTHER", bob.user), body, raw=raw)
        assert reply.problem == (bad.status, bad.code), bad
        if bad.field:
            assert reply.body["errors"][0]["field"].split("[")[0] == bad.field, (bad, reply.body)
    for path, code in BAD_READS:
        assert ada.send("GET", path.replace("OTHER", bob.user)).problem == (400, code), path
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
        reply = ada.send("PATCH", "/v1/me", raw=b'{"name": "Eve"}', content_type=kind)
        assert reply.problem == (415, "unsupported_media_type"), kind
    assert ada.send("PATCH", "/v1/me", {"name": "Eve"}, key="k" * 129).problem == (400, "invalid_header")
    for token in ("", "not.a.token", ada.token[:-2]):
        reply = ada.client.send("PATCH", "/v1/me", {"name": "Eve"}, token=token)
        assert reply.problem == (401, "not_logged_in")
    assert ends(system, COMMANDS) == before
    assert (ada.texts(bob), ada.read("/v1/me")["name"]) == ([], "Ada")


def test_nobody_can_be_asked_written_to_or_reviewed_when_there_is_no_such_user(system: System) -> None:
    [ada] = join(system, "Ada")
    ask = {"user": NOBODY, "interest": "interested"}
    assert ada.refused("POST", "/v1/connections", ask) == (404, "user_unknown")
    assert ada.refused("POST", "/v1/connections", {**ask, "user": ada.user}) == (422, "not_yourself")
    review = {"verdict": "accepted"}
    assert ada.refused("POST", f"/v1/connections/{NOBODY}/review", review) == (404, "request_unknown")
    assert ada.refused("POST", f"/v1/conversations/{NOBODY}/messages", {"text": "hi"}) == (403, "not_connected")
    assert ada.refused("DELETE", f"/v1/connections/{NOBODY}") == (403, "not_connected")
    for path in (f"/v1/users/{NOBODY}", f"/v1/conversations/{NOBODY}/messages"):
        assert ada.send("GET", path).problem == (404, "user_unknown")
    pair = pair_id(ada.user, NOBODY)
    with MongoClient[dict[str, Any]](stack.addresses(system.settings).mongo) as mongo:
        database = mongo[system.settings.mongo_db]
        for name in ("connections", "conversations"):
            assert database[name].find_one({"_id": pair}) is None
        assert database["relations"].find_one({"_id": f"{ada.user}:{NOBODY}"}) is None
        assert list(database["messages"].find({"k": {"$gte": pair, "$lt": pair + ";"}})) == []


def unusable(prefix: str) -> list[bytes]:
    """Values that no agent can use: bytes that are no JSON, and an event of a type that isn't known."""
    unknown = {"type": f"{prefix}.teleported", "id": new_id(), "seq": 1, "at": 1, "actor": "nobody", "v": 1}
    broken = f'{{"type": "{prefix}.sent", "id": "'.encode() + b'\xff\xfe"}'
    return [b"\x00\xff no JSON \xfe", b"[" * 50_000, broken, json.dumps(unknown).encode()]


#: Topic -> the agents that read it.
READERS = {
    "user-commands": ["decide-user-commands"],
    "connection-commands": ["decide-connection-commands"],
    "message-commands": ["decide-message-commands"],
    "user-events": ["erase-user-events", "fold-user-events", "notify-user-events", "project-user-events"],
    "connection-events": ["fold-connection-events", "notify-connection-events", "project-connection-events"],
    "message-events": ["fold-message-events", "notify-message-events", "project-message-events"],
    "notification-events": ["decide-deliveries"],
    "mail-requests": ["send-mail"],
}


def buried(system: System, places: Sequence[Place], values: Sequence[bytes], key: str) -> Callable[[], bool]:
    """Whether each of these records is a dead letter of each of its readers, once."""
    value_of = dict(zip(places, values, strict=True))

    def look() -> bool:
        found = [letter for letter in letters(system) if letter.place in value_of]
        if sorted((letter.place, letter.agent) for letter in found) != sorted(
            (place, agent) for place in places for agent in READERS[place.topic]
        ):
            return False
        for letter in found:
            assert (letter.key, letter.value) == (key.encode(), value_of[letter.place])
            assert letter.cause
        return True

    return look


@pytest.mark.parametrize("topic", list(READERS))
def test_a_record_that_cannot_be_used_is_buried_and_its_neighbours_are_applied(system: System, topic: str) -> None:
    ada, bob = friends(system)
    values = unusable(topic.partition("-")[0])
    if topic == "message-events":
        values.append(secrets.token_bytes(1_040_000))  # close to the largest that Kafka takes
    pids = system.pids()
    # Every key of the pair's commands and events, and of its recipient's notifications.
    keys = {"user": ada.user, "mail": ada.user, "notification": bob.user}
    key = keys.get(topic.partition("-")[0], pair_id(ada.user, bob.user))
    ada.do("PATCH", "/v1/me", {"headline": "before"})
    first = ada.say(bob, "before")
    places = produce(system, topic, key, values)
    ada.do("PATCH", "/v1/me", {"headline": "after"})
    second = ada.say(bob, "after")
    ada.do("DELETE", f"/v1/connections/{bob.user}")

    wait_until(buried(system, places, values, key), PATIENCE, "the dead letters")
    bob.hears(ada, ["before", "after"])
    bob.sees(f"/v1/users/{ada.user}", lambda card: card["headline"] == "after")
    bob.sees("/v1/connections", lambda body: body["items"] == [])
    told = bob.sees("/v1/me/notifications", lambda body: len(body["items"]) == 4)
    assert [item["about"].get("message") for item in told["items"][:2]] == [second["id"], first["id"]]
    set_role(system, bob, "analyst")
    row = {"user": ada.user, "messages_sent": 2, "messages_received": 0, "requests_sent": 1, "connections": 0}
    wait_until(lambda: row in bob.items("/v1/analytics/tables/user_activity"), PATIENCE, "her row")
    assert system.pids() == pids


def test_what_cannot_be_read_of_the_ends_of_sessions_keeps_no_end_from_the_gateway(system: System) -> None:
    [ada] = join(system, "Ada")
    leaving = ada.again()
    session = leaving.read("/v1/sessions")["items"][0]["id"]
    produce(system, "session-ends", session, unusable("session"))
    assert leaving.do("DELETE", "/v1/sessions/current")["session"]
    wait_until(lambda: leaving.send("GET", "/v1/me").status == 401, PATIENCE, "the end")
    assert ada.read("/v1/me")["id"] == ada.user
