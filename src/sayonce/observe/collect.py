"""Samples from the counters and gauges of a process: of its cache, its store and its engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sayonce.cache import Cache
from sayonce.cache.health import STATES, StoreHealth
from sayonce.core.counters import CopyOutcome, Counter, Operation, Renewal
from sayonce.core.outcome import Refusal
from sayonce.errors import Failure
from sayonce.observe.metrics import Samples, add
from sayonce.speech.synthesis import Synthesizer
from sayonce.stores.base import SealedStore, Store, StoreStats

if TYPE_CHECKING:
    from sayonce.stores.blobs.store import BlobStore, Sweeps

METRIC_OF: Final = {
    Counter.ENGINE_CALLS: "sayonce_engine_calls",
    Counter.ENGINE_FAILURES: "sayonce_engine_failures",
    Counter.ENGINE_SECONDS: "sayonce_engine_seconds",
    Counter.SILENT_TAKES: "sayonce_silent_takes",
    Counter.VOICE_COPIES: "sayonce_voice_copies",
    Counter.FEATURE_REQUESTS: "sayonce_feature_requests",
    Counter.FEATURE_COMPUTATIONS: "sayonce_feature_computations",
    Counter.FLIGHTS: "sayonce_flights",
    Counter.RENEWALS: "sayonce_renewals",
    Counter.REFUSED_VALUES: "sayonce_refused_values",
    Counter.STORE_CALLS: "sayonce_store_operations",
    Counter.STORE_ERRORS: "sayonce_store_errors",
    Counter.STORE_SKIPPED: "sayonce_store_skipped",
}
"""The metrics that show a counter of the cache, with the same labels."""


def of_cache(cache: Cache) -> Samples:
    """Return the counts of a cache in this process, and the contents of its memory."""
    samples = _zeros(cache)
    for (counter, *labels), number in dict(cache.counts).items():
        if counter in METRIC_OF:
            add(samples, METRIC_OF[counter], tuple(labels), number)
    if cache.health is not None:
        _add_health(samples, cache.health)
    if (bodies := _bodies(cache)) is not None:
        _add_sweeps(samples, bodies.sweeps)
    _add_tier(samples, cache.memory, cache.memory.figures())
    return samples


def _add_health(samples: Samples, health: StoreHealth) -> None:
    for part, failing in health.failing.items():
        add(samples, "sayonce_store_breaker_open", (part,), int(failing))
    for part, why in health.unwritable.items():
        add(samples, "sayonce_store_unwritable", (part,), int(why is not None))
    for state in STATES:
        add(samples, "sayonce_store_state", (state,), int(health.state == state))


def _bodies(cache: Cache) -> BlobStore | None:
    return cache.store.bodies if isinstance(cache.store, SealedStore) else None


def _add_sweeps(samples: Samples, sweeps: Sweeps) -> None:
    for outcome, number in (("done", sweeps.done), ("failed", sweeps.failed), ("withheld", sweeps.withheld)):
        add(samples, "sayonce_bodies_sweeps", (outcome,), number)
    add(samples, "sayonce_bodies_swept", (), sweeps.removed)
    add(samples, "sayonce_bodies_swept_bytes", (), sweeps.removed_bytes)
    if sweeps.last is not None:
        add(samples, "sayonce_bodies_last_sweep_timestamp_seconds", (), sweeps.last)


def _zeros(cache: Cache) -> Samples:
    """Start the counters of alerts at 0: a counter that appears with its first event has not risen."""
    samples: Samples = {"sayonce_refused_values": {(reason.value,): [0] for reason in Refusal}}
    samples["sayonce_renewals"] = {(outcome.value,): [0] for outcome in Renewal}
    parts = cache.health.failing if cache.health is not None else ()
    samples["sayonce_store_errors"] = {(part, kind.value): [0] for part in parts for kind in Failure}
    return samples


async def of_store(cache: Cache) -> Samples:
    """Return the contents of the store behind a cache; nothing while it does not answer."""
    samples: Samples = {}
    if cache.store is not None:
        figures = await cache.attempt(Operation.STATS, cache.store.stats)
        if figures is not None:
            _add_tier(samples, cache.store, figures)
    return samples


def of_engines(synthesizer: Synthesizer) -> Samples:
    """Return the present work of the engines, and the calls of their servers."""
    samples: Samples = {}
    for engine in synthesizer.catalogue.engines:
        slots = synthesizer.takes.slots[engine.name]
        label = (engine.name,)
        for counter in ("sayonce_engine_calls", "sayonce_engine_failures", "sayonce_engine_seconds"):
            add(samples, counter, label, 0)
        add(samples, "sayonce_engine_speaking", label, slots.taken - slots.waiting)
        add(samples, "sayonce_engine_waiting", label, slots.waiting)
        add(samples, "sayonce_engine_queue_limit", label, engine.queue)
        add(samples, "sayonce_engine_ready", label, int(engine.state == "ready"))
        for outcome in CopyOutcome if engine.upstreams else ():
            add(samples, "sayonce_voice_copies", (engine.name, outcome), 0)
        for upstream in engine.upstreams:
            labels = (engine.name, upstream.url)
            add(samples, "sayonce_upstream_up", labels, int(upstream.up))
            add(samples, "sayonce_upstream_calls", labels, upstream.calls)
            add(samples, "sayonce_upstream_failures", labels, upstream.failures)
    return samples


def _add_tier(samples: Samples, tier: Store, figures: StoreStats) -> None:
    numbers = {"entries": figures.entries, "bytes": figures.used_bytes, "max_bytes": figures.max_bytes}
    for what, number in numbers.items():
        if number is not None:
            add(samples, f"sayonce_tier_{what}", (tier.name,), number)
