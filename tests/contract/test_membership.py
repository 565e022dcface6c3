"""Static members of a group on the real Kafka: who comes back finds its partitions, and no name is had by two."""

import signal
import subprocess

import pytest

from tests.contract.copier import Assigned, Copier
from tests.contract.kafka_fixtures import PARTITIONS
from tests.waiting import until

ALL = set(range(PARTITIONS))


async def everything_is_copied(copier: Copier) -> None:
    """Put a record into each partition; whoever has it copies and commits it."""
    before = await copier.committed()
    for partition in ALL:
        await copier.put(partition, [b"x"])

    async def done() -> bool:
        return await copier.committed() == {partition: (before[partition] or 0) + 1 for partition in ALL}

    await until(done)


async def told(copier: Copier, process: subprocess.Popen[bytes], partitions: int) -> Assigned:
    """What the process was last given, once that is so many partitions."""

    def last() -> list[Assigned]:
        return [each for each in copier.assigned() if each.pid == process.pid][-1:]

    async def given() -> bool:
        return [len(each.partitions) for each in last()] == [partitions]

    await until(given)
    return last()[0]


async def pair(copier: Copier) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Two members that have half of the partitions each."""
    one = copier.launch(INSTANCE="one")
    await told(copier, one, PARTITIONS)
    two = copier.launch(INSTANCE="two")
    await told(copier, one, PARTITIONS // 2)
    await told(copier, two, PARTITIONS // 2)
    return one, two


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_who_comes_back_has_its_partitions_again_and_the_other_hears_nothing(
    copier: Copier, number: signal.Signals
) -> None:
    one, two = await pair(copier)
    for name, process in (("two", two), ("one", one)):
        other = one if name == "two" else copier.processes[-1]
        before = await told(copier, process, PARTITIONS // 2)
        heard = [each for each in copier.assigned() if each.pid == other.pid]
        process.send_signal(number)
        process.wait(20)
        again = copier.launch(INSTANCE=name)
        assert await told(copier, again, PARTITIONS // 2) == Assigned(again.pid, before.generation, before.partitions)
        await everything_is_copied(copier)
        assert [each for each in copier.assigned() if each.pid == other.pid] == heard


async def test_who_is_gone_for_good_leaves_its_partitions_to_the_other(copier: Copier) -> None:
    one, two = await pair(copier)
    two.terminate()
    two.wait(20)
    await told(copier, one, PARTITIONS)
    await everything_is_copied(copier)


async def test_of_two_with_one_name_the_older_ends_and_says_why(copier: Copier) -> None:
    older = copier.launch(INSTANCE="one")
    await told(copier, older, PARTITIONS)
    newer = copier.launch(INSTANCE="one")

    async def ended() -> bool:
        return older.poll() is not None

    await until(ended)
    assert older.returncode != 0
    assert "another process has joined" in copier.log.read_text()
    await everything_is_copied(copier)
    assert newer.poll() is None


async def test_who_was_replaced_while_it_stood_still_ends(copier: Copier) -> None:
    older = copier.launch(INSTANCE="one")
    await told(copier, older, PARTITIONS)
    older.send_signal(signal.SIGSTOP)
    newer = copier.launch(INSTANCE="one")
    await told(copier, newer, PARTITIONS)
    await everything_is_copied(copier)
    older.send_signal(signal.SIGCONT)

    async def ended() -> bool:
        return older.poll() is not None

    await until(ended)
    assert older.returncode != 0
    await everything_is_copied(copier)
    assert newer.poll() is None


async def test_who_stood_still_past_its_session_joins_again(copier: Copier) -> None:
    one, two = await pair(copier)
    two.send_signal(signal.SIGSTOP)
    await told(copier, one, PARTITIONS)
    two.send_signal(signal.SIGCONT)
    await told(copier, one, PARTITIONS // 2)
    await told(copier, two, PARTITIONS // 2)
    await everything_is_copied(copier)
    assert (one.poll(), two.poll()) == (None, None)


async def test_a_topic_that_is_read_from_a_restart_on_has_a_reader(copier: Copier) -> None:
    """The broker compares no subscriptions when a static member comes back."""
    one = copier.launch(INSTANCE="one")
    await told(copier, one, PARTITIONS)
    one.terminate()
    one.wait(20)
    again = copier.launch(INSTANCE="one", MORE=copier.target)
    await told(copier, again, 2 * PARTITIONS)
