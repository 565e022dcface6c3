"""The document of the sockets: whole, and true of what is sent and taken."""

from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest

from devconnect.domain.inbox import text_of
from devconnect.events.inbox import DATA, InboxEntry, Kind
from devconnect.ports.reads import PresenceView
from tests.documents import references
from web import answers
from web.answers import Answer
from web.problems import PROBLEMS, ProblemError
from web.realtime import acks, asyncapi, tellings
from web.realtime.asyncapi import TOLD
from web.realtime.clients import EVENTS, Payload
from web.realtime.followers import STATE, Standing
from web.realtime.frames import text_of as frame_text

DOCUMENT = asyncapi.build()
MESSAGES = DOCUMENT["components"]["messages"]
SCHEMAS = DOCUMENT["components"]["schemas"]
USER = "a" * 32
#: What is sent of each event that isn't kept in inboxes.
SENT: dict[str, Any] = {
    "inbox": msgspec.to_builtins(Standing(False, "1-7", True, STATE)),
    "live": {"live": False},
    "presence": msgspec.json.decode(
        frame_text(tellings.presence_frame([PresenceView(user=USER, online=False, last_seen=5)]))[2:]
    )[1],
    "typing": msgspec.json.decode(tellings.typing_text(USER, "b" * 32, typing=True)),
    "session_ended": {},
    "reconnect": {"after_ms": 5},
}
#: What is kept, of each kind.
KEPT: dict[str, Any] = {
    "message": {"id": "c7", "conversation": "a.b", "seq": 1, "sender": "a", "recipient": "b", "text": "Hi", "at": 1},
    "message_changed": {
        **{"id": "c7", "conversation": "a.b", "seq": 1, "sender": "a", "recipient": "b", "text": "", "at": 1},
        **{"edited_at": None, "deleted": True},
    },
    "status": {"conversation": "a.b", "user": "b", "state": "read", "up_to": 1},
    "notification": {"id": "n1", "kind": "message_received", "about": {"user": "a"}, "at": 1},
    "notifications_read": {"notifications": ["n1"]},
}


def valid(payload: Any, value: Any) -> bool:
    """Whether it is as the schema says, with the document's own components."""
    found: bool = jsonschema_rs.is_valid({**payload, "components": DOCUMENT["components"]}, value)
    return found


def resolved(ref: str) -> Any:
    """What it leads to. KeyError when that is nothing."""
    assert ref.startswith("#/")
    found: Any = DOCUMENT
    for name in ref[2:].split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return found


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert found
    for ref in found:
        assert resolved(ref), ref


def test_every_schema_is_one_and_is_used() -> None:
    used = set(references(DOCUMENT))
    for name, schema in SCHEMAS.items():
        jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})
        assert f"#/components/schemas/{name}" in used, name


def test_every_event_is_in_it_with_its_way_and_its_acknowledgement() -> None:
    operations = DOCUMENT["operations"]
    channel = DOCUMENT["channels"]["socket"]["messages"]
    assert set(operations) == {f"tell_{name}" for name in TOLD} | {f"take_{name}" for name in EVENTS}
    assert set(MESSAGES) == set(channel) == {
        *TOLD, *(f"{name}_asked" for name in EVENTS), *(f"{name}_ack" for name in EVENTS)
    }  # fmt: skip
    for name in TOLD:
        assert operations[f"tell_{name}"]["action"] == "send"
        assert "reply" not in operations[f"tell_{name}"]
    for name in EVENTS:
        asked = operations[f"take_{name}"]
        assert asked["action"] == "receive"
        [message], [reply] = asked["messages"], asked["reply"]["messages"]
        assert resolved(message["$ref"])["$ref"] == f"#/components/messages/{name}_asked"
        assert resolved(reply["$ref"])["$ref"] == f"#/components/messages/{name}_ack"
    assert all(message["summary"] for message in MESSAGES.values())


def test_what_is_kept_in_inboxes_is_told_by_the_name_of_its_kind() -> None:
    assert set(DATA) == set(get_args(Kind)) == set(KEPT)
    assert set(TOLD) == set(KEPT) | set(SENT)


@pytest.mark.parametrize("kind", KEPT)
def test_an_entry_is_sent_as_the_document_says(kind: Kind) -> None:
    data = msgspec.convert(KEPT[kind], DATA[kind])
    entry = InboxEntry(
        recipient="b", source="m1", seq=1, id="e1", at=1, kind=kind, data=msgspec.Raw(msgspec.json.encode(data))
    )
    sent = msgspec.json.decode(text_of(entry, 1, 7))
    payload = MESSAGES[kind]["payload"]
    assert valid(payload, sent)
    for name in sent:
        assert not valid(payload, {key: value for key, value in sent.items() if key != name}), name
    assert not valid(payload, {**sent, "cursor": "seven"})
    assert not valid(payload, {**sent, "data": {}})


@pytest.mark.parametrize("name", SENT)
def test_what_isnt_kept_is_sent_as_the_document_says(name: str) -> None:
    payload = MESSAGES[name]["payload"]
    assert valid(payload, SENT[name])
    assert not valid(payload, 7)
    if SENT[name]:
        assert not valid(payload, {})


def test_every_example_is_what_its_schema_says() -> None:
    seen = 0
    for name, schema in SCHEMAS.items():
        for where, part in [
            (name, schema),
            *((f"{name}.{key}", of) for key, of in schema.get("properties", {}).items()),
        ]:
            for example in part.get("examples", ()):
                assert valid(part, example), (where, example)
                seen += 1
    assert seen


@pytest.mark.parametrize("name", EVENTS)
def test_what_clients_send_is_taken_as_the_document_says(name: str) -> None:
    event, payload = EVENTS[name], MESSAGES[f"{name}_asked"]["payload"]
    asked = {
        "send_message": {"to": USER, "text": "Hi"},
        "edit_message": {"peer": USER, "message": 256, "text": "Hi"},
        "delete_message": {"peer": USER, "message": 256},
        "mark_delivered": {"peer": USER, "up_to": 256},
        "mark_read": {"peer": USER, "up_to": 256},
        "mark_notifications_read": {"notifications": [USER]},
        "typing": {"to": USER},
        "watch_presence": {"users": [USER]},
        "unwatch_presence": {"users": [USER]},
        "focus": {"peer": None},
    }[name]
    for wrong, value in ((False, asked), (True, {}), (True, {**asked, "more": 1}), (True, []), (True, None)):
        assert valid(payload, value) is not wrong, value
        assert taken(event.payload, value) is not wrong, value


def taken(kind: type[Payload], value: Any) -> bool:
    """Whether the very type takes it."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("code", PROBLEMS)
def test_every_problem_is_acknowledged_as_the_document_says(code: str) -> None:
    ack = msgspec.json.decode(acks.problem_ack(ProblemError(code, "Because.", headers={"Retry-After": "3"})))
    assert (ack["status"], ack["problem"]["code"], ack["retry_after"]) == (PROBLEMS[code][0], code, 3)
    for name in EVENTS:
        assert valid(MESSAGES[f"{name}_ack"]["payload"], ack)


def test_a_result_is_acknowledged_as_the_document_says() -> None:
    ack = msgspec.json.decode(acks.done(tellings.PresenceChanged(presence=())))
    assert valid(MESSAGES["watch_presence_ack"]["payload"], ack)
    assert not valid(MESSAGES["send_message_ack"]["payload"], {"status": 201, "result": {"id": "c1"}})
    assert not valid(MESSAGES["send_message_ack"]["payload"], {"result": {}})
    assert issubclass(answers.Message, Answer)
