"""p50 and p99."""

import statistics
from collections.abc import Sequence


def quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99, in milliseconds."""
    return statistics.median(seconds) * 1000, statistics.quantiles(seconds, n=100, method="inclusive")[98] * 1000
