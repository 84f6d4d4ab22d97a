"""The metric families of Prometheus, made from plain numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from semserve_server.instrumentation.counters import Histogram

Labels = tuple[str, ...]
"""Names or values of the labels of a metric."""


def by_label(counts: Mapping[Labels, Counter[str]]) -> dict[Labels, float]:
    """Flatten counters to one value for each label set.

    The counters are copied, because the event loop may add keys meanwhile.
    """
    return {(*labels, key): n for labels, one in counts.items() for key, n in one.copy().items()}


def counter(
    name: str, help_text: str, labels: Labels, values: Mapping[Labels, float]
) -> CounterMetricFamily:
    """Create a counter with a value for each label set."""
    family = CounterMetricFamily(f"semserve_{name}", help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauge(
    name: str, help_text: str, labels: Labels, values: Mapping[Labels, float]
) -> GaugeMetricFamily:
    """Create a gauge with a value for each label set."""
    family = GaugeMetricFamily(f"semserve_{name}", help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def histogram(
    name: str, help_text: str, labels: Labels, values: Mapping[Labels, Histogram]
) -> HistogramMetricFamily:
    """Create a histogram with the buckets of each label set."""
    family = HistogramMetricFamily(f"semserve_{name}", help_text, labels=labels)
    for key, one in values.items():
        bounds = [*map(floatToGoString, one.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(one.counts[:]), strict=True))
        family.add_metric(key, buckets, one.sum)
    return family
