"""An independent count: what the tables must hold, from what people were told has happened. Knows nothing of folds."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


class Fact(NamedTuple):
    """What was accepted: the event's type, its time (ms), who did it ("": nobody), and to whom where that is."""

    type: str
    at: int
    by: str
    other: str = ""


#: Columns of user_activity.
SENT, RECEIVED, REQUESTS, CONNECTIONS = range(4)
#: What daily_totals counts, in the order of its columns.
DAILY = ("user.signed_up", "user.logged_in", "connection.accepted", "message.sent")


def count(facts: Iterable[Fact]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Table -> key -> values."""
    types: Counter[str] = Counter()
    minutes: Counter[int] = Counter()
    people: dict[str, list[int]] = {}
    hours: dict[int, set[str]] = defaultdict(set)
    days: dict[int, list[int]] = {}
    for fact in facts:
        types[fact.type] += 1
        if fact.type in DAILY:
            days.setdefault(fact.at // DAY_MS * DAY_MS, [0, 0, 0, 0])[DAILY.index(fact.type)] += 1
        if fact.by:
            hours[fact.at // HOUR_MS * HOUR_MS].add(fact.by)
        if fact.type == "message.sent":
            minutes[fact.at // MINUTE_MS * MINUTE_MS] += 1
        for who, column, by in _activity(fact):
            people.setdefault(who, [0, 0, 0, 0])[column] += by
    return {
        "events_by_type": {name: (times,) for name, times in types.items()},
        "messages_per_minute": {str(minute): (times,) for minute, times in minutes.items()},
        "active_users": {str(hour): (len(users),) for hour, users in hours.items()},
        "daily_totals": {str(day): tuple(columns) for day, columns in days.items()},
        "user_activity": {who: tuple(columns) for who, columns in people.items()},
    }


def _activity(fact: Fact) -> list[tuple[str, int, int]]:
    match fact.type:
        case "message.sent":
            return [(fact.by, SENT, 1), (fact.other, RECEIVED, 1)]
        case "connection.requested":
            return [(fact.by, REQUESTS, 1)]
        case "connection.accepted":
            return [(fact.by, CONNECTIONS, 1), (fact.other, CONNECTIONS, 1)]
        case "connection.removed":
            return [(fact.by, CONNECTIONS, -1), (fact.other, CONNECTIONS, -1)]
        case _:
            return []


def told(facts: Iterable[Fact]) -> Counter[tuple[str, str, str]]:
    """(recipient, kind, from whom, or the recipient) -> how many notifications; but for people to meet."""
    found: Counter[tuple[str, str, str]] = Counter()
    for fact in facts:
        match fact.type:
            case "user.signed_up":
                found[fact.by, "welcome", fact.by] += 1
            case "user.password_changed":
                found[fact.by, "password_changed", fact.by] += 1
            case "user.email_changed":
                found[fact.by, "email_changed", fact.by] += 1
            case "connection.requested":
                found[fact.other, "connection_requested", fact.by] += 1
            case "connection.accepted":
                found[fact.other, "connection_accepted", fact.by] += 1
            case "message.sent":
                found[fact.other, "message_received", fact.by] += 1
    return found


def differences(name: str, found: dict[Any, Any], due: dict[Any, Any]) -> list[str]:
    """What of `found` isn't as it must be, a line each."""
    return [
        f"{name}: {key}: {found.get(key)} in place of {due.get(key)}"
        for key in sorted({*found, *due}, key=str)
        if found.get(key) != due.get(key)
    ]
