"""What an agent's step gets: decoded records, a slice a partition."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from faust_batch.batch import Record

T = TypeVar("T")


class Slice(Struct, Generic[T], frozen=True):
    """Decoded records of one partition in offset order; each value stands at the index of its record."""

    topic: str
    partition: int
    records: Sequence[Record]
    values: Sequence[T]


def halved(slices: Sequence[Slice[T]]) -> tuple[Sequence[Slice[T]], Sequence[Slice[T]]] | None:
    """The slices, or the only one's records, in two halves; None for a single record."""
    if len(slices) > 1:
        middle = len(slices) // 2
        return slices[:middle], slices[middle:]
    [only] = slices
    middle = len(only.records) // 2
    if middle == 0:
        return None
    return (
        [Slice(only.topic, only.partition, only.records[:middle], only.values[:middle])],
        [Slice(only.topic, only.partition, only.records[middle:], only.values[middle:])],
    )
