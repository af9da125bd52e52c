"""Figures of several processes beside prometheus_client's multiprocess mode."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.own_parts.common import cases, costs
from sayonce.observe.metrics import BUCKET_SECONDS, Histogram, Samples
from sayonce.observe.recent import Shown
from sayonce.observe.workers import Workers

LABELS = 20
OURS, THEIRS = "ours", "prometheus_client"
WAITING = "sayonce_engine_waiting"


@contextmanager
def child(work: Callable[[], object]) -> Iterator[None]:
    """Fork a process that does some work and stays; it is killed with the block's end, if not before."""
    done = multiprocessing.get_context("fork").Event()

    def run() -> None:
        work()
        done.set()
        signal.pause()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    done.wait()
    try:
        yield
    finally:
        process.kill()
        process.join()


def compare() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = theirs
        if "prometheus_client" in sys.modules:
            raise SystemExit("prometheus_client looks for its directory when it is imported, and it is already")
        rows = _compare(Path(ours), theirs)
    cases("Metrics over several processes", rows)
    return rows


def _compare(ours: Path, theirs: str) -> dict[str, dict[str, object]]:
    import prometheus_client
    from prometheus_client.multiprocess import MultiProcessCollector

    histogram = prometheus_client.Histogram("seconds", "", ["engine"], buckets=BUCKET_SECONDS)
    waiting = prometheus_client.Gauge("waiting", "", multiprocess_mode="livesum")
    engines = [str(number) for number in range(LABELS)]
    mine, now = {engine: Histogram() for engine in engines}, time.monotonic()
    workers = Workers(ours, clock=lambda: now)
    samples: Samples = {
        "sayonce_request_seconds": {(engine, ""): each.numbers() for engine, each in mine.items()},
        WAITING: {("e",): [3.0]},
    }

    def work() -> None:
        for engine in engines:
            histogram.labels(engine).observe(0.01)
        waiting.set(3)
        Workers(ours).leave(samples, Shown())

    def collected() -> dict[str, prometheus_client.Metric]:
        return {metric.name: metric for metric in MultiProcessCollector(None, path=theirs).collect()}

    with child(work), child(work), child(work), child(work):
        one, other = mine["0"], histogram.labels("0")
        observed = costs({OURS: lambda: one.observe(0.01), THEIRS: lambda: other.observe(0.01)}, 20_000)
        scraped = costs({OURS: lambda: workers.sum(samples), THEIRS: collected}, 5)
        sizes = {OURS: _kilobytes(ours), THEIRS: _kilobytes(Path(theirs))}
    now += 11  # the four were killed; one that has left nothing for ten seconds has ended
    left = {
        OURS: workers.sum({}).get(WAITING, {}).get(("e",), [0.0])[0],
        THEIRS: collected()["waiting"].samples[0].value,
    }
    return {
        "a duration, µs": observed,
        f"a scrape of 4 processes with {LABELS} histograms, ms": {side: us / 1000 for side, us in scraped.items()},
        "files, kB": sizes,
        "waiting in 4 processes that were killed, of 3 each": left,
    }


def _kilobytes(directory: Path) -> float:
    return sum(path.stat().st_size for path in directory.iterdir()) / 1000
