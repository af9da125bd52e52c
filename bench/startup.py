"""How long it takes to import, to be ready, to serve the first hit, and to say something that was said before.

``python -m bench.startup [--rounds 15]``
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.common import ADDRESS, SPEECH, await_ready, finish, free_port, median, running, table, verdict

TEXT = "Hello, how are you today?"
FIELDS = {"model": "hibari", "input": TEXT, "voice": "heart", "response_format": "wav"}


def python(code: str) -> float:
    """Return the ms that a fresh interpreter takes for a piece of code."""
    return _ms([sys.executable, "-c", code])


def _ms(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return 1000 * (time.perf_counter() - started)


def say(directory: Path, store: str) -> float:
    command = [sys.executable, "-m", "sayonce", "say", TEXT, "-o", str(directory / "clip.wav"), "--store", store]
    return _ms([*command, "--engine", "hibari"])


def serve(store: str) -> tuple[float, float]:
    """Return the ms from the command to the first hit's last byte, and to ready."""
    port = free_port()
    command = [sys.executable, "-m", "sayonce", "serve", "--port", str(port), "--store", store]
    started = time.perf_counter()
    with running(*command):
        await_ready(port, "/health/live")
        first_hit = _hit(port) - started
        await_ready(port)
        ready = time.perf_counter() - started
    return 1000 * first_hit, 1000 * ready


def _hit(port: int) -> float:
    connection = http.client.HTTPConnection(ADDRESS, port)
    connection.request("POST", SPEECH, json.dumps(FIELDS), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    finished = time.perf_counter()
    status = answer.headers["Cache-Status"]
    if not status.startswith("sayonce; hit"):
        raise SystemExit(f"this should have been a hit: {answer.status} {status}")
    connection.close()
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        store = f"sqlite:///{name}/clips.db"
        say(Path(name), store)  # warms the store
        measured: dict[str, list[float]] = {}
        for _ in range(rounds):
            first_hit, ready = serve(store)
            figures = {
                "python -c pass": python("pass"),
                "import sayonce": python("import sayonce"),
                "import sayonce.gateway.app": python("import sayonce.gateway.app"),
                "sayonce say, a hit": say(Path(name), store),
                "sayonce serve, to the first hit": first_hit,
                "sayonce serve, to /health/ready": ready,
            }
            for what, ms in figures.items():
                measured.setdefault(what, []).append(ms)
    medians = {what: median(found) for what, found in measured.items()}
    bare = medians["python -c pass"]
    rows = [(what, round(ms), round(ms - bare), f"{ms / bare:.1f}") for what, ms in medians.items()]
    table(f"ms, medians of {rounds} rounds", ("", "ms", "ms beyond python -c pass", "times"), rows)
    print()
    verdict("import sayonce, ms with the interpreter's own start", medians["import sayonce"], target=150, at_most=True)
    verdict("ready, s", medians["sayonce serve, to /health/ready"] / 1000, target=2, at_most=True)
    finish("startup", {"ms": medians})


if __name__ == "__main__":
    main()
