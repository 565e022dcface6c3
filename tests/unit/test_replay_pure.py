"""The replay's pure parts: a trace is read line by line, comes to these numbers, and any other number is told."""

import random
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from devconnect.replay.client import Measured
from devconnect.replay.compare import Counts, Difference, Seen, compare, others_wrote
from devconnect.replay.people import address
from devconnect.replay.plan import Activity, Tally, steps, tally
from devconnect.replay.report import lines, percentile, summarize
from devconnect.replay.trace import Meeting, TraceError, parse, read

ROWS = [
    b"1291597340\t1157\t1232\tMED\tADM\r\n",
    b"1291597360\t1232\t1157\tADM\tMED\n",
    b"1291597700\t1157\t9\tMED\tPAT",
]

NOTHING = Counts({}, 0)


def meetings(*pairs: str) -> list[Meeting]:
    return [Meeting(number, 100 + number, one, other, "A", "B") for number, (one, other) in enumerate(pairs, 1)]


def seen(total: Tally, before: Counts = NOTHING) -> Seen:
    events = {kind: count + before.events.get(kind, 0) for kind, count in total.events().items()}
    return Seen(Counts({**before.events, **events}, before.minutes + total.messages), dict(total.people))


def test_a_row_is_read_with_either_line_end() -> None:
    found = list(parse(ROWS))
    assert found[0] == Meeting(1, 1291597340, "1157", "1232", "MED", "ADM")
    assert found[2] == Meeting(3, 1291597700, "1157", "9", "MED", "PAT")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"1\ta\tb\tg", "line 3: 4 columns where five are expected"),
        (b"noon\ta\tb\tg\th", "line 3: the time is 'noon'"),
        (b"-1\ta\tb\tg\th", "line 3: the time is '-1'"),
        (b"1\ta\t\tg\th", "line 3: '' names no person or group"),
        (b"1\ta\ta\tg\th", "line 3: a meets themselves"),
        (b"1\t" + b"a" * 51 + b"\tb\tg\th", "line 3: 'a"),
        (b"1\ta\tb\x07\tg\th", "names no person or group"),
        (b"1\t\xff\tb\tg\th", "line 3: not UTF-8"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_what_is_expected(row: bytes, words: str) -> None:
    with pytest.raises(TraceError, match=words.replace("(", r"\(")):
        list(parse([ROWS[0], b"\n", row]))


def test_a_file_is_read_no_further_than_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_bytes(ROWS[0] + b"nonsense\n")
    assert len(list(read(file, 1))) == 1
    with pytest.raises(TraceError, match="line 2"):
        list(read(file))
    with pytest.raises(TraceError, match="can't be read"):
        list(read(tmp_path / "none"))


def test_the_first_meeting_of_a_pair_connects_and_each_later_one_is_a_message_of_its_own_first() -> None:
    done = [(step.meeting.first, step.connects) for step in steps(meetings("ab", "ba", "ac", "ab"))]
    assert done == [("a", True), ("b", False), ("a", True), ("a", False)]


def test_the_tally_counts_both_sides() -> None:
    total = tally(meetings("ab", "ba", "ac", "ab"))
    assert (total.rows, total.connections, total.messages) == (4, 2, 2)
    assert total.people == {
        "a": Activity(messages_sent=1, messages_received=1, requests_sent=2, connections=2),
        "b": Activity(messages_sent=1, messages_received=1, requests_sent=0, connections=1),
        "c": Activity(messages_sent=0, messages_received=0, requests_sent=0, connections=1),
    }
    assert total.events()["user.signed_up"] == 3


names = st.sampled_from("abcdefg")
pairs = st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]).map("".join)


@given(st.lists(pairs, max_size=60))
def test_every_row_is_either_a_connection_or_a_message_and_every_message_has_two_ends(rows: list[str]) -> None:
    total = tally(meetings(*rows))
    people = total.people.values()
    assert total.connections + total.messages == total.rows == len(rows)
    assert sum(row.messages_sent for row in people) == sum(row.messages_received for row in people) == total.messages
    assert sum(row.connections for row in people) == 2 * total.connections == 2 * len({frozenset(row) for row in rows})


@given(st.lists(pairs, max_size=30))
def test_tables_that_say_what_the_file_says_are_equal_whatever_they_held_before(rows: list[str]) -> None:
    total = tally(meetings(*rows))
    before = Counts({"message.sent": 7, "user.signed_up": 3, "user.tier_changed": 2}, 7)
    assert compare(total, before, seen(total, before)) == []


@given(st.lists(pairs, min_size=1, max_size=30), st.randoms(use_true_random=False), st.sampled_from((-1, 1)))
def test_one_count_too_many_or_too_few_is_a_difference(rows: list[str], pick: random.Random, by: int) -> None:
    total = tally(meetings(*rows))
    found = seen(total)
    person = pick.choice(sorted(total.people))
    column = pick.choice(("messages_sent", "messages_received", "requests_sent", "connections"))
    row = Activity(**{name: getattr(total.people[person], name) for name in Activity.__slots__})
    setattr(row, column, getattr(row, column) + by)
    told = compare(total, NOTHING, Seen(found.counts, {**found.activity, person: row}))
    expected = getattr(total.people[person], column)
    assert Difference("user_activity", person, column, expected, expected + by) in told


def test_a_person_who_is_missing_is_told() -> None:
    total = tally(meetings("ab", "ab"))
    found = seen(total)
    told = compare(total, NOTHING, Seen(found.counts, {"a": found.activity["a"]}))
    assert Difference("user_activity", "all", "users", 2, 1) in told
    assert Difference("user_activity", "b", "messages_received", 1, 0) in told


def test_growth_beyond_this_run_is_told_as_somebody_else_writing() -> None:
    total = tally(meetings("ab", "ab"))
    more = compare(
        total, Counts({"message.sent": 0}, 0), Seen(Counts({**total.events(), "message.sent": 5}, 5), total.people)
    )
    assert [each.found for each in more] == [5, 5]
    assert others_wrote(more)
    fewer = compare(total, NOTHING, Seen(Counts({}, 0), total.people))
    assert fewer
    assert not others_wrote(fewer)
    assert not others_wrote([])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)])
def test_percentiles_by_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == expected


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.99) == 0.0


def test_the_summary_shows_ten_differences_of_all() -> None:
    total = tally(meetings("ab"))
    differences = [Difference("user_activity", str(number), "connections", 1, 2) for number in range(25)]
    summary = summarize("run", total, Measured(), seconds=1.0, differences=differences, failures=[])
    assert (summary.equal, summary.difference_count, len(summary.differences)) == (False, 25, 10)
    assert sum("expected 1, found 2" in line for line in lines(summary)) == 10
    assert "exactly" in list(lines(summarize("run", total, Measured(), seconds=1.0, differences=[], failures=[])))[-1]


def test_addresses_are_readable_and_different_for_each_person_and_run() -> None:
    assert address("1157", 0, "ab12") == "1157.ab12@example.org"
    assert len({address(name, number, "x") for number, name in enumerate(["A", "a", "á", "person.0", "b b"])}) == 5
