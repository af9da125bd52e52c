"""``sayonce simulate``: the savings of another size, policy or time to live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Final

import msgspec

from sayonce.cli.language import phrase
from sayonce.cli.options import wrong
from sayonce.cli.output import data, data_json, size
from sayonce.config import StoreSettings, parse_duration, parse_size
from sayonce.core.eviction import PolicyName
from sayonce.errors import ConfigError
from sayonce.observe.simulate import DAY_SECONDS, Access, footprint, reference_trace, simulate
from sayonce.observe.trace_reader import Tier, Trace, read_traces

POLICIES: Final[tuple[PolicyName, ...]] = ("gdsf", "lru")
_PERCENTS: Final = (1, 2, 5, 10, 20, 50, 100)
_FOR_EVER: Final = "none"
_HOUR_SECONDS: Final = 3600
_HEAD: Final = ("policy", "ttl", "size", "of all", "hit rate", "saved", "share", "evicted")


class Job(msgspec.Struct, frozen=True):
    """The traces and the caches that the command line names."""

    traces: list[Path]
    synthetic: int | None
    tier: Tier
    policies: list[str]
    sizes: list[str]
    ttls: list[str]
    json: bool


class Forecast(msgspec.Struct, frozen=True):
    """The result of one simulated cache. ``saved_share`` is of all compute seconds; ``ttl_seconds`` null is for ever."""

    policy: PolicyName
    ttl_seconds: float | None
    max_bytes: int
    hit_rate: float
    saved_seconds: float
    saved_share: float
    evicted: int


class Report(msgspec.Struct, frozen=True):
    """A trace, and the results of caches with it."""

    requests: int
    values: int
    footprint_bytes: int
    duration_seconds: float
    recorded_hit_rate: float | None
    """Null for made-up requests."""
    not_cacheable: int
    unreadable: int
    forecasts: list[Forecast]


def run(job: Job) -> None:
    """Replay the traces, and print a table.

    Raises:
        ConfigError: a file is no trace, or there is nothing in it.

    """
    if (job.synthetic is None) == (not job.traces):
        raise wrong("give either traces, or --synthetic with a number of requests")
    policies = [_policy(name) for name in job.policies] or POLICIES
    sizes, ttls = [_size(text) for text in job.sizes], [_ttl(text) for text in job.ttls]
    report = _report(_trace(job), policies, sizes, ttls)
    if job.json:
        data_json(report)
    else:
        data("\n".join([*_told(report), "", *_table(report)]))


def _trace(job: Job) -> Trace:
    if job.synthetic is not None:
        return Trace(list(reference_trace(job.synthetic)))
    trace = read_traces(job.traces, job.tier)
    if not trace.accesses:
        raise ConfigError(phrase("there are no requests in the trace"))
    return trace


def _report(trace: Trace, policies: Sequence[PolicyName], sizes: Sequence[int], ttls: Sequence[float | None]) -> Report:
    accesses, whole = trace.accesses, footprint(trace.accesses)
    sizes = sizes or [whole * percent // 100 for percent in _PERCENTS]
    ttls = ttls or [StoreSettings().ttl.total_seconds()]
    return Report(
        requests=len(accesses),
        values=len({access.key for access in accesses}),
        footprint_bytes=whole,
        duration_seconds=accesses[-1].time - accesses[0].time,
        recorded_hit_rate=trace.hit_rate,
        not_cacheable=trace.not_cacheable,
        unreadable=trace.unreadable,
        forecasts=[_forecast(accesses, *choice) for choice in product(policies, ttls, sorted(sizes))],
    )


def _forecast(accesses: Sequence[Access], policy: PolicyName, ttl_seconds: float | None, max_bytes: int) -> Forecast:
    result = simulate(accesses, policy, max_bytes, ttl_seconds)
    return Forecast(
        policy, ttl_seconds, max_bytes, result.hit_rate, result.saved_seconds, result.saved_share, result.evicted
    )


def _policy(name: str) -> PolicyName:
    for policy in POLICIES:
        if policy == name:
            return policy
    raise wrong("--policy {name}: it is one of {policies}", name=name, policies=", ".join(POLICIES))


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise wrong("--size {error}", error=error) from None


def _ttl(text: str) -> float | None:
    try:
        return None if text == _FOR_EVER else parse_duration(text).total_seconds()
    except ValueError as error:
        raise wrong("--ttl {error}; none keeps for ever", error=error) from None


# -- what it prints -----------------------------------------------------------------------------------------------------


def _told(report: Report) -> Iterator[str]:
    yield phrase(
        "{requests:,} requests in {time}, for {clips:,} clips, {size} in all",
        requests=report.requests,
        time=_time(report.duration_seconds),
        clips=report.values,
        size=size(report.footprint_bytes),
    )
    if report.recorded_hit_rate is not None:
        rate = 100 * report.recorded_hit_rate
        yield phrase("answered from the cache when it was recorded: {rate:.1f} %", rate=rate)
    if report.not_cacheable:
        yield phrase("left out: {count:,} requests with no-store", count=report.not_cacheable)
    if report.unreadable:
        yield phrase("left out: {count:,} lines that are no request", count=report.unreadable)


def _table(report: Report) -> Iterator[str]:
    rows = [_HEAD, *(_row(report, forecast) for forecast in report.forecasts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for policy, *others in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join([f"{policy:{widths[0]}}", *cells])


def _row(report: Report, forecast: Forecast) -> tuple[str, ...]:
    return (
        forecast.policy,
        _FOR_EVER if forecast.ttl_seconds is None else _time(forecast.ttl_seconds),
        size(forecast.max_bytes),
        f"{100 * forecast.max_bytes / max(report.footprint_bytes, 1):.3g} %",
        f"{100 * forecast.hit_rate:.1f} %",
        _time(forecast.saved_seconds),
        f"{100 * forecast.saved_share:.1f} %",
        f"{forecast.evicted:,}",
    )


def _time(seconds: float) -> str:
    if seconds < _HOUR_SECONDS:
        return f"{seconds:.1f} s"
    return f"{seconds / _HOUR_SECONDS:.1f} h" if seconds < 3 * DAY_SECONDS else f"{seconds / DAY_SECONDS:.1f} d"
