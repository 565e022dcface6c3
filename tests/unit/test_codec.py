"""The wire: the shape of every record that is written, what a reader takes, and the topics that carry it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import Struct

from devconnect.adapters.kafka.session_ends import KEPT_MS
from devconnect.events import commands as c, facts as f, topics as t
from devconnect.events.base import Command, Event, pair_id, type_of
from devconnect.events.codec import Codec, CodecError
from devconnect.events.inbox import InboxEntry
from devconnect.events.parts import Closed, Erased, Part, Published

COMMANDS: tuple[type[Command], ...] = get_args(c.AnyCommand)
EVENTS: tuple[type[Event], ...] = get_args(f.AnyEvent)
#: What is said of windows, to gateways and to the mail: no events of anybody's.
OTHERS: tuple[type[Struct], ...] = (
    f.SessionEnded,
    f.MailRequested,
    f.DeliveryRequested,
    f.WindowClosed,
    InboxEntry,
    Part,
    Closed,
    Published,
)
TAGS = {kind.__struct_config__.tag: kind for kind in (*COMMANDS, *EVENTS, *OTHERS)}
FAMILIES = {
    "user",
    "connection",
    "message",
    "notification",
    "session",
    "mail",
    "delivery",
    "inbox",
    "window",
    "windows",
}
#: One record of each type as it is written. A change here is a change for everything that is in Kafka already:
#: raise `v` and give the codec a lift, unless the old records can still be read.
GOLDEN: list[dict[str, Any]] = json.loads(Path(__file__).with_name("golden_records.json").read_text())
CODECS: list[Codec[Any]] = list({id(topic.codec): topic.codec for topic in t.REGISTRY if topic.codec}.values())

golden = pytest.mark.parametrize("record", GOLDEN, ids=lambda record: record["type"])


def codec_of(record: dict[str, Any]) -> Codec[Any]:
    """The codec of the one topic that carries such a record."""
    [codec] = [codec for codec in CODECS if carries(codec, record)]
    return codec


def carries(codec: Codec[Any], record: dict[str, Any]) -> bool:
    try:
        codec.decode(written(record))
    except CodecError:
        return False
    return True


def written(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()


# -- the shape of what is written


def test_every_type_has_a_golden_record() -> None:
    assert Counter(record["type"] for record in GOLDEN) == Counter(list(TAGS))


@golden
def test_the_shape_of_a_record_is_the_golden_one(record: dict[str, Any]) -> None:
    codec = codec_of(record)
    value = codec.decode(written(record))
    assert type(value) is TAGS[record["type"]]
    assert type_of(value) == record["type"]
    assert json.loads(codec.encode(value)) == record


@golden
def test_a_record_says_the_version_that_its_type_has_now(record: dict[str, Any]) -> None:
    [field] = [field for field in msgspec.structs.fields(TAGS[record["type"]]) if field.name == "v"]
    assert record["v"] == field.default


@golden
def test_a_record_is_of_one_topic_only_and_refused_in_every_other(record: dict[str, Any]) -> None:
    assert sum(carries(codec, record) for codec in CODECS) == 1


def test_every_type_has_a_name_of_its_own_in_one_of_the_families() -> None:
    assert len(TAGS) == len(COMMANDS) + len(EVENTS) + len(OTHERS)
    for tag in TAGS:
        family, _, name = tag.partition(".")
        assert family in FAMILIES
        assert name


# -- what a reader refuses


@golden
def test_an_unknown_field_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(CodecError, match="unknown field `surprise`"):
        codec_of(record).decode(written({**record, "surprise": 1}))


def test_an_unknown_field_inside_a_profile_is_refused() -> None:
    [record] = [record for record in GOLDEN if record["type"] == "user.profile_changed"]
    with pytest.raises(CodecError, match="unknown field `surprise`"):
        t.user_events.decode(written({**record, "profile": {**record["profile"], "surprise": 1}}))


@golden
def test_a_field_of_the_wrong_type_is_refused_and_the_cause_names_type_and_field(record: dict[str, Any]) -> None:
    codec = codec_of(record)
    for field in record.keys() - {"type", "v", "data"}:  # what an entry says is any JSON here
        with pytest.raises(CodecError, match=rf"^{record['type']}: .*\$\.{field}"):
            codec.decode(written({**record, field: [{}]}))


@golden
def test_a_record_without_an_id_is_refused(record: dict[str, Any]) -> None:
    codec = codec_of(record)
    field = next(name for name in ("id", "table", "session") if name in record)
    with pytest.raises(CodecError, match=f"missing required field `{field}`"):
        codec.decode(written({key: value for key, value in record.items() if key != field}))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (None, "no value"),
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\xff", "not JSON"),
        (b'"\xff"', "not JSON"),
        (b'{"type":"user.log_out","\xff":1}', "not JSON"),
        (b'{"type":"nobody.knows", broken', "not JSON"),
        (b'{"type":"user.log_out","id":7,', "not JSON"),
        (b'{"type":"user.log_out","id":"\\ud800"}', "not JSON"),
        (b'{"type":"user.log_out","at":' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"type":"user.log_out","x":' + b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"7", "not a JSON object"),
        (b"{}", "unknown type None"),
        (b'{"type":"nobody.knows"}', "unknown type 'nobody.knows'"),
        (b'{"type":7}', "unknown type 7"),
        (b'{"type":["user.log_out"]}', "unknown type"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_whatever_the_bytes_are_the_refusal_is_a_codec_error(codec: Codec[Any], data: bytes | None, cause: str) -> None:
    """Anything else would stop the worker, again after each restart."""
    if data is None and codec is t.analytics_parts:
        assert codec.decode(data) == Erased()
        return
    with pytest.raises(CodecError) as caught:
        codec.decode(data)
    assert cause in str(caught.value) or "unknown type" in str(caught.value)
    str(caught.value).encode()


# -- versions


class Old(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="thing.named"):
    """As it was written once."""

    name: str
    v: int = 1


class Thing(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="thing.named"):
    """As it is written now: two names in place of one."""

    first: str
    last: str
    v: int = 3


class Other(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="thing.other"):
    """Of the same family, at its first version."""

    v: int = 1


def split_name(fields: dict[str, Any]) -> dict[str, Any]:
    first, last = fields.pop("name").split(" ")
    return {**fields, "first": first, "last": last}


def rename_first(fields: dict[str, Any]) -> dict[str, Any]:
    return {("first" if key == "given" else key): value for key, value in fields.items()}


LIFTED: Codec[Any] = Codec(Thing | Other, {("thing.named", 2): rename_first, ("thing.named", 1): split_name})


def test_a_record_of_the_version_before_is_lifted() -> None:
    old = {"type": "thing.named", "given": "Ann", "last": "Ba", "v": 2}
    assert LIFTED.decode(written(old)) == Thing("Ann", "Ba")


def test_a_record_of_a_version_further_back_is_lifted_step_by_step() -> None:
    assert LIFTED.decode(msgspec.json.encode(Old("Ann Ba"))) == Thing("Ann", "Ba")


def test_a_record_without_a_version_is_of_the_first() -> None:
    assert LIFTED.decode(b'{"type":"thing.named","name":"Ann Ba"}') == Thing("Ann", "Ba")


def test_an_old_record_that_fits_the_new_type_is_lifted_all_the_same() -> None:
    """What its fields meant may have changed."""
    codec: Codec[Any] = Codec(Thing, {("thing.named", 2): lambda fields: {**fields, "first": fields["first"].upper()}})
    assert codec.decode(written({"type": "thing.named", "first": "ann", "last": "Ba", "v": 2})) == Thing("ANN", "Ba")


def test_many_at_once_are_what_each_is_alone() -> None:
    """Old ones, ones that fit the type of now, and ones that are none."""
    codec: Codec[Any] = Codec(Thing, {("thing.named", 2): lambda fields: {**fields, "first": fields["first"].upper()}})
    old = written({"type": "thing.named", "first": "ann", "last": "Ba", "v": 2})
    now = written({"type": "thing.named", "first": "Cem", "last": "Da", "v": 3})
    assert codec.decode_all([now, old, now]) == [Thing("Cem", "Da"), Thing("ANN", "Ba"), Thing("Cem", "Da")]
    assert codec.decode_all([now, now]) == [Thing("Cem", "Da")] * 2
    assert codec.decode_all([]) == []


@pytest.mark.parametrize("bad", [None, b"", b"hello", b"\xff", b"[" * 100_000, b'{"type":"thing.named","v":9}'])
def test_one_among_many_that_can_not_be_decoded_is_a_codec_error(bad: bytes | None) -> None:
    now = written({"type": "thing.named", "first": "Cem", "last": "Da", "v": 3})
    with pytest.raises(CodecError):
        LIFTED.decode_all([now, bad, now])


def test_the_version_of_one_type_says_nothing_of_another() -> None:
    assert LIFTED.decode(b'{"type":"thing.other","v":1}') == Other()
    with pytest.raises(CodecError, match=r"thing.other of version 3: this reader knows up to 1"):
        LIFTED.decode(b'{"type":"thing.other","v":3}')


@pytest.mark.parametrize("version", [4, 400, "3", None, 2.5])
def test_a_version_that_is_too_new_or_no_number_is_refused(version: object) -> None:
    with pytest.raises(CodecError, match="this reader knows up to 3"):
        LIFTED.decode(written({"type": "thing.named", "first": "Ann", "last": "Ba", "v": version}))


@pytest.mark.parametrize("version", [0, -1, 1])
def test_a_version_from_which_no_way_leads_is_refused(version: int) -> None:
    codec: Codec[Any] = Codec(Thing, {("thing.named", 2): rename_first})
    with pytest.raises(CodecError, match=f"of version {version} is too old"):
        codec.decode(written({"type": "thing.named", "name": "Ann Ba", "v": version}))


@pytest.mark.parametrize("fields", [{}, {"name": 7}, {"name": None}, {"name": "Ann"}])
def test_an_old_record_that_can_not_be_lifted_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(CodecError, match=r"thing\.named of version 1 can't be lifted"):
        LIFTED.decode(written({"type": "thing.named", **fields}))


def test_a_lifted_record_is_checked_as_any_other() -> None:
    with pytest.raises(CodecError, match=r"thing\.named: .*unknown field `surprise`"):
        LIFTED.decode(b'{"type":"thing.named","name":"Ann Ba","surprise":1}')


# -- keys


#: Of a family, or of one type that differs from it. Tiers and roles are given in the partition of who gets them.
KEYS = {
    "user": "ann",
    "connection": "ann.bob",
    "message": "ann.bob",
    "notification": "bob",
    "inbox": "bob",
    "user.sign_up": "ann@x.org",
    "session.ended": "s1",
    "mail.requested": "ann",
    "delivery.requested": "bob",
    "window.closed": "messages_per_minute|1700000040000",
    "window.part": "active_users|1699999200000|user-events|3|1700002831000|1",
    "windows.closed": "active_users|user-events|3",
    "windows.published": "active_users",
}


@golden
def test_the_key_of_a_record_is_that_of_its_family(record: dict[str, Any]) -> None:
    kind = record["type"]
    assert codec_of(record).decode(written(record)).key == KEYS.get(kind, KEYS.get(kind.partition(".")[0]))


@pytest.mark.parametrize(("actor", "to"), [("ann", "bob"), ("bob", "ann")])
def test_both_people_of_a_pair_have_one_key(actor: str, to: str) -> None:
    common: dict[str, Any] = {"id": "c1", "actor": actor, "at": 1}
    for command in (
        c.RequestConnection(**common, to=to, interest="interested"),
        c.ReviewConnection(**common, requester=to, verdict="accepted"),
        c.RemoveConnection(**common, other=to),
        c.SendMessage(**common, to=to, text="Hello"),
        c.MarkDelivered(**common, peer=to, up_to=1),
        c.MarkRead(**common, peer=to, up_to=1),
    ):
        assert command.key == pair_id("ann", "bob") == "ann.bob"


def test_a_reset_is_asked_for_in_the_partition_of_the_account_and_of_nobody_in_some_partition() -> None:
    asked = c.RequestPasswordReset(id="c1", actor="gateway", at=1, email="ann@x", user="ann")
    assert (asked.key, msgspec.structs.replace(asked, user="").key) == ("ann", "ann@x")


# -- topics


def test_topics_have_names_of_their_own() -> None:
    names = [topic.name for topic in t.REGISTRY]
    assert len(set(names)) == len(names)


def test_every_topic_that_commands_and_events_travel_on_has_a_codec() -> None:
    without = {topic.name for topic in t.REGISTRY if topic.codec is None}
    assert without == {"dead-letters", *(t.changelog(table).name for table in t.TABLES)}


def test_a_command_its_event_and_what_is_counted_of_it_have_as_many_partitions() -> None:
    """All as many as PARTITIONS says; a number of its own would send an event to another partition than its command."""
    lined_up = [*t.COMMAND_TO_EVENT.values(), *(t.changelog(table) for table in t.TABLES), t.DEAD_LETTERS]
    assert all(topic.partitions is None for topic in lined_up)
    assert all(topic.partitions is None for topic in t.REGISTRY if topic.name in t.COMMAND_TO_EVENT)


@pytest.mark.parametrize("table", t.TABLES)
def test_the_changelog_of_a_table_is_compacted_and_registered(table: str) -> None:
    assert t.changelog(table) in t.REGISTRY
    assert t.changelog(table).config["cleanup.policy"] == "compact"


def test_ends_of_sessions_are_kept_longer_than_a_gateway_looks_back() -> None:
    assert int(t.SESSION_ENDS.config["retention.ms"]) > KEPT_MS


def test_what_read_models_are_built_from_is_kept_for_ever_and_nothing_else() -> None:
    kept = {topic.name for topic in t.REGISTRY if topic.config.get("retention.ms") == "-1"}
    assert kept == {topic.name for topic in (*t.EVENT_TOPICS, t.NOTIFICATION_EVENTS)}


def test_every_topic_says_who_writes_and_reads_it() -> None:
    assert all(topic.written_by and topic.read_by and topic.key for topic in t.REGISTRY)


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_every_command_travels_on_the_topic_whose_codec_knows_it(kind: type[Command]) -> None:
    [record] = [record for record in GOLDEN if record["type"] == kind.__struct_config__.tag]
    command = codec_of(record).decode(written(record))
    topic = t.topic_of(command)
    assert topic.codec is codec_of(record)
    assert topic.name in t.COMMAND_TO_EVENT
    assert topic.name.partition("-")[0] == type_of(command).partition(".")[0]
