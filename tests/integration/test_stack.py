"""The embedded stack, for real: what was acknowledged is there after any end, and no process stays behind."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import MongoClient

from devconnect import stack
from devconnect.settings import Settings
from devconnect.stack import Addresses, PartStatus, Progress, StackError
from tests.waiting import wait_until

TOPIC = "kept"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    made = Settings.load({"DATA_DIR": str(tmp_path_factory.mktemp("stack") / "data")})
    yield made
    stack.stop(made)


@pytest.fixture
def running(settings: Settings) -> Addresses:
    found = stack.start(settings)
    asyncio.run(make_topic(found))
    return found


def part(settings: Settings, name: str) -> PartStatus:
    return next(each for each in stack.status(settings) if each.name == name)


def pids(settings: Settings) -> dict[str, int]:
    return {each.name: each.pid for each in stack.status(settings) if each.pid}


def alive(pid: int) -> bool:
    """A zombie, which waits for its parent (this process) to look at it, is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def cli(settings: Settings, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_PORT"))}
    return subprocess.run(
        [sys.executable, "-m", "devconnect", *arguments],
        env={**own, "DATA_DIR": str(settings.data_dir), **env},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


async def make_topic(at: Addresses) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=at.kafka)
    await client.start()
    if TOPIC not in await client.list_topics():
        await client.create_topics([NewTopic(TOPIC, 1, 1)])
    await client.close()


async def kafka_values(at: Addresses) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=at.kafka)
    await consumer.start()
    try:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, 0)
        values: list[bytes] = []
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                values += [record.value for record in records]
        return values
    finally:
        await consumer.stop()


async def write_until_killed(at: Addresses, pid: int, prefix: str) -> list[bytes]:
    """Writes record after record, kills the broker in the middle of it, and returns the acknowledged ones."""
    producer = AIOKafkaProducer(bootstrap_servers=at.kafka, acks="all", enable_idempotence=True)
    await producer.start()
    acknowledged: list[bytes] = []

    async def write(number: int) -> None:
        value = f"{prefix}-{number}".encode()
        await producer.send_and_wait(TOPIC, value)
        acknowledged.append(value)

    tasks = [asyncio.create_task(write(number)) for number in range(5000)]
    while len(acknowledged) < 500:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        tasks = [task for task in tasks if not task.done()]
    os.kill(pid, 9)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    stopping = asyncio.create_task(producer.stop())
    await asyncio.wait([stopping], timeout=1)  # it may wait for a broker that is gone
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    return acknowledged


def test_what_kafka_acknowledged_survives_kill_9(settings: Settings, running: Addresses) -> None:
    others = {name: pid for name, pid in pids(settings).items() if name != "kafka"}
    acknowledged = asyncio.run(write_until_killed(running, pids(settings)["kafka"], "kill"))
    began = time.monotonic()
    again = stack.start(settings)
    assert time.monotonic() - began < 15
    kept = asyncio.run(kafka_values(again))
    assert set(acknowledged) <= set(kept)
    assert again == running, "the ports of last time are used again"
    assert {name: pid for name, pid in pids(settings).items() if name != "kafka"} == others


def test_what_redis_acknowledged_survives_kill_9(settings: Settings, running: Addresses) -> None:
    client = redis.Redis.from_url(running.redis)
    for number in range(1000):
        client.set(f"kill:{number}", number)
    os.kill(pids(settings)["redis"], 9)
    again = redis.Redis.from_url(stack.start(settings).redis)
    assert again.mget([f"kill:{number}" for number in range(1000)]) == [str(n).encode() for n in range(1000)]
    assert again.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    assert again.config_get("appendfsync")["appendfsync"] == "everysec"


def test_what_mongo_acknowledged_survives_kill_9(settings: Settings, running: Addresses) -> None:
    with MongoClient[dict[str, object]](running.mongo) as client:
        for number in range(500):
            client.t.kept.insert_one({"_id": f"kill:{number}"})
    os.kill(pids(settings)["mongo"], 9)
    with MongoClient[dict[str, object]](stack.start(settings).mongo) as client:
        found = client.t.kept.find({"_id": {"$in": [f"kill:{number}" for number in range(500)]}})
        assert len(list(found)) == 500


def test_all_of_it_survives_a_clean_stop_and_a_second_start_is_quick(settings: Settings, running: Addresses) -> None:
    async def write() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=running.kafka, acks="all")
        await producer.start()
        await producer.send_and_wait(TOPIC, b"clean")
        await producer.stop()

    asyncio.run(write())
    redis.Redis.from_url(running.redis).set("clean", "1")
    with MongoClient[dict[str, object]](running.mongo) as client:
        client.t.kept.update_one({"_id": "clean"}, {"$set": {"n": 1}}, upsert=True)
    old = pids(settings)
    stack.stop(settings)
    assert not any(alive(pid) for pid in old.values())
    began = time.monotonic()
    again = stack.start(settings)
    assert time.monotonic() - began < 6
    assert again == running
    assert b"clean" in asyncio.run(kafka_values(again))
    assert redis.Redis.from_url(again.redis).get("clean") == b"1"
    with MongoClient[dict[str, object]](again.mongo) as client:
        assert client.t.kept.find_one({"_id": "clean"}) == {"_id": "clean", "n": 1}


def test_a_dead_part_is_shown_and_only_it_is_started_again(settings: Settings, running: Addresses) -> None:
    before = pids(settings)
    os.kill(before["redis"], 9)
    wait_until(lambda: not part(settings, "redis").ready)
    assert part(settings, "redis").detail.startswith("died")
    with pytest.raises(StackError, match=r"redis.*died"):
        stack.addresses(settings)
    steps: list[Progress] = []
    stack.start(settings, on_progress=steps.append)
    said = {step.part: step.text for step in steps if step.stage == "ready"}
    assert said == {"kafka": "already running", "redis": "started", "mongo": "already running"}
    after = pids(settings)
    assert (after["kafka"], after["mongo"]) == (before["kafka"], before["mongo"])
    assert stack.addresses(settings) == running


def test_topics_are_never_made_by_accident(running: Addresses) -> None:
    async def ask() -> set[str]:
        consumer = AIOKafkaConsumer("nobody-made-this", bootstrap_servers=running.kafka)
        starting = asyncio.create_task(consumer.start())
        await asyncio.wait([starting], timeout=2)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        topics: set[str] = await consumer.topics()
        await consumer.stop()
        return topics

    assert "nobody-made-this" not in asyncio.run(ask())


def test_a_stop_then_other_ports_in_use_still_starts(settings: Settings, running: Addresses) -> None:
    """Last time's ports, Kafka's controller among them, are taken by others: new ones are used, and data is there."""
    import socket
    from contextlib import ExitStack

    from devconnect.stack.lifecycle import parts

    redis.Redis.from_url(running.redis).set("moved", "1")
    stack.stop(settings)
    with ExitStack() as others:
        for each in parts(settings):
            record = each.record()
            assert record is not None
            for port in (record.port, *record.extra_ports.values()):
                server = others.enter_context(socket.socket())
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                server.bind(("127.0.0.1", port))
                server.listen()
        moved = stack.start(settings)
        assert not {moved.kafka, moved.redis, moved.mongo} & {running.kafka, running.redis, running.mongo}
        assert redis.Redis.from_url(moved.redis).get("moved") == b"1"
        assert asyncio.run(kafka_values(moved))


def test_the_command_line_shows_starts_and_stops(settings: Settings, running: Addresses) -> None:
    shown = cli(settings, "status", "--json")
    assert shown.returncode == 0, shown.stderr
    every = json.loads(shown.stdout)["parts"]
    assert [each["name"] for each in every] == ["kafka", "redis", "mongo"]
    assert all(each[field] for each in every for field in ("ready", "pid", "port", "memory_mb", "version"))
    ended = cli(settings, "down")
    assert ended.returncode == 0
    assert ended.stdout.count("ended (pid") == 3
    assert not any(alive(each["pid"]) for each in every)
    assert cli(settings, "down").stdout == "nothing was running\n"
    assert cli(settings, "status").returncode == 1
    started = cli(settings, "up", "--json")
    assert started.returncode == 0, started.stderr
    found = json.loads(started.stdout)
    assert found["seconds"] < 6
    assert found["addresses"]["kafka"] == stack.addresses(settings).kafka


def test_two_ups_at_once_start_one_stack(settings: Settings, running: Addresses) -> None:
    stack.stop(settings)
    command = [sys.executable, "-m", "devconnect", "up", "--json"]
    env = {**os.environ, "DATA_DIR": str(settings.data_dir)}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = [json.loads(each.communicate(timeout=60)[0]) for each in both]
    assert found[0]["addresses"] == found[1]["addresses"]
    assert {each["part"]: each["pid"] for each in found[0]["parts"]} == pids(settings)


def test_a_url_replaces_a_part(settings: Settings, running: Addresses, tmp_path: Path) -> None:
    """A second stack that borrows all three parts of the first starts nothing, and stopping it stops nothing."""
    urls = {"KAFKA_URL": f"kafka://{running.kafka}", "REDIS_URL": running.redis, "MONGO_URL": running.mongo}
    borrowed = Settings.load({"DATA_DIR": str(tmp_path / "other"), **urls})
    assert stack.start(borrowed) == running
    shown = stack.status(borrowed)
    assert all(each.external and each.ready and each.pid is None for each in shown)
    stack.stop(borrowed)
    assert all(each.ready for each in stack.status(settings))


def test_nothing_is_written_outside_the_data_folder(settings: Settings, running: Addresses) -> None:
    for name, pid in pids(settings).items():
        for file in psutil.Process(pid).open_files():
            ours = file.path.startswith((str(settings.data_dir), "/dev/"))
            assert ours or file.mode == "r", (name, file)
