"""Sending records to Kafka, and burying the ones that can't be used."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class Record(Struct, frozen=True):
    """A record to send: key, value and headers as bytes."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A record that couldn't be decoded or applied: what it was, where it stood, who gave up on it and why."""

    agent: str
    cause: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Publisher(Protocol):
    """Sends records, and returns only once the broker has acknowledged all of them."""

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        """Append the records to the partition in order; returns the offset of the last. Retries until it is done."""

    async def spread(self, topic: str, records: Sequence[Record]) -> None:
        """Append each record to the partition that its key falls in, in order a partition."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Append them to `dead-letters`, on the partition of their source, the original key and value kept."""
