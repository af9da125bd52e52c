"""The answers that are figures: the cache's statistics and the dashboard's overview, as types."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sayonce.cache.health import StoreState
from sayonce.observe.recent import Clip, Request
from sayonce.speech.engines import State

Counters = Annotated[
    dict[str, float | None],
    Meta(description="By name; `requests`, `hit_rate` (null before the first request) and `saved_seconds` among them."),
]
ShownState = Annotated[
    StoreState,
    Meta(
        description="A store in trouble does not make the server unready. `incomplete`: it answers, and large bodies, "
        "names of voices, or what was purged elsewhere cannot be read. `unwritable`: what it has is served, and nothing new "
        "is kept. `failing`: it is not asked, as it failed, or a table of it is beyond its bound."
    ),
]


class Tier(msgspec.Struct, kw_only=True):
    """The contents of a tier; null where it does not count them, or does not answer."""

    name: str
    entries: float | None
    used_bytes: float | None
    max_bytes: float | None


class Stats(msgspec.Struct, kw_only=True):
    """The contents and the savings of the cache."""

    memory: Tier
    process: Counters
    state: ShownState
    trouble: Annotated[
        str | None,
        Meta(
            description="What of the store fails: it is not asked, takes no new values, or cannot be read whole; null where all is well."
        ),
    ]
    store: Tier | UnsetType = UNSET
    lifetime: Counters | UnsetType = UNSET


class ErrorCount(msgspec.Struct, kw_only=True):
    """Requests that were not answered, by the reason."""

    outcome: str
    reason: str
    requests: float


class Latency(msgspec.Struct, kw_only=True):
    """The times of answers from one tier; a quantile is null before the first."""

    outcome: str
    tier: str
    requests: float
    p50_seconds: float | None
    p99_seconds: float | None


class Savings(msgspec.Struct, kw_only=True):
    """The cost of computing and the savings of reuse, in the currency of the engines' prices."""

    compute_seconds: float
    saved_seconds: float
    cost: float
    saved_cost: float
    sent_bytes: float
    saved_bytes: float


class UpstreamFigures(msgspec.Struct, kw_only=True):
    """A server of an engine."""

    url: str
    up: float | None
    calls: float | None
    failures: float | None


class EngineFigures(msgspec.Struct, kw_only=True):
    """An engine and its work."""

    name: str
    kind: str
    state: State
    calls: float | None
    failures: float | None
    seconds: float | None
    speaking: float | None
    waiting: float | None
    queue_limit: float | None
    ready: float | None
    upstreams: list[UpstreamFigures]
    models: list[str]
    default_voice: str | None
    clones: bool
    max_characters: int


class StoreErrors(msgspec.Struct, kw_only=True):
    """Calls of the store, or of its bodies, that failed in one way."""

    part: str
    kind: str
    calls: float


class RefusedValues(msgspec.Struct, kw_only=True):
    """Stored values that were not accepted, by the reason."""

    reason: str
    values: float


class SweepFigures(msgspec.Struct, kw_only=True):
    """The bodies that sweeps removed, and the time of the last sweep, in seconds since the Unix epoch."""

    removed: float
    removed_bytes: float
    last: float


class StoreFigures(msgspec.Struct, kw_only=True):
    """The store behind memory, and its trouble."""

    name: str | None
    state: ShownState
    trouble: str | None
    operations: float
    skipped: float
    errors: list[StoreErrors]
    sweeps: SweepFigures
    refused: list[RefusedValues]


class Overview(msgspec.Struct, kw_only=True):
    """The figures of the dashboard."""

    version: str
    now: float
    workers: float
    requests: Counters
    errors: list[ErrorCount]
    latency: list[Latency]
    savings: Savings
    engines: list[EngineFigures]
    tiers: list[Tier]
    store: StoreFigures
    texts: Annotated[bool, Meta(description="Whether the operator allows texts.")]
    clips: list[Clip]
    latest: list[Request]
