"""Counts kept as plain numbers where every microsecond matters, and told to prometheus-client when it is scraped.

Its own counter takes a lock, and its histogram looks through its buckets one by one: together a microsecond and more.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import Counter
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from devconnect.ports.metrics import Metric


class CounterTally:
    """What a counter hasn't been told yet."""

    __slots__ = ("_counter", "_pending")

    def __init__(self, counter: Counter) -> None:
        self._counter, self._pending = counter, 0

    def add(self) -> None:
        """One more."""
        self._pending += 1

    def settle(self) -> None:
        """Tell the counter."""
        pending, self._pending = self._pending, 0
        self._counter.inc(pending)


class Row:
    """The observations under one set of labels: how many in each bucket, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """One more observation."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class HistogramTally(Collector):
    """A histogram as prometheus-client collects it."""

    def __init__(self, name: str, metric: Metric) -> None:
        self._name, self._metric = name, metric
        self._rows: dict[tuple[str, ...], Row] = {}

    def row(self, labels: tuple[str, ...]) -> Row:
        """The row under these labels."""
        found = self._rows.get(labels)
        if found is None:
            found = self._rows[labels] = Row(self._metric.buckets)
        return found

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Its name, for the registry."""
        return [self._family()]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """All rows, as counts of all observations up to each bound."""
        family = self._family()
        bounds = [*map(floatToGoString, self._metric.buckets), "+Inf"]
        for labels, row in self._rows.items():
            family.add_metric(labels, list(zip(bounds, accumulate(row.counts), strict=True)), row.total)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._metric.help, labels=self._metric.labels)
