"""What a contender is told, and what it tells: a line of JSON each way."""

import sys

import msgspec
from msgspec import Struct


class Task(Struct, frozen=True, kw_only=True):
    """One run of one contender. It reads each partition of `topic` from its group's committed offset to `ends`."""

    bootstrap: str
    topic: str
    #: Partition -> offset where the run begins, and the one before which it ends.
    begins: dict[int, int]
    ends: dict[int, int]
    group: str
    #: The changelog topic of a contender that is ours; a peer names its own after its group.
    changelog: str
    #: A folder of the contender's own, kept from run to run where the group is.
    folder: str
    #: Wait for the word `go` before the first record is worked on.
    gated: bool = False

    @property
    def events(self) -> int:
        """Records of the run."""
        return sum(self.ends.values()) - sum(self.begins.values())


class Outcome(Struct, kw_only=True):
    """How a run went: seconds on the machine's monotonic clock, which all processes share."""

    #: Records worked on in this process.
    events: int
    #: The first record was in the contender's hands.
    began: float
    #: Half of the records were.
    half: float
    #: Every output was acknowledged by the broker, the offsets too.
    ended: float
    #: What else it has to say: versions, settings.
    notes: dict[str, str] = {}


class Assigned(Struct):
    """The partitions that a gated contender has now."""

    assigned: list[int]


def read_task() -> Task:
    """The task, from the first line of stdin."""
    return msgspec.json.decode(sys.stdin.readline(), type=Task)


def tell(message: Outcome | Assigned) -> None:
    """One line to whoever started us."""
    sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
    sys.stdout.flush()
