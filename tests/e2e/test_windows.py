"""Windows close, are published once each with the right totals, and leave the tables in time, whoever is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from devconnect import stack
from devconnect.domain.analytics import DAY_MS, MESSAGES_PER_MINUTE, MINUTE_MS, WINDOWED, Table, touches
from devconnect.events import facts as f
from devconnect.events.base import pair_id, seq_of
from devconnect.events.topics import (
    ANALYTICS_EVENTS,
    CONNECTION_EVENTS,
    EVENT_TOPICS,
    MESSAGE_EVENTS,
    USER_EVENTS,
    analytics_events,
    changelog,
)
from devconnect.runner.plan import ROOT
from devconnect.stack import ports
from faust_batch.batch import Record
from faust_batch.changelog import read_to_end
from tests.e2e.people import join
from tests.e2e.system import System
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

CODECS = {topic.name: topic.codec for topic in EVENT_TOPICS if topic.codec is not None}
PARTITIONS = 3
#: Where a worker dies, one life after the other.
DEATHS = (
    "parts are given",
    "the mark is set",
    "parts are given",
    "the log is open",
    "all is sent",
    "all is committed",
)
PEOPLE = [f"{number:032x}" for number in range(40)]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """The servers alone: the test runs the analytics worker itself, and plays the command agents."""
    found = System(tmp_path, PARTITIONS=str(PARTITIONS), WINDOW_GRACE_SECONDS="1")
    for words in (("up",), ("topics", "create")):
        done = found.cli(*words, seconds=100)
        assert done.returncode == 0, done
    yield found
    done = found.cli("down")
    assert done.returncode == 0, done


@pytest.fixture
def workers(system: System, tmp_path: Path) -> Iterator[Sequence["Worker"]]:
    found = [Worker(system, tmp_path / f"worker{number}.log") for number in range(2)]
    yield found
    for worker in found:
        worker.end(signal.SIGKILL)


class Worker:
    """An analytics worker, as often as it is started."""

    def __init__(self, system: System, log: Path) -> None:
        path = f"{Path(__file__).with_name('mortal')}:{ROOT}"
        self._env = {**system.env, "PORT": str(ports.pick()), "PYTHONPATH": path}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, dies_at: str = "") -> None:
        """Start it; it lives until it is ended, or to that step."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.analytics"],
                env={**self._env, "DIES_AT": dies_at},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def dies(self) -> None:
        """Wait until it has killed itself."""
        assert self._process is not None
        process = self._process
        # A window ends every minute, if no other is left to close.
        wait_until(lambda: process.poll() is not None, 90, "its death")
        self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                os.kill(process.pid, number)
            code = process.wait(20)
            assert code in {0, -number}, self._log.read_text()[-3000:]


def history(now: int) -> dict[tuple[str, int], list[f.AnyEvent]]:
    """Events by topic and partition: some so old that no table of minutes keeps them, and the last half hour."""
    found: dict[tuple[str, int], list[f.AnyEvent]] = {}
    times = [now - 8 * DAY_MS + 7_000 * number for number in range(60)]
    times += [now - 30 * MINUTE_MS + 900 * number for number in range(1_900)]
    for number, at in enumerate(times):
        topic = (MESSAGE_EVENTS, MESSAGE_EVENTS, USER_EVENTS, CONNECTION_EVENTS)[number % 4]
        log = found.setdefault((topic.name, number // 4 % PARTITIONS), [])
        one, other = PEOPLE[number * 7 % 40], PEOPLE[(number * 7 + 1 + number % 11) % 40]
        common: dict[str, Any] = {"id": f"{topic.name}{number}.0", "seq": seq_of(len(log)), "at": at}
        if topic is MESSAGE_EVENTS:
            talk = {"conversation": pair_id(one, other), "message": f"m{number}", "text": "-", "previous": 0}
            log.append(f.MessageSent(**common, **talk, sender=one, recipient=other))
        elif topic is CONNECTION_EVENTS:
            log.append(f.ConnectionAccepted(**common, by=one, other=other))
        else:
            log.append(f.UserLoggedIn(**common, user=one, session="s", expires_at=at + DAY_MS))
    return found


def counted(table: Table, events: list[f.AnyEvent]) -> dict[int, dict[str, int]]:
    """The table's windows by an independent count."""
    sums: dict[int, Counter[str]] = {}
    members: dict[int, set[str]] = {}
    for event in events:
        for name, delta in touches(table, event):
            window, _, member = name.partition("|")
            members.setdefault(int(window), set()).add(member)
            sums.setdefault(int(window), Counter()).update(dict(zip(table.columns, delta, strict=True)))
    if table.shape == "distinct":
        return {window: {table.columns[0]: len(found)} for window, found in members.items()}
    return {window: {column: found[column] for column in table.columns} for window, found in sums.items()}


async def write(address: str, logs: dict[tuple[str, int], list[f.AnyEvent]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address, linger_ms=20) as producer:
        waiting = []
        for (topic, partition), events in logs.items():
            for event in events:
                value = CODECS[topic].encode(event)
                waiting.append(await producer.send(topic, value, event.key.encode(), partition=partition))
        await asyncio.gather(*waiting)


def written(system: System) -> tuple[str, int, list[f.AnyEvent]]:
    """Kafka's address, the time, and what has been written to the logs up to then."""
    address, now = stack.addresses(system.settings).kafka, time.time_ns() // 1_000_000
    logs = history(now)
    asyncio.run(write(address, logs))
    return address, now, [event for log in logs.values() for event in log]


async def read(address: str, topic: str) -> list[Record]:
    """Every record that a read_committed reader finds."""
    places = dict.fromkeys(range(PARTITIONS), 0)
    return [record async for chunk in read_to_end(address, topic, places, committed=True) for record in chunk.records]


def published(address: str) -> list[f.WindowClosed]:
    records = asyncio.run(read(address, ANALYTICS_EVENTS.name))
    return [analytics_events.decode(record.value) for record in records]


def expected_of(events: list[f.AnyEvent], now: int) -> dict[tuple[str, int], dict[str, int]]:
    """The windows that must be published by now, by table and start."""
    return {
        (table.name, window): values
        for table in WINDOWED.values()
        for window, values in counted(table, events).items()
        if window + table.window_ms <= now - MINUTE_MS
    }


def each_is_published_once(address: str, expected: dict[tuple[str, int], dict[str, int]]) -> None:
    """Wait for all of them, and hold them against the independent count."""
    wait_until(lambda: {(each.table, each.window) for each in published(address)} >= set(expected), 60, "every window")
    found = published(address)
    assert max(Counter(each.key for each in found).values()) == 1
    assert {key: each.values for each in found if (key := (each.table, each.window)) in expected} == expected
    assert all(each.size == WINDOWED[each.table].window_ms for each in found)


def test_each_window_is_published_once_with_the_right_totals_wherever_the_worker_is_killed(
    system: System, workers: Sequence[Worker]
) -> None:
    address, now, events = written(system)
    expected = expected_of(events, now)

    for step in DEATHS:
        workers[0].start(dies_at=step)
        workers[0].dies()
    workers[0].start()
    each_is_published_once(address, expected)

    kept_from = now - 7 * DAY_MS
    old = {window for name, window in expected if name == MESSAGES_PER_MINUTE.name and window < kept_from}
    assert old
    shown = json.loads(system.cli("tables", "show", "messages_per_minute", "--json").stdout)["items"]
    assert {int(row["minute"]): {"count": row["count"]} for row in shown} == {
        window: values for window, values in counted(MESSAGES_PER_MINUTE, events).items() if window not in old
    }
    records = asyncio.run(read(address, changelog(MESSAGES_PER_MINUTE.name).name))
    gone = {int(record.key.split(b"|")[1]) for record in records if record.value is None}
    assert gone == old
    workers[0].end(signal.SIGTERM)


def test_each_window_is_published_once_though_partitions_move_between_workers(
    system: System, workers: Sequence[Worker]
) -> None:
    address, now, events = written(system)
    workers[0].start()
    workers[1].start(dies_at="parts are given")
    workers[1].dies()
    each_is_published_once(address, expected_of(events, now))
    workers[0].end(signal.SIGTERM)


def test_what_people_do_is_published_when_its_minute_is_over(tmp_path: Path) -> None:
    """The whole fleet: nothing comes any more, so the clock closes the window, once all commands are decided."""
    with System(tmp_path, PARTITIONS=str(PARTITIONS), WINDOW_GRACE_SECONDS="0").running() as whole:
        ada, bob = join(whole, "Ada", "Bob")
        ada.connect(bob)
        for number in range(3):
            ada.say(bob, f"{number}")
        address = stack.addresses(whole.settings).kafka

        def messages() -> int:
            return sum(each.values["count"] for each in published(address) if each.table == MESSAGES_PER_MINUTE.name)

        wait_until(lambda: messages() == 3, 90, "the minutes of the messages")
