"""Keys per second: from a request's body to its key, against digesting and decoding the same bytes alone.

``python -m bench.keys [--rounds 15]``
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

import msgspec

from bench.common import finish, median, table
from sayonce.config import load_settings
from sayonce.service import Service
from sayonce.speech.plan import Plan
from sayonce.speech.request import parse_json
from sayonce.speech.synthesis import Synthesizer

CALLS = 3000
SHORT = "Hello, how are you today?"
BODIES = {
    "short": {"model": "hibari", "input": SHORT, "voice": "heart"},
    "short, every field": {
        "model": "hibari", "input": SHORT, "voice": {"id": "heart"}, "response_format": "wav", "speed": 1.25, "seed": 7,
        "stream_format": "audio",
    },
    "4,000 characters": {"model": "hibari", "input": SHORT * 160, "voice": "heart"},
    "4,000 characters, French": {"model": "espeak", "input": "déjà vu à Noël, " * 250, "voice": "fr"},
}  # fmt: skip


def baseline(body: bytes) -> None:
    blake2b(body).digest()
    msgspec.json.decode(body)


def key(synthesizer: Synthesizer, body: bytes) -> Plan:
    """What the gateway does with every request before it can look anything up."""
    return synthesizer.plan(synthesizer.parse(parse_json(body), ""), "")


def seconds_each(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    service = Service(load_settings(environment={}, overrides={"store.url": "memory://"}))
    rows, figures = [], {}
    for name, fields in BODIES.items():
        body = json.dumps(fields).encode()
        sides = (partial(baseline, body), partial(key, service.synthesizer, body))
        pairs = [tuple(map(seconds_each, sides)) for _ in range(rounds + 1)][1:]  # the first round warms up
        bare, keyed = (median(column) for column in zip(*pairs, strict=True))
        rows.append((name, round(1 / keyed), round(1 / bare), f"{1e6 * keyed:.1f}", f"{1e6 * bare:.1f}", keyed / bare))
        figures[name] = {"keys_per_second": 1 / keyed, "baseline_per_second": 1 / bare, "ratio": keyed / bare}
    columns = ("body", "keys/s", "baseline/s", "key µs", "baseline µs", "times the baseline")
    table("from body to key, against blake2b + msgspec.json.decode of the body", columns, rows)
    print()
    finish("keys", {"sides": figures})


if __name__ == "__main__":
    main()
