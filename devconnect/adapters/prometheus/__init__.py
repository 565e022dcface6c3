"""The metrics port on prometheus-client."""

from collections.abc import Callable, Mapping
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from devconnect.adapters.prometheus.tallies import CounterTally, HistogramTally
from devconnect.ports.metrics import ALL, Metric, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PrometheusMetrics(Metrics):
    """Keeps every metric of the project in a registry of its own, with those of the process beside them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        # A gauge that nobody sets would tell a zero that nobody has measured: it is there from its first value on.
        self._collectors = {metric.name: _collector(metric, self.registry) for metric in ALL if metric.kind != "gauge"}
        #: Counters by their labels: looking them up costs more than counting.
        self._children: dict[tuple[str, tuple[str, ...]], Counter] = {}
        self._counters: list[CounterTally] = []
        self._histograms: dict[str, HistogramTally] = {}

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        key = metric.name, labels
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._counter(metric, labels)
        child.inc(by)

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Set a gauge."""
        if metric.name not in self._collectors:
            self._collectors[metric.name] = _collector(metric, self.registry)
        gauge = cast(Gauge, self._collectors[metric.name])
        (gauge.labels(*labels) if labels else gauge).set(to)

    def replace(self, metric: Metric, values: Mapping[tuple[str, ...], float]) -> None:
        """Set a gauge with labels to these values and to no others: what isn't named any more is no longer told."""
        gauge = cast(Gauge | None, self._collectors.get(metric.name))
        if gauge is not None:
            gauge.clear()
        for labels, value in values.items():
            self.set(metric, *labels, to=value)

    def total(self, metric: Metric) -> float:
        """What a counter has counted, over all labels."""
        self._settle()
        [family] = self._collectors[metric.name].collect()
        return sum(sample.value for sample in family.samples if sample.name.endswith("_total"))

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        """Add an observation to a histogram."""
        tally = self._histograms.get(metric.name)
        if tally is not None:
            tally.row(labels).add(value)
            return
        histogram = cast(Histogram, self._collectors[metric.name])
        (histogram.labels(*labels) if labels else histogram).observe(value)

    def counter(self, metric: Metric, *labels: str) -> Callable[[], None]:
        """What adds one to a counter. Without a lock: for one thread."""
        tally = CounterTally(self._counter(metric, labels))
        self._counters.append(tally)
        return tally.add

    def _counter(self, metric: Metric, labels: tuple[str, ...]) -> Counter:
        counter = cast(Counter, self._collectors[metric.name])
        return counter.labels(*labels) if labels else counter

    def histogram(self, metric: Metric, *labels: str) -> Callable[[float], None]:
        """What adds an observation to a histogram, which from now on is kept without a lock: for one thread."""
        tally = self._histograms.get(metric.name)
        if tally is None:
            tally = self._histograms[metric.name] = HistogramTally(f"devconnect_{metric.name}", metric)
            self.registry.unregister(self._collectors[metric.name])
            self.registry.register(tally)
        return tally.row(labels).add

    def _settle(self) -> None:
        for tally in self._counters:
            tally.settle()

    def expose(self) -> bytes:
        """The text that Prometheus scrapes."""
        self._settle()
        return generate_latest(self.registry)


def _collector(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name = f"devconnect_{metric.name}"
    match metric.kind:
        case "counter":
            return Counter(name, metric.help, metric.labels, registry=registry)
        case "gauge":
            return Gauge(name, metric.help, metric.labels, registry=registry)
        case "histogram":
            return Histogram(name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
