"""The recorded events: messages of seeded people, written to Kafka once and read by every contender."""

import random
from collections.abc import Iterator

from msgspec import Struct

from devconnect.adapters.kafka.gateway import partition_for
from devconnect.events.base import pair_id, seq_of
from devconnect.events.facts import MessageSent
from devconnect.events.topics import MESSAGE_EVENTS, message_events
from faust_batch.producer import BatchProducer

#: The topic of every contender: the real agents' own.
TOPIC = MESSAGE_EVENTS.name
#: Milliseconds from one event to the next.
PACE_MS = 5
#: People that somebody writes to.
FRIENDS = 8
#: Records appended at a time.
CHUNK = 10_000
TEXTS = tuple(
    "Have you seen the talk on log compaction? The part on tombstones answers what you asked."[: 20 + 4 * number]
    for number in range(18)
)


class Expected(Struct):
    """What a right contender has at the end."""

    events: int = 0
    #: Events of each sender.
    sent: dict[str, int] = {}
    #: The time of each sender's last event, milliseconds since 1970.
    last_at: dict[str, int] = {}
    #: Records on each partition: where each ends.
    ends: dict[int, int] = {}
    #: The last message of each conversation, unless there are too many to be looked at.
    tails: dict[str, str] = {}


class Recorder:
    """Draws events and appends them; what is expected of who reads all of them grows with each call.

    The same arguments and calls give the same events. A sender's events are all on the partition of their id, and they
    write to people of that partition, so that a conversation has one clock, as it has in production.
    """

    def __init__(self, users: int, partitions: int, *, seed: int = 1, began_at: int, tails: bool = True) -> None:
        self._random = random.Random(seed)
        self._partitions = partitions
        self._tails = tails
        self._at = began_at
        self._people: list[list[str]] = [[] for _ in range(partitions)]
        self._users = [f"{self._random.getrandbits(128):032x}" for _ in range(users)]
        self._place: dict[str, tuple[int, int]] = {}
        for user in self._users:
            partition = partition_for(user, partitions)
            self._place[user] = partition, len(self._people[partition])
            self._people[partition].append(user)
        self._last: dict[str, int] = {}
        self.expected = Expected(ends=dict.fromkeys(range(partitions), 0))

    def each_once(self) -> Iterator[tuple[int, MessageSent]]:
        """One event of every person."""
        for user in self._users:
            yield self._event(user)

    def any(self, count: int) -> Iterator[tuple[int, MessageSent]]:
        """`count` events of people drawn evenly."""
        for _ in range(count):
            yield self._event(self._random.choice(self._users))

    def _event(self, sender: str) -> tuple[int, MessageSent]:
        partition, index = self._place[sender]
        people = self._people[partition]
        recipient = people[(index + self._random.randint(1, min(FRIENDS, len(people) - 1))) % len(people)]
        seen = self.expected
        offset = seen.ends[partition]
        identity = f"{self._random.getrandbits(128):032x}"
        conversation = pair_id(sender, recipient)
        event = MessageSent(
            id=f"{identity}.0",
            seq=seq_of(offset),
            at=self._at,
            conversation=conversation,
            message=identity,
            sender=sender,
            recipient=recipient,
            text=self._random.choice(TEXTS),
            previous=self._last.get(conversation, 0),
        )
        self._at += PACE_MS
        seen.events += 1
        seen.sent[sender] = seen.sent.get(sender, 0) + 1
        seen.last_at[sender] = event.at
        if self._tails:
            self._last[conversation] = event.seq
            seen.tails[conversation] = event.message
        seen.ends[partition] = offset + 1
        return partition, event

    async def append(self, producer: BatchProducer, events: Iterator[tuple[int, MessageSent]]) -> None:
        """Append the events to the topic, each to its partition."""
        waiting: list[list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]]
        waiting = [[] for _ in range(self._partitions)]
        for partition, event in events:
            items = waiting[partition]
            items.append((event.sender.encode(), message_events.encode(event), []))
            if len(items) == CHUNK:
                await producer.append(TOPIC, partition, items)
                items.clear()
        for partition, items in enumerate(waiting):
            if items:
                await producer.append(TOPIC, partition, items)
