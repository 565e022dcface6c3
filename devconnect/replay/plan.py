"""What the meetings mean, and what must come of them: pure, one pass, in the order of the file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from devconnect.replay.trace import Meeting


class Step(NamedTuple):
    """One row as clients do it.

    The first meeting of a pair is a request by the first person and an acceptance by the second; each later one is a
    message from the first to the second, whichever of the two asked once.
    """

    meeting: Meeting
    connects: bool

    @property
    def pair(self) -> frozenset[str]:
        """Steps of one pair are done one after the other."""
        return frozenset((self.meeting.first, self.meeting.second))


def steps(meetings: Iterable[Meeting]) -> Iterator[Step]:
    """A step for each meeting; remembers the pairs, not the rows."""
    met: set[frozenset[str]] = set()
    for meeting in meetings:
        pair = frozenset((meeting.first, meeting.second))
        yield Step(meeting, pair not in met)
        met.add(pair)


@dataclass(slots=True)
class Activity:
    """What one person has done, column by column as in the table `user_activity`."""

    messages_sent: int = 0
    messages_received: int = 0
    requests_sent: int = 0
    connections: int = 0


#: The columns of `Activity`.
COLUMNS = tuple(column.name for column in fields(Activity))


@dataclass(slots=True)
class Tally:
    """What must be in the tables once all rows are played."""

    rows: int = 0
    connections: int = 0
    messages: int = 0
    people: dict[str, Activity] = field(default_factory=dict)

    def count(self, step: Step) -> None:
        """Adds one row."""
        first = self.people.setdefault(step.meeting.first, Activity())
        second = self.people.setdefault(step.meeting.second, Activity())
        self.rows += 1
        if step.connects:
            self.connections += 1
            first.requests_sent += 1
            first.connections += 1
            second.connections += 1
        else:
            self.messages += 1
            first.messages_sent += 1
            second.messages_received += 1

    def events(self) -> dict[str, int]:
        """Event type -> how many the rows cause, each person's sign-up and log-in among them."""
        return {
            "user.signed_up": len(self.people),
            "user.logged_in": len(self.people),
            "connection.requested": self.connections,
            "connection.accepted": self.connections,
            "message.sent": self.messages,
        }


def tally(meetings: Iterable[Meeting]) -> Tally:
    """What all of these meetings come to."""
    total = Tally()
    for step in steps(meetings):
        total.count(step)
    return total
