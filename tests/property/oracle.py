"""What a simulated fleet must have come to, held against the commands that were sent: found without its own folds."""

from collections.abc import Iterator, Mapping
from typing import Any

from devconnect.domain import analytics, deciding, notifications
from devconnect.domain.delivering import CHANNELS
from devconnect.domain.model import (
    AnyDocument,
    Connection,
    Decision,
    Message,
    Place,
    Ref,
    Secret,
    Snapshot,
    User,
    ref_of,
)
from devconnect.domain.projections import Update, project
from devconnect.events import commands as c, facts as f
from devconnect.events.base import seq_of, type_of
from devconnect.events.topics import (
    COMMAND_TO_EVENT,
    MAIL_REQUESTS,
    NOTIFICATION_EVENTS,
    PUSH_REQUESTS,
    SESSION_ENDS,
    USER_COMMANDS,
    WEBHOOK_REQUESTS,
    Topic,
    changelog,
    delivery_requests,
    mail_requests,
    notification_events,
    session_ends,
)
from tests import counting
from tests.counting import Fact
from tests.fakes import MemoryRecord
from tests.property import inboxes
from tests.property.gates import PARTITIONS
from tests.property.read_model import ReadModel
from tests.property.simulation import COMMAND_TOPICS, Process, World


def assert_exact(world: World) -> None:
    """Everything that outlives the processes is what the accepted commands say, each once."""
    assert not world.letters
    decisions = dict(_decided(world))
    assert world.truth.stored == decisions
    events = _events(world)
    assert events == [event for decision in decisions.values() for event in decision.events]
    assert world.truth.documents == _documents(decisions)
    assert world.truth.secrets == _secrets(world, decisions)
    _assert_addresses(world)
    assert _ended(world) == {(event.session, event.user) for event in events if isinstance(event, f.UserLoggedOut)}
    assert {key: told for key, told in world.answers.told.items() if told.problem != REUSED} | decisions == decisions
    facts = [_fact(event) for event in events]
    for name, rows in _changelogs(world).items():
        assert counting.differences(name, _view(name, rows), counting.count(facts)[name]) == []
    _assert_told(world, facts)
    assert ReadModel(world.projections.updates).state == ReadModel(_updates(world, events)).state
    _assert_listed(world)
    for user in world.post.told:
        world.loop.run_until_complete(world.post.read(user))
    inboxes.assert_told(world.post, inboxes.due(_events_by_partition(world), _raised_once(world)))


REUSED = "idempotency_key_reused"


def assert_alone(world: World, user: str) -> None:
    """Nothing stands between a deleted user and anybody who is still here."""
    users = {each.id: each for each in world.truth.documents.values() if isinstance(each, User)}
    assert users[user].deleted
    for document in world.truth.documents.values():
        if isinstance(document, Connection) and user in document.users:
            gone = all(users[each].deleted for each in document.users)
            assert gone or document.state not in ("accepted", "requested"), document


def _assert_addresses(world: World) -> None:
    """Whoever has an account has its address, and nobody else has that."""
    users = [each for each in world.truth.documents.values() if isinstance(each, User) and not each.deleted]
    assert len({user.email for user in users}) == len(users)
    for user in users:
        assert world.truth.credentials[user.email].user == user.id


def _secrets(world: World, decisions: Mapping[str, Decision]) -> dict[str, Secret]:
    """What was set last opens an account, and nothing opens one that is closed."""
    found: dict[str, Secret] = {}
    for partition in range(PARTITIONS):
        for offset, command in enumerate(_commands(world, USER_COMMANDS, partition)):
            decision = decisions[command.id]
            if decision.problem is not None or decision.seq != seq_of(offset):
                continue
            hashed = getattr(command, "password_hash", None)
            if hashed is not None:
                user = getattr(command, "user", command.actor)
                found[user] = Secret(user, decision.seq, hashed)
            elif isinstance(command, c.DeleteAccount):
                found[command.actor] = Secret(command.actor, decision.events[-1].seq, "")
    return found


def _ended(world: World) -> set[tuple[str, str]]:
    """The sessions that gateways were told the end of."""
    logs = [world.logs[SESSION_ENDS.name, partition] for partition in range(PARTITIONS)]
    ends = [session_ends.decode(record.value) for log in logs for record in log]
    return {(end.session, end.user) for end in ends}


def assert_same_rows(world: World, processes: list[Process]) -> None:
    """What the processes hold of the tables is what their changelogs say; of a member, that it is there."""
    due = _changelogs(world)
    for process in processes:
        for name, table in process.tables.items():
            shape = analytics.TABLES[name].shape
            for number in process.assigned:
                rows = world.loop.run_until_complete(table.rows(number))
                found = {key: row if shape == "sum" else row.values for key, row in rows.items()}
                assert found == {
                    key: row if shape == "sum" else row.values
                    for (partition, key), row in due[name].items()
                    if partition == number
                }, name


# -- decisions


def _decided(world: World) -> Iterator[tuple[str, Decision]]:
    """Each command decided where its id stands first, one after the other as their partition has them.

    What a rule reads of another topic may have been any version by then: the decision must follow from one of them.
    """
    for topic in COMMAND_TOPICS:
        for partition in range(PARTITIONS):
            state: Snapshot = {}
            seen = set()
            for offset, command in enumerate(_commands(world, topic, partition)):
                if command.id in seen:
                    continue
                seen.add(command.id)
                place = Place(topic.name, partition, offset)
                possible = [
                    deciding.decide(command, place, {**state, **foreign}, holders)
                    for foreign in _foreign(command)
                    for holders in _holders(command)
                ]
                stored = world.truth.stored.get(command.id)
                assert stored in possible, (stored, possible)
                assert stored is not None
                for event in stored.events:
                    state |= {ref_of(document): document for document in deciding.evolve(state, event)}
                yield command.id, stored


def _commands(world: World, topic: Topic, partition: int) -> list[Any]:
    assert topic.codec is not None
    return [topic.codec.decode(record.value) for record in world.logs[topic.name, partition]]


def _holders(command: c.AnyCommand) -> list[dict[str, str]]:
    """Who may have the address that a command is about: what must be so of addresses is looked at for itself."""
    match command:
        case c.SignUp():
            return [{command.email: command.user}, {}]
        case c.ConfirmEmail():
            return [{command.email: command.actor}, {}]
        case _:
            return [{}]


def _foreign(command: c.AnyCommand) -> list[Snapshot]:
    """What may be true of the documents of another topic, as far as the rules look at it."""
    match command:
        case c.ReviewConnection(requester=other):
            return [{}, {Ref("user", other): _user(other, deleted=True)}]
        case c.RequestConnection(to=other) | c.BlockUser(other=other) | c.ReportUser(other=other):
            return [{}, {Ref("user", other): _user(other)}]
        case c.SendMessage(to=peer) | c.EditMessage(peer=peer):
            users = (command.actor, peer)
            between = Connection(id=command.key, seq=1, users=users, state="accepted", by=peer, at=0)
            return [{}, {Ref("connection", command.key): between}]
        case _:
            return [{}]


def _user(user: str, *, deleted: bool = False) -> User:
    profile = f.Profile(name="")
    rights: dict[str, Any] = {"tier": "free", "role": "member"}
    return User(id=user, seq=1, email="", profile=profile, created_at=0, updated_at=0, deleted=deleted, **rights)


def _documents(decisions: Mapping[str, Decision]) -> dict[Ref, AnyDocument]:
    state: Snapshot = {}
    for decision in decisions.values():
        for event in decision.events:
            state |= {ref_of(document): document for document in deciding.evolve(state, event)}
    return state


def _assert_listed(world: World) -> None:
    """The database's lists say what its messages do: those that aren't deleted are found by their words."""
    messages = [each for each in world.truth.documents.values() if isinstance(each, Message)]
    assert world.listings.talks == {
        (user, peer): max(each.at for each in messages if {user, peer} == {each.sender, each.recipient})
        for message in messages
        for user, peer in ((message.sender, message.recipient), (message.recipient, message.sender))
    }
    assert {key: entry.words for key, entry in world.listings.words.items()} == {
        (user, each.id): (each.text,) if each.text else ()
        for each in messages
        for user in (each.sender, each.recipient)
    }


# -- events and what follows from them


def _events(world: World) -> list[Any]:
    """What a reader that passes by all that isn't above what it has seen gets of the events topics."""
    return [event for events in _events_by_partition(world).values() for event in events]


def _events_by_partition(world: World) -> dict[tuple[str, int], list[Any]]:
    """The same by commands topic and partition."""
    found: dict[tuple[str, int], list[Any]] = {}
    for topic in COMMAND_TOPICS:
        target = COMMAND_TO_EVENT[topic.name]
        assert target.codec is not None
        for partition in range(PARTITIONS):
            last, events = 0, found.setdefault((topic.name, partition), [])
            for record in world.logs[target.name, partition]:
                event = target.codec.decode(record.value)
                if event.seq > last:
                    last = event.seq
                    events.append(event)
    return found


def _fact(event: Any) -> Fact:
    match event:
        case f.PasswordResetRequested() | f.ReportClosed():
            return Fact(type_of(event), event.at, "")
        case f.MessageSent():
            return Fact(type_of(event), event.at, event.sender, event.recipient)
        case f.MessageEdited() | f.MessageDeleted():
            return Fact(type_of(event), event.at, event.sender)
        case f.ConnectionEvent():
            return Fact(type_of(event), event.at, event.by, event.other)
        case _:
            return Fact(type_of(event), event.at, event.user)


def _changelogs(world: World) -> dict[str, dict[tuple[int, str], analytics.Row]]:
    """The rows of each table as a restart would find them."""
    found: dict[str, dict[tuple[int, str], analytics.Row]] = {}
    for name in analytics.TABLES:
        rows = found[name] = {}
        for partition, log in world.changelogs[changelog(name).name].partitions.items():
            for record in log:
                if (changelog(name).name, partition, record.offset) in world.removed:
                    continue
                place = partition, (record.key or b"").decode()
                row = analytics.decode_row(record.value or b"")
                if place not in rows or rows[place].seq <= row.seq:
                    rows[place] = row
    return found


def _view(name: str, rows: Mapping[tuple[int, str], analytics.Row]) -> dict[str, tuple[int, ...]]:
    return analytics.merge(analytics.TABLES[name], ((key, row.values) for (_, key), row in rows.items()))


def _assert_told(world: World, facts: list[Fact]) -> None:
    """Each notification is in its recipient's list once, and was raised and decided at least once."""
    kept = world.truth.notifications
    raised = {(event.recipient, event.notification) for event in _raised(world)}
    assert raised == set(kept)
    found: dict[tuple[str, str, str], int] = {}
    for each in kept.values():
        key = each.user, each.kind, each.about.get("user", each.user)
        # People to meet are met at a log-in a day after joining: when that is isn't counted here.
        if each.kind != notifications.SUGGESTIONS:
            found[key] = found.get(key, 0) + 1
    assert found == dict(counting.told(facts))
    decided = {(each.user, each.notification, each.channel) for each in world.deliveries.stored.values()}
    assert decided == {(*key, channel) for key in kept for channel in CHANNELS}
    asked = {delivery_requests.decode(each.value).id for each in _records(world, PUSH_REQUESTS)}
    asked |= {delivery_requests.decode(each.value).id for each in _records(world, WEBHOOK_REQUESTS)}
    asked |= {
        one.id for each in _records(world, MAIL_REQUESTS) if (one := mail_requests.decode(each.value)).notification
    }
    told = {each.id: each.state for each in world.deliveries.stored.values() if each.channel != "in_app"}
    assert {name for name, state in told.items() if state == "queued"} <= asked
    assert {told[name] for name in asked} <= {"queued", "seen"}


def _records(world: World, topic: Topic) -> list[MemoryRecord]:
    return [record for partition in range(PARTITIONS) for record in world.logs[topic.name, partition]]


def _raised(world: World) -> list[f.NotificationRaised]:
    return [
        notification_events.decode(record.value)
        for partition in range(PARTITIONS)
        for record in world.logs[NOTIFICATION_EVENTS.name, partition]
    ]


def _raised_once(world: World) -> list[f.NotificationRaised]:
    return list({event.notification: event for event in _raised(world)}.values())


# -- what people read


def _updates(world: World, events: list[Any]) -> list[Update]:
    return [update for event in [*events, *_raised_once(world)] for update in project(event)]
