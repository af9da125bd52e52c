"""All metrics: name, kind, labels and meaning; and the sum of the samples of several processes.

Samples are plain numbers until somebody scrapes. No label holds a text, a voice, a tenant or a key: engines, outcomes,
tiers and reasons are few.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Labels = tuple[str, ...]
Samples = dict[str, dict[Labels, list[float]]]
"""Numbers by metric and label values: one for a counter or a gauge; each bucket's and the sum for a histogram."""
Kind = Literal["counter", "gauge", "histogram"]


class Metric(msgspec.Struct, frozen=True):
    """A metric; ``name`` is without the ``_total`` that a counter's samples carry."""

    kind: Kind
    name: str
    labels: Labels
    help: str
    latest: bool = False
    """Of several processes the highest number counts, also that of one that has ended; others are added up."""


BUCKET_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds, from a hit in memory to a long text on a slow engine."""

METRICS: Final = (
    Metric("counter", "sayonce_requests", ("engine", "outcome", "tier"), "Speech requests that were answered."),
    Metric("counter", "sayonce_request_errors", ("outcome", "reason"), "Speech requests that were not, and why."),
    Metric("histogram", "sayonce_request_seconds", ("outcome", "tier"), "From a request to the end of its answer."),
    Metric("histogram", "sayonce_first_byte_seconds", ("outcome", "tier"), "From a request to its first audio."),
    Metric("counter", "sayonce_compute_seconds", ("engine",), "Computing that answered requests."),
    Metric("counter", "sayonce_saved_compute_seconds", ("engine",), "Computing that reuse saved."),
    Metric("counter", "sayonce_cost", ("engine",), "What computing cost, in the currency of the engine's prices."),
    Metric("counter", "sayonce_saved_cost", ("engine",), "What reuse saved, in the currency of the engine's prices."),
    Metric("counter", "sayonce_sent_bytes", ("engine",), "Audio that was sent."),
    Metric("counter", "sayonce_saved_bytes", ("engine",), "Audio that was sent without computing it."),
    Metric("counter", "sayonce_engine_calls", ("engine",), "Syntheses begun."),
    Metric("counter", "sayonce_engine_failures", ("engine",), "Syntheses that failed."),
    Metric(
        "counter",
        "sayonce_silent_takes",
        ("engine",),
        "Syntheses that nobody can hear: silent, or shorter than 10 ms.",
    ),
    Metric("counter", "sayonce_engine_seconds", ("engine",), "Time that engines spent on syntheses."),
    Metric("gauge", "sayonce_engine_speaking", ("engine",), "Syntheses under way."),
    Metric("gauge", "sayonce_engine_waiting", ("engine",), "Requests that wait for their turn at the engine."),
    Metric(
        "gauge", "sayonce_engine_queue_limit", ("engine",), "Requests that may wait; beyond them the answer is 503."
    ),
    Metric("gauge", "sayonce_engine_ready", ("engine",), "Processes in which the engine can speak."),
    Metric("gauge", "sayonce_upstream_up", ("engine", "upstream"), "Processes for which a server has not failed."),
    Metric("counter", "sayonce_upstream_calls", ("engine", "upstream"), "Requests that a server was asked for."),
    Metric("counter", "sayonce_upstream_failures", ("engine", "upstream"), "Requests that failed at a server."),
    Metric("counter", "sayonce_voice_copies", ("engine", "outcome"), "Uploaded voices at servers that keep them."),
    Metric("counter", "sayonce_feature_requests", ("function",), "Calls of remembered functions."),
    Metric("counter", "sayonce_feature_computations", ("function",), "Calls of remembered functions that computed."),
    Metric("counter", "sayonce_flights", ("part",), "Computations led, joined, followed from elsewhere, taken over."),
    Metric("counter", "sayonce_renewals", ("outcome",), "Values that were to be made anew in the background."),
    Metric("counter", "sayonce_store_operations", ("part", "operation"), "Calls of the store, or of its bodies."),
    Metric("counter", "sayonce_store_errors", ("part", "kind"), "Calls of the store, or of its bodies, that failed."),
    Metric("counter", "sayonce_store_skipped", ("part",), "Calls that were not made, as the breaker was open."),
    Metric(
        "gauge", "sayonce_store_breaker_open", ("part",), "Processes that do not ask the store, or its bodies, now."
    ),
    Metric("gauge", "sayonce_store_unwritable", ("part",), "Processes to which it gives, and takes nothing new."),
    Metric(
        "gauge",
        "sayonce_store_state",
        ("state",),
        "Processes for which the store is so: ok, incomplete, unwritable, failing.",
    ),
    Metric("counter", "sayonce_bodies_sweeps", ("outcome",), "Sweeps of the bodies outside the store."),
    Metric("counter", "sayonce_bodies_swept", (), "Bodies that sweeps removed, as nothing pointed to them."),
    Metric("counter", "sayonce_bodies_swept_bytes", (), "Bytes of the bodies that sweeps removed."),
    Metric("gauge", "sayonce_bodies_last_sweep_timestamp_seconds", (), "When the last sweep was done.", latest=True),
    Metric("counter", "sayonce_refused_values", ("reason",), "Stored values that were not accepted."),
    Metric("gauge", "sayonce_tier_entries", ("tier",), "Entries of a tier; of Redis, keys of the whole database."),
    Metric("gauge", "sayonce_tier_bytes", ("tier",), "Bytes of a tier; of Redis, the memory of the whole server."),
    Metric("gauge", "sayonce_tier_max_bytes", ("tier",), "The bound of a tier; of Redis, its maxmemory."),
    Metric("gauge", "sayonce_workers", (), "Processes of this server that answer."),
)


class Histogram:
    """Counts of durations in fixed buckets."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKET_SECONDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKET_SECONDS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def numbers(self) -> list[float]:
        return [*self.counts, self.sum]


def add(samples: Samples, name: str, labels: Labels, *numbers: float) -> None:
    """Add to a sample."""
    series = samples.setdefault(name, {})
    known = series.get(labels)
    series[labels] = list(numbers) if known is None else [sum(pair) for pair in zip(known, numbers, strict=True)]


_LATEST: Final = frozenset(metric.name for metric in METRICS if metric.latest)
_GAUGES: Final = frozenset(metric.name for metric in METRICS if metric.kind == "gauge") - _LATEST


def total(parts: Iterable[Samples]) -> Samples:
    """Add up the samples of several processes."""
    samples: Samples = {}
    for part in parts:
        for name, series in part.items():
            for labels, numbers in series.items():
                if name in _LATEST:
                    found = samples.setdefault(name, {})
                    found[labels] = max(found.get(labels, numbers), numbers)
                else:
                    add(samples, name, labels, *numbers)
    return samples


def lasting(samples: Samples) -> Samples:
    """Leave out the gauges, which an ended process no longer has."""
    return {name: series for name, series in samples.items() if name not in _GAUGES}
