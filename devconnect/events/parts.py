"""What the analytics workers tell each other of windows: the parts of those that close, until they are published.

All of them live in one compacted topic. A record stays until a newer one of its key replaces it, or a tombstone takes
it away: so what isn't published yet is there, however long that takes, and what is published is gone.
"""

from msgspec import Struct

from devconnect.events.codec import Codec


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="window.part"):
    """What one source partition has of a window: the columns' sums up to `seq`, or some of the members.

    `window` is its start and `at` the time of closing, both in milliseconds since 1970. Members come in numbered
    chunks.
    """

    table: str
    window: int
    topic: str
    partition: int
    at: int
    number: int = 0
    values: tuple[int, ...] = ()
    seq: int = 0
    members: tuple[str, ...] = ()
    v: int = 1

    @property
    def key(self) -> str:
        """One a part and closing: a closing that is broken off replaces nothing of the one before it."""
        return f"{self.table}|{self.window}|{self.topic}|{self.partition}|{self.at}|{self.number}"


class Closed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="windows.closed"):
    """A source partition has given its parts of all windows that end by `until`."""

    table: str
    topic: str
    partition: int
    until: int
    v: int = 1

    @property
    def key(self) -> str:
        """One a source partition."""
        return f"{self.table}|{self.topic}|{self.partition}"


class Published(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="windows.published"
):
    """All windows of a table that end by `until` are published."""

    table: str
    until: int
    v: int = 1

    @property
    def key(self) -> str:
        """One a table."""
        return self.table


class Erased(Struct, frozen=True, tag_field="type", tag="erased"):
    """A record that was taken away."""

    v: int = 1


AnyPart = Part | Closed | Published


class PartCodec(Codec[AnyPart | Erased]):
    """Parts as JSON; a tombstone is a value too."""

    def __init__(self) -> None:
        super().__init__(AnyPart)

    def decode(self, data: bytes | None) -> AnyPart | Erased:
        """The part in `data`, or that it was erased; CodecError when it is neither."""
        return Erased() if data is None else super().decode(data)
