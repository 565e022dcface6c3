"""Who takes part in `bench fleet`: how each is started, and how its result is held against the recording."""

from typing import NamedTuple

from bench.recording import Expected
from bench.rig import environment, python
from bench.task import Task
from devconnect.settings import Settings
from devconnect.stack import Addresses


class Ground(NamedTuple):
    """What all of them run on."""

    settings: Settings
    addresses: Addresses

    @property
    def partitions(self) -> int:
        """Partitions of every topic."""
        return self.settings.partitions

    def env(self) -> dict[str, str]:
        """The environment of each process."""
        return environment(self.settings, self.addresses)


class Contender:
    """One of them. Subclasses say what is made ready before a run, and what must be there after it."""

    def __init__(self, name: str, module: str, *arguments: str) -> None:
        self.name = name
        self.module = module
        self.arguments = arguments

    def make_ready(self, ground: Ground) -> None:
        """Fetch what it needs, once; BenchError when it can't take part on this machine, and why."""

    def command(self, ground: Ground, task: Task) -> list[str]:
        """Its command line."""
        return [*python(self.module), *self.arguments]

    async def prepare(self, ground: Ground, task: Task) -> None:
        """Make ready what a first run of this task's group needs."""

    async def check(self, ground: Ground, task: Task, expected: Expected) -> int:
        """BenchError unless its outputs are as expected; the records it has written to its changelog."""
        return 0
