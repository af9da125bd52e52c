"""The figures of a dashboard, from the samples that Prometheus would get."""

from __future__ import annotations

from collections import Counter
from typing import Final

from sayonce._version import __version__
from sayonce.cache import Cache
from sayonce.cache.stats import summary
from sayonce.gateway.figures import (
    Counters,
    EngineFigures,
    ErrorCount,
    Latency,
    Overview,
    RefusedValues,
    Savings,
    StoreErrors,
    StoreFigures,
    SweepFigures,
    Tier,
    UpstreamFigures,
)
from sayonce.observe.ledger import METRICS as SAVINGS
from sayonce.observe.metrics import BUCKET_SECONDS, Samples
from sayonce.observe.recent import Shown
from sayonce.speech.catalogue import Catalogue
from sayonce.speech.engines import Engine
from sayonce.speech.synthesis import Synthesizer

_ENGINE: Final = {
    "calls": "sayonce_engine_calls",
    "failures": "sayonce_engine_failures",
    "seconds": "sayonce_engine_seconds",
    "speaking": "sayonce_engine_speaking",
    "waiting": "sayonce_engine_waiting",
    "queue_limit": "sayonce_engine_queue_limit",
    "ready": "sayonce_engine_ready",
}
_UPSTREAM: Final = {
    "up": "sayonce_upstream_up",
    "calls": "sayonce_upstream_calls",
    "failures": "sayonce_upstream_failures",
}
_TIER: Final = {
    "entries": "sayonce_tier_entries",
    "used_bytes": "sayonce_tier_bytes",
    "max_bytes": "sayonce_tier_max_bytes",
}


def overview(samples: Samples, shown: Shown, synthesizer: Synthesizer, *, texts: bool) -> Overview:
    """Return the counts of all processes of a server since its start, and their present work."""
    cache, catalogue = synthesizer.cache, synthesizer.catalogue
    errors = samples.get("sayonce_request_errors", {})
    return Overview(
        version=__version__,
        now=cache.now(),
        workers=total(samples, "sayonce_workers"),
        requests=_requests(samples),
        errors=[ErrorCount(outcome=outcome, reason=why, requests=n) for (outcome, why), [n] in errors.items()],
        latency=_latency(samples),
        savings=Savings(**{field: total(samples, metric) for field, metric in SAVINGS.items()}),
        engines=[_engine(samples, engine, catalogue) for engine in catalogue.engines],
        tiers=_tiers(samples, cache),
        store=_store(samples, cache),
        texts=texts,
        clips=shown.clips,
        latest=shown.latest,
    )


def total(samples: Samples, metric: str) -> float:
    """Return the sum over all labels of a metric."""
    return sum(number for [number] in samples.get(metric, {}).values())


def quantile(numbers: list[float], share: float) -> float | None:
    """Return a quantile of a histogram's numbers in seconds, as Prometheus's ``histogram_quantile`` estimates it."""
    *counts, _ = numbers
    rank, below, lower = share * sum(counts), 0.0, 0.0
    for bound, count in zip(BUCKET_SECONDS, counts, strict=False):  # the last bucket has no bound
        if count and below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return lower if any(counts) else None


def _requests(samples: Samples) -> Counters:
    outcomes: Counter[str] = Counter()
    for (_, outcome, _), [number] in samples.get("sayonce_requests", {}).items():
        outcomes[outcome] += int(number)
    return summary(dict(outcomes))


def _latency(samples: Samples) -> list[Latency]:
    return [
        Latency(
            outcome=outcome,
            tier=tier,
            requests=sum(numbers[:-1]),
            p50_seconds=quantile(numbers, 0.5),
            p99_seconds=quantile(numbers, 0.99),
        )
        for (outcome, tier), numbers in sorted(samples.get("sayonce_request_seconds", {}).items())
    ]


def _engine(samples: Samples, engine: Engine, catalogue: Catalogue) -> EngineFigures:
    return EngineFigures(
        name=engine.name,
        kind=engine.kind,
        state=engine.state,
        **{field: _one(samples, metric, engine.name) for field, metric in _ENGINE.items()},
        upstreams=[_upstream(samples, engine, each.url) for each in engine.upstreams],
        models=[name for name, named in catalogue.models.items() if named is engine and name != engine.name],
        default_voice=engine.default_voice,
        clones=engine.clones,
        max_characters=engine.max_characters,
    )


def _upstream(samples: Samples, engine: Engine, url: str) -> UpstreamFigures:
    return UpstreamFigures(
        url=url, **{field: _one(samples, metric, engine.name, url) for field, metric in _UPSTREAM.items()}
    )


def _tiers(samples: Samples, cache: Cache) -> list[Tier]:
    """Return the contents of each tier; None for a store that does not answer."""
    names = [cache.memory.name, *([cache.store.name] if cache.store is not None else [])]
    return [
        Tier(name=name, **{field: _one(samples, metric, name) for field, metric in _TIER.items()}) for name in names
    ]


def _store(samples: Samples, cache: Cache) -> StoreFigures:
    errors = samples.get("sayonce_store_errors", {})
    refused = samples.get("sayonce_refused_values", {})
    return StoreFigures(
        name=cache.store.name if cache.store is not None else None,
        state=cache.store_state,
        trouble=cache.trouble,
        operations=total(samples, "sayonce_store_operations"),
        skipped=total(samples, "sayonce_store_skipped"),
        errors=[StoreErrors(part=part, kind=kind, calls=n) for (part, kind), [n] in errors.items() if n],
        sweeps=SweepFigures(
            removed=total(samples, "sayonce_bodies_swept"),
            removed_bytes=total(samples, "sayonce_bodies_swept_bytes"),
            last=total(samples, "sayonce_bodies_last_sweep_timestamp_seconds"),
        ),
        refused=[RefusedValues(reason=reason, values=n) for (reason,), [n] in refused.items() if n],
    )


def _one(samples: Samples, metric: str, *labels: str) -> float | None:
    found = samples.get(metric, {}).get(labels)
    return found[0] if found is not None else None
