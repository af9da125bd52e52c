"""What the benchmarks share: servers on one core, load from the other, rounds in turn, and figures side by side."""

from __future__ import annotations

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import redis

HERE = Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
SPEECH = "/v1/audio/speech"
ADDRESS = "127.0.0.1"


def stay_on(core: int) -> None:
    """Pin this process, and what it starts from now on, to a core."""
    os.sched_setaffinity(0, {core})


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((ADDRESS, 0))
        return int(listener.getsockname()[1])


class Server(NamedTuple):
    """A process that listens."""

    port: int
    process_id: int

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used: on a busy machine steadier than any rate."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime; see proc(5)


@contextmanager
def running(*command: str | Path, core: int | None = None, env: dict[str, str] | None = None) -> Iterator[int]:
    """Run a process in an empty directory, and yield its id; it ends with the block."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as log:
        # The directory is also the home of its cache and state: a benchmark neither reads nor leaves clips of its
        # user's, and the user's commands do not take its server for their gateway.
        environment = os.environ | {"XDG_CACHE_HOME": directory, "XDG_STATE_HOME": directory} | (env or {})
        process = subprocess.Popen(command, cwd=directory, env=environment, stderr=log)
        if core is not None:
            os.sched_setaffinity(process.pid, {core})  # before it has started a thread
        try:
            yield process.pid
        finally:
            process.terminate()
            if process.wait(30) not in (0, -15):
                log.seek(0)
                sys.stderr.write(log.read().decode())


@contextmanager
def sayonce(
    *options: str, core: int | None = None, env: dict[str, str] | None = None, python: str = sys.executable
) -> Iterator[Server]:
    """Run ``sayonce serve``, of the environment that ``python`` belongs to, and yield it when its engine is ready."""
    port = free_port()
    command = [python, "-m", "sayonce", "serve", "--port", str(port), *options]
    with running(*command, core=core, env=env) as process_id:
        await_ready(port)
        yield Server(port, process_id)


@contextmanager
def bench_server(
    name: str, *options: str, core: int | None = None, env: dict[str, str] | None = None
) -> Iterator[Server]:
    """Run one of the servers in this directory, and yield it when it answers."""
    port = free_port()
    with running(sys.executable, HERE / name, str(port), *options, core=core, env=env) as process_id:
        await_ready(port)
        yield Server(port, process_id)


def await_ready(port: int, path: str = "/health/ready", seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://{ADDRESS}:{port}{path}", timeout=5) as answer:
                answer.read()
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):  # not yet listening, nobody accepts yet, or 503
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def await_redis(port: int) -> None:
    with redis.Redis(port=port) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.01)
            else:
                return


def ask(port: int, fields: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Send one speech request, and return the clip and the lower-case headers."""
    request = urllib.request.Request(
        f"http://{ADDRESS}:{port}{SPEECH}", json.dumps(fields).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def stats(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{ADDRESS}:{port}/v1/cache/stats", timeout=60) as answer:
        return dict(json.load(answer)["process"])


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def machine() -> str:
    return f"{len(CORES)} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their columns, the first column to the left."""
    cells = [
        list(columns),
        *([f"{cell:,.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}")
    for first, *rest in cells:
        print("  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]))


def verdict(what: str, value: float, *, target: float, at_most: bool = False) -> bool:
    """Print whether a target is met, and return it."""
    met = value <= target if at_most else value >= target
    print(f"{what}: {value:.2f} (target {'≤' if at_most else '≥'} {target:g}): {'met' if met else 'MISSED'}")
    return met


def finish(benchmark: str, figures: dict[str, Any]) -> None:
    """Print the last line, for programs."""
    print(json.dumps({"benchmark": benchmark, "machine": machine(), **figures}))
