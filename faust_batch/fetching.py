"""Records as aiokafka's parser makes them, without the second object that its consumer makes of each.

That object is a third of what a bare consumer costs. What is replaced is a private method of aiokafka's fetcher, whose
version is pinned; the contract tests go each of its ways (gaps, transactions, seeks) on a real broker.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords


class _Parsed(PartitionRecords):
    """A fetched partition that hands out the parser's records: offset, timestamp, key, value, headers."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._records_iterator)

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record


class _Results(OrderedDict[Any, Any]):
    """The fetcher's results by partition; each that comes in is made to hand out parsed records."""

    def __setitem__(self, tp: Any, result: Any) -> None:
        if type(result) is FetchResult:
            result._partition_records.__class__ = _Parsed
        super().__setitem__(tp, result)


def hand_out_parsed(consumer: AIOKafkaConsumer) -> None:
    """Let a started consumer give records as they were parsed."""
    consumer._fetcher._records = _Results(consumer._fetcher._records)
