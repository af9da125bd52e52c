"""Samples in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from sayonce.cache import Cache
from sayonce.cache.sync import SyncCache
from sayonce.observe.collect import of_cache
from sayonce.observe.metrics import BUCKET_SECONDS, METRICS, Samples

_BOUNDS = [*map(str, BUCKET_SECONDS), "+Inf"]


class CacheCollector:
    """The counts of a cache for a Prometheus registry of your own: ``REGISTRY.register(CacheCollector(cache))``.

    The cache is asynchronous, or the blocking facade of one.
    """

    def __init__(self, cache: Cache | SyncCache[Any]) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        yield from families(of_cache(self._cache.asynchronous if isinstance(self._cache, SyncCache) else self._cache))


class _Collected:
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        yield from families(self._samples)


def render(samples: Samples, accept: str = "") -> tuple[bytes, str]:
    """Return samples as text and its content type: OpenMetrics where the scraper accepts it, else Prometheus's own."""
    encode, content_type = choose_encoder(accept)
    return encode(_Collected(samples)), content_type


def families(samples: Samples) -> Iterator[Metric]:
    """Yield the samples as the Prometheus client's families."""
    for metric in METRICS:
        series = samples.get(metric.name)
        if series is None:
            continue
        if metric.kind == "histogram":
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, (*counts, seconds) in series.items():
                histogram.add_metric(labels, list(zip(_BOUNDS, accumulate(counts), strict=True)), seconds)
            yield histogram
            continue
        family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
            metric.name, metric.help, labels=metric.labels
        )
        for labels, (number,) in series.items():
            family.add_metric(labels, number)
        yield family
