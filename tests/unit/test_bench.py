"""The benchmarks' own arithmetic: what is recorded, what is expected of it, and what a report comes to."""

import pytest

from bench import changelogs, commands, feed, fleet, reads
from bench.recording import Recorder
from bench.rig import BenchError
from bench.runs import Result, Run, summed_up
from devconnect.adapters.kafka.gateway import partition_for
from devconnect.domain.model import Conversation, Message
from devconnect.domain.projections import AppendMessage
from devconnect.events.base import seq_of
from devconnect.events.commands import MarkRead, SendMessage

PARTITIONS = 4


def recorder(seed: int = 1) -> Recorder:
    return Recorder(300, PARTITIONS, seed=seed, began_at=1_000)


def test_the_same_seed_records_the_same_events() -> None:
    assert list(recorder().any(500)) == list(recorder().any(500))
    assert list(recorder().any(500)) != list(recorder(seed=2).any(500))


def test_in_each_partition_the_clock_rises_and_a_conversation_is_in_one() -> None:
    clocks = dict.fromkeys(range(PARTITIONS), 0)
    homes: dict[str, int] = {}
    tails: dict[str, int] = {}
    for partition, event in recorder().any(2_000):
        assert partition == partition_for(event.sender, PARTITIONS)
        assert event.sender != event.recipient
        assert event.seq > clocks[partition]
        assert homes.setdefault(event.conversation, partition) == partition
        assert event.previous == tails.get(event.conversation, 0)
        clocks[partition] = tails[event.conversation] = event.seq


def test_what_is_expected_is_what_was_recorded() -> None:
    made = recorder()
    events = [event for _, event in made.each_once()] + [event for _, event in made.any(1_000)]
    assert made.expected.events == len(events) == 1_300
    assert sum(made.expected.ends.values()) == len(events)
    assert len(made.expected.sent) == 300
    for event in events:
        assert made.expected.last_at[event.sender] >= event.at
    assert made.expected.sent == {
        user: sum(1 for event in events if event.sender == user) for user in made.expected.sent
    }


def test_a_state_that_is_wrong_is_told_with_an_example() -> None:
    changelogs.differ({"a": 1}, {"a": 1}, "the count of")
    with pytest.raises(BenchError, match="wrong for 1 of 2 keys: the count of b is 3, not 2"):
        changelogs.differ({"a": 1, "b": 3}, {"a": 1, "b": 2}, "the count of")
    with pytest.raises(BenchError, match="b is None, not 2"):
        changelogs.differ({}, {"b": 2}, "the count of")


def test_a_result_is_the_median_and_ratios_are_against_the_fastest_peer() -> None:
    def result(*rates: float) -> Result:
        return summed_up(
            [
                Run(events_per_second=rate, seconds=1.0, second_half=rate, memory=1, changelog_records=0)
                for rate in rates
            ]
        )

    ours = result(90.0, 100.0, 140.0)
    assert (ours.events_per_second, ours.spread) == (100.0, 0.5)
    results = {"ours_stateful": ours, "quix": result(20.0), "kafka_streams": result(25.0), "faust": Result(absent="no")}
    assert fleet.ratios(results) == {"ours_stateful / fastest peer": 4.0}


def test_a_talk_is_repeatable_and_marks_only_what_was_said_to_its_reader() -> None:
    options = commands.Options(commands=2_000, conversations=20, rounds=1, partitions=PARTITIONS, seed=1)
    talk, again = commands.Talk(options), commands.Talk(options)
    said: dict[str, set[int]] = {}
    offsets = dict.fromkeys(range(PARTITIONS), 0)
    marks = 0
    found = list(talk.commands(2_000))
    for partition, command in found:
        assert partition == partition_for(command.key, PARTITIONS)
        if isinstance(command, SendMessage):
            said.setdefault(command.to, set()).add(seq_of(offsets[partition]))
        else:
            assert isinstance(command, MarkRead)
            assert command.up_to in said[command.actor]
            marks += 1
        offsets[partition] += 1
    assert offsets == talk.ends
    assert 0 < marks < 400
    assert [(partition, command.id) for partition, command in again.commands(2_000)] == [
        (partition, command.id) for partition, command in found
    ]


def test_the_people_of_the_reads_are_the_same_in_both_stores_and_their_talks_are_a_page() -> None:
    data = reads.DataSet(40)
    updates, documents = reads.effects(data.events())
    messages = {each.id for each in documents if isinstance(each, Message)}
    talks = [each for each in documents if isinstance(each, Conversation)]
    assert {each.id for each in talks} == {each.conversation for each in updates if isinstance(each, AppendMessage)}
    assert all(each.count == reads.PAGE for each in talks)
    assert len(messages) == len(talks) * reads.PAGE == sum(isinstance(each, AppendMessage) for each in updates)


def test_people_of_one_seed_are_the_same_and_a_third_have_the_first_skill() -> None:
    people = list(feed.People(1).listed(5_000))
    assert people == list(feed.People(1).listed(5_000))
    assert len({person.user for person in people}) == 5_000
    held = sum("skill-0" in person.skills for person in people) / 5_000
    assert 0.3 < held < 0.37
    assert all(len(set(person.skills)) == len(person.skills) > 0 for person in people)


def test_the_ratios_of_the_feed_are_of_the_most_users_over_the_fewest() -> None:
    def size(users: int, figure: float) -> feed.Size:
        pages = feed.Pages(
            p50_ms=figure, p99_ms=3 * figure, reader_ms=1, redis_ms=figure, people=10, commands=20, samples=5
        )
        each = dict.fromkeys(feed.KINDS, pages)
        figures = {"fill_seconds": 1, "fill_processor_seconds": 1, "memory_mb": 1, "popular": 0.3, "ranked": 400}
        return feed.Size(users=users, **figures, **each)

    found = feed.ratios([size(1_000, 8), size(10, 2), size(100, 50)])
    assert found["first p50"] == found["behind p99"] == 4
    assert found["following processor"] == 3
    assert found["first commands"] == 1
