"""A letter is tried again in the way that is exact for its agent, or refused with what to do instead."""

from typing import Any

import msgspec
import pytest

from agents.retrying import RefusedError, Retry
from devconnect.domain.letters import Letter, Name
from devconnect.domain.model import Decision
from devconnect.domain.projections import AddNotification, PutUser
from devconnect.events import commands as c, facts as f
from devconnect.events.base import seq_of
from devconnect.events.topics import message_commands, message_events, notification_events, user_events
from devconnect.ports.publisher import Record
from tests.delivery_fakes import telling
from tests.fakes import MemoryListings, MemoryProjections, MemoryPublisher, MemoryRelations, MemoryTruth

COMMAND = c.SendMessage(id="c1", actor="ann", at=1, to="bob", text="hello")
SENT = f.MessageSent(
    id="c1-0", seq=256, at=1, conversation="ann.bob", message="c1", sender="ann", recipient="bob", text="hi", previous=0
)
RAISED = f.NotificationRaised(
    id="n", seq=1, at=1, notification="n1", recipient="bob", kind="message_sent", cause="c1-0", about={}
)
TIER = f.TierChanged(id="c2-0", seq=512, at=1, user="ann", tier="gold")


class Fixture:
    """What letters are tried on."""

    def __init__(self) -> None:
        self.truth, self.publisher, self.projections = MemoryTruth(), MemoryPublisher(), MemoryProjections()
        relations = MemoryRelations(self.truth)
        self.listings = MemoryListings()
        self.retry = Retry(telling(self.truth), self.publisher, self.projections, self.listings, relations)


def letter(agent: str, topic: str, value: bytes | None, offset: int = 7) -> Letter:
    name = Name(topic, 3, offset, agent)
    return Letter(name=name, cause="why", at=1, key=b"ann.bob", value=value, headers=(("h", b"1"),))


def decision(offset: int, events: tuple[Any, ...] = (SENT,)) -> Decision:
    return Decision(
        id="c1",
        command="message.send",
        topic="message-commands",
        partition=3,
        seq=seq_of(offset),
        actor="ann",
        fingerprint="",
        at=1,
        events=events,
    )


async def test_a_command_is_appended_to_its_partition_as_it_was() -> None:
    given = Fixture()
    value = message_commands.encode(COMMAND)
    await given.retry(letter("decide-message-commands", "message-commands", value))
    assert given.publisher.logs == {("message-commands", 3): [Record(b"ann.bob", value, (("h", b"1"),))]}


@pytest.mark.parametrize("known", [decision(99), decision(7, ())])
async def test_a_command_that_was_decided_elsewhere_or_has_no_effects_is_appended_and_answered(known: Decision) -> None:
    given = Fixture()
    given.truth.stored["c1"] = known
    await given.retry(letter("decide-message-commands", "message-commands", message_commands.encode(COMMAND)))
    assert len(given.publisher.logs["message-commands", 3]) == 1


async def test_a_command_whose_effects_failed_after_its_decision_is_refused() -> None:
    """At a new place it would be taken for a client's retry: answered, with no effects."""
    given = Fixture()
    given.truth.stored["c1"] = decision(7)
    with pytest.raises(RefusedError, match="decided before its effects failed"):
        await given.retry(letter("decide-message-commands", "message-commands", message_commands.encode(COMMAND)))
    assert given.publisher.logs == {}


async def test_an_event_is_projected_here_and_not_appended() -> None:
    given = Fixture()
    for _ in range(2):
        await given.retry(letter("project-user-events", "user-events", user_events.encode(TIER)))
    assert given.projections.updates == [PutUser("ann", 512, {"tier": "gold", "updated_at": "1"})] * 2
    assert given.publisher.logs == {}


async def test_a_notification_is_raised_anew_with_the_id_that_it_would_have_had() -> None:
    given = Fixture()
    for _ in range(2):
        await given.retry(letter("notify-message-events", "message-events", message_events.encode(SENT)))
    [log] = given.publisher.logs.values()
    raised = [notification_events.decode(record.value) for record in log]
    assert len({event.notification for event in raised}) == 1
    assert raised[0].recipient == "bob"
    # What the same workers list of a message comes with it.
    assert set(given.listings.talks) == {("ann", "bob"), ("bob", "ann")}
    assert {entry.words for entry in given.listings.words.values()} == {("hi",)}


async def test_a_delivery_is_done_in_database_and_list() -> None:
    given = Fixture()
    await given.retry(letter("deliver-in-app", "notification-events", notification_events.encode(RAISED)))
    assert list(given.truth.notifications) == [("bob", "n1")]
    assert [type(update) for update in given.projections.updates] == [AddNotification]


@pytest.mark.parametrize(
    ("agent", "topic", "value", "why"),
    [
        ("merge-windows", "analytics-parts", b"{}", "published once"),
        ("fill-inboxes", "inbox-events", b"{}", "an inbox goes forward only"),
        ("fold-message-events", "message-events", message_events.encode(SENT), "has counted later ones"),
        ("restore-user_activity", "table-user_activity-changelog", b"x", "restart the analytics workers"),
        ("somebody", "message-events", message_events.encode(SENT), "no agent here is called somebody"),
        ("decide-message-commands", "message-commands", b"x", "still can't be decoded"),
        ("decide-message-commands", "message-commands", None, "still can't be decoded"),
        ("project-message-events", "message-events", msgspec.json.encode({"v": 9}), "still can't be decoded"),
        ("project-message-events", "elsewhere", b"x", "is no topic that agents read"),
    ],
)
async def test_what_can_not_be_tried_exactly_is_refused(agent: str, topic: str, value: bytes | None, why: str) -> None:
    given = Fixture()
    with pytest.raises(RefusedError, match=why):
        await given.retry(letter(agent, topic, value))
    assert (given.publisher.logs, given.projections.updates) == ({}, [])


async def test_what_still_can_not_be_applied_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Fixture()

    def fail(_: str) -> None:
        raise ValueError("still broken")

    given.projections.hook = fail
    with pytest.raises(RefusedError, match=r"still can't be applied \(ValueError: still broken\)"):
        await given.retry(letter("project-user-events", "user-events", user_events.encode(TIER)))
