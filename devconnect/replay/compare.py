"""What the file says against what the tables say: pure."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from devconnect.replay.plan import COLUMNS, Activity, Tally


class Counts(NamedTuple):
    """The tables that count everybody's events: `events_by_type`, and the sum of `messages_per_minute`."""

    events: Mapping[str, int]
    minutes: int


class Seen(NamedTuple):
    """The tables as they were read: the counts of everybody, and the activity of the people of this run."""

    counts: Counts
    activity: Mapping[str, Activity]


class Difference(Struct, frozen=True):
    """One number that isn't what the file says. `key` is a row's, as the file names it."""

    table: str
    key: str
    column: str
    expected: int
    found: int


def compare(expected: Tally, before: Counts, seen: Seen) -> list[Difference]:
    """Every difference: first the totals, then person by person in the file's order.

    The tables of everybody's events may hold earlier data, so that what they have grown by since `before` counts.
    """
    found = _Differences()
    activity = seen.activity
    found.check("user_activity", "all", "users", len(expected.people), len(activity))
    found.check(
        "user_activity",
        "all",
        "connections",
        2 * expected.connections,
        sum(row.connections for row in activity.values()),
    )
    found.check(
        "user_activity", "all", "messages", expected.messages, sum(row.messages_sent for row in activity.values())
    )
    for kind, count in expected.events().items():
        grown = seen.counts.events.get(kind, 0) - before.events.get(kind, 0)
        found.check("events_by_type", kind, "count", count, grown)
    found.check("messages_per_minute", "all", "count", expected.messages, seen.counts.minutes - before.minutes)
    for person, due in expected.people.items():
        row = activity.get(person, Activity())
        for column in COLUMNS:
            found.check("user_activity", person, column, getattr(due, column), getattr(row, column))
    return found.all


def others_wrote(differences: list[Difference]) -> bool:
    """Whether all that differs is that everybody's tables have grown by more than this run: others write, too."""
    return bool(differences) and all(
        each.table != "user_activity" and each.found > each.expected for each in differences
    )


class _Differences:
    def __init__(self) -> None:
        self.all: list[Difference] = []

    def check(self, table: str, key: str, column: str, expected: int, found: int) -> None:
        if expected != found:
            self.all.append(Difference(table, key, column, expected, found))
