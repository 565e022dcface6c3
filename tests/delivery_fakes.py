"""The ports of deliveries in memory. They keep the promises of the ports' docstrings."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from agents.notifications import Telling
from devconnect.adapters.mongo.deliveries import RANKS
from devconnect.domain.delivering import CHANNELS, Delivery, Rule, State, Window, delivery_id
from devconnect.domain.model import Channels, PushSubscription, Webhook
from devconnect.events.base import Channel
from devconnect.ports.deliveries import Advance, Deliveries, Digests, DueDigest, Occasions, Schedule
from devconnect.ports.focus import Focus
from devconnect.ports.truth import UnavailableError
from tests.fakes import Hook, MemoryTruth, no_hook

#: Bob's: a browser and a webhook.
BROWSER = PushSubscription(endpoint="https://push.example", p256dh="k", auth="a", session="s", created_at=1)
WEBHOOK = Webhook(url="https://hook.example", created_at=1)
SET_UP = Channels(id="bob", seq=1, push={"p": BROWSER}, webhooks={"w": WEBHOOK})
_OPEN: tuple[State, ...] = ("queued", "sent", "delivered")


class MemoryDeliveries(Deliveries):
    """A dictionary of deliveries, one of windows; what was seen is the truth's."""

    def __init__(self, truth: MemoryTruth) -> None:
        self.hook: Hook = no_hook
        self._truth = truth
        self.stored: dict[str, Delivery] = {}
        self.stored_windows: dict[str, Window] = {}

    async def find(self, ids: Collection[str]) -> Mapping[str, Delivery]:
        return {name: self.stored[name] for name in ids if name in self.stored}

    async def decide(self, deliveries: Sequence[Delivery]) -> Mapping[str, Delivery]:
        for each in deliveries:
            self.hook("decide")
            if each.id in self.stored:
                return {each.id: self.stored[each.id]}
            self.stored[each.id] = each
        self.hook("decided")
        return {}

    async def advance(self, moves: Sequence[Advance]) -> None:
        for move in moves:
            before = self.stored.get(move.delivery)
            if before is not None and RANKS[before.state] < RANKS[move.state]:
                self.stored[before.id] = replace(
                    before, state=move.state, moved_at=move.at, tries=move.tries, why=move.why
                )

    async def seen(self, user: str, up_to: str, at: int) -> None:
        self._see(lambda each: each.user == user and each.notification <= up_to, at)

    async def read(self, user: str, notifications: Collection[str], at: int) -> None:
        ids = {delivery_id(user, each, channel) for each in notifications for channel in CHANNELS}
        self._see(lambda each: each.id in ids, at)

    def _see(self, which: Callable[[Delivery], bool], at: int) -> None:
        for each in list(self.stored.values()):
            if each.state in _OPEN and which(each):
                self.stored[each.id] = replace(each, state="seen", moved_at=at)

    async def windows(self, ids: Collection[str]) -> Mapping[str, Window]:
        return {name: self.stored_windows[name] for name in ids if name in self.stored_windows}

    async def put_windows(self, windows: Sequence[Window]) -> None:
        for window in windows:
            self.hook("window")
            before = self.stored_windows.get(window.id)
            if before is None or before.seq < window.seq:
                self.stored_windows[window.id] = window

    async def due(self, now: int, limit: int) -> list[Delivery]:
        held = [each for each in self.stored.values() if each.state == "held" and each.due <= now]
        return sorted(held, key=lambda each: (each.due, each.id))[:limit]

    async def gathered(self, into: str) -> list[Delivery]:
        return [each for each in self.stored.values() if each.into == into]

    async def seen_ones(self, notifications: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        read, marks = self._truth.read, self._truth.seen_up_to
        return {each for each in notifications if each in read or each[1] <= marks.get(each[0], "")}

    async def let_go(self, delivery: Delivery) -> None:
        self.hook("let go")
        if delivery.id in self.stored and self.stored[delivery.id].state == "held":
            self.stored[delivery.id] = delivery


class MemoryAdvances(Deliveries):
    """What the channels have said of each delivery, the last last."""

    def __init__(self) -> None:
        self.moves: dict[str, list[Advance]] = {}

    async def advance(self, moves: Sequence[Advance]) -> None:
        for move in moves:
            self.moves.setdefault(move.delivery, []).append(move)


class MemoryOccasions(Occasions):
    """Who came first."""

    def __init__(self) -> None:
        self.claimed: dict[str, str] = {}

    async def claim(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        return {occasion: self.claimed.setdefault(occasion, event) for occasion, event in wanted.items()}


class MemoryDigests(Digests):
    """When digests are due; what is unread is the truth's."""

    def __init__(self, truth: MemoryTruth) -> None:
        self.hook: Hook = no_hook
        self._truth = truth
        self.schedules: dict[str, Schedule] = {}

    async def schedule(self, schedules: Sequence[Schedule]) -> None:
        for each in schedules:
            before = self.schedules.get(each.user)
            if before is None or before.seq < each.seq:
                self.schedules[each.user] = each

    async def due(self, now: int, limit: int) -> list[DueDigest]:
        found = [
            DueDigest(user=each.user, at=each.at, since=each.since)
            for each in self.schedules.values()
            if each.at is not None and each.at <= now
        ]
        return sorted(found, key=lambda each: (each.at, each.user))[:limit]

    async def unread(self, user: str, since: int, before: int) -> Mapping[str, int]:
        return Counter(
            each.kind
            for key, each in self._truth.notifications.items()
            if key[0] == user and key not in self._truth.read and f"{since:013d}" <= key[1] < f"{before:013d}"
        )

    async def done(self, digest: DueDigest, following: int | None) -> None:
        self.hook("done")
        before = self.schedules.get(digest.user)
        if before is not None and before.at == digest.at:
            self.schedules[digest.user] = replace(before, at=following, since=digest.at)


class MemoryFocus(Focus):
    """What is on screens: (user, device) -> (what, until)."""

    def __init__(self) -> None:
        self.looks: dict[tuple[str, str], tuple[str, int]] = {}
        self.down = False

    async def look_at(self, user: str, device: str, what: str, until: int) -> None:
        if self.down:
            raise UnavailableError("Redis is down")
        self.looks[user, device] = what, until

    async def look_away(self, user: str, device: str) -> None:
        self.looks.pop((user, device), None)

    async def on_screen(self, users: Collection[str], now: int) -> Mapping[str, frozenset[str]]:
        return {
            user: frozenset(what for (who, _), (what, until) in self.looks.items() if who == user and until > now)
            for user in users
        }


def telling(truth: MemoryTruth) -> Telling:
    """What the notification agents know by."""
    return Telling(truth, MemoryOccasions(), MemoryDeliveries(truth), MemoryDigests(truth))


def a_delivery(user: str = "bob", notification: str = "1700000000000-c7.0", **fields: Any) -> Delivery:
    """A push message about a connection, asked for."""
    channel: Channel = fields.get("channel", "push")
    usual: dict[str, Any] = {
        "id": delivery_id(user, notification, channel),
        "channel": channel,
        "kind": "connection_accepted",
        "cause": "c7.0",
        "about": {"user": "ann"},
        "at": 1_700_000_000_000,
        "decided_at": 1_700_000_000_005,
        "moved_at": 1_700_000_000_005,
        "state": "queued",
        "rule": Rule.WANTED,
    }
    return Delivery(user=user, notification=notification, **{**usual, **fields})
