"""The embedded Kafka alone, for the tests that need nothing else."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from devconnect import stack
from devconnect.adapters.kafka.topics import ensure_topics
from devconnect.settings import Settings
from devconnect.stack.kafka import Kafka
from devconnect.stack.starter import Starter

PARTITIONS = 4


class Broker:
    """The embedded Kafka alone."""

    def __init__(self, settings: Settings) -> None:
        self.part = Kafka(settings)
        self.settings = settings
        self.port = 0

    def start(self) -> None:
        self.address = Starter(self.part, lambda _: None).start(self.port or stack.ports.pick())
        record = self.part.record()
        assert record is not None
        self.port, self.pid = record.port, record.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("kafka") / "data"
    made = Broker(Settings.load({"DATA_DIR": str(folder), "PARTITIONS": str(PARTITIONS)}))
    made.start()
    asyncio.run(ensure_topics(made.address, made.settings))
    yield made
    stack.stop(made.settings)
