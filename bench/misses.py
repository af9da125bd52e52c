"""What a whole miss of 9 s of espeak's speech costs the gateway in processor time, format by format.

``python -m bench.misses --against PYTHON [--rounds 5] [--misses 20]``

``PYTHON`` is the interpreter of another checkout's environment, in which that checkout is installed with its ``espeak``
extra. Both gateways keep their clips in SQLite, run on one core, and are asked for blocks of new texts in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator

from bench.client import Client
from bench.common import LOAD_CORE, SERVER_CORE, Server, finish, median, sayonce, stay_on, table, verdict
from sayonce.audio.formats import FORMATS

TARGETS = {"mp3": 0.35, "opus": 0.35}
"""Of the other checkout's processor time, as it stood before encoders were chosen by cost."""
TEXT = (
    "Clip {}: the harbor master watched seven grey ships leave the bay before sunrise, and then he wrote down their "
    "names in the large book. Please bring a blanket and two candles."
)


def block(server: Server, audio_format: str, texts: list[str]) -> float:
    """Return the ms of the server's processor time that each miss took."""
    bodies = [
        json.dumps({"model": "espeak", "input": text, "voice": "en", "response_format": audio_format}).encode()
        for text in texts
    ]
    before = server.cpu_seconds()
    asyncio.run(send(server.port, bodies))
    return 1000 * (server.cpu_seconds() - before) / len(texts)


async def send(port: int, bodies: list[bytes]) -> None:
    client = Client(port)
    for body in bodies:
        reply = await client.ask(body)
        if reply.headers.get(b"cache-status") != b"sayonce; fwd=miss; stored":
            raise SystemExit(f"this should have been a miss: {reply.status} {reply.headers} {reply.body[:200]!r}")
    client.close()
    await asyncio.sleep(0.1)  # until all is written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--misses", type=int, default=20)
    options = parser.parse_args()
    stay_on(LOAD_CORE)
    texts: Iterator[str] = map(TEXT.format, itertools.count())
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    engine = ("--engine", "espeak")
    with (
        sayonce(*engine, core=SERVER_CORE) as ours,
        sayonce(*engine, core=SERVER_CORE, python=options.against) as theirs,
    ):
        sides = {"ours": ours, "theirs": theirs}
        for number in range(options.rounds + 1):
            for audio_format, (side, server) in itertools.product(FORMATS, sides.items()):
                took = block(server, audio_format, list(itertools.islice(texts, options.misses)))
                if number:  # the first round warms up
                    found[audio_format, side].append(took)
    report({each: median(took) for each, took in found.items()})


def report(figures: dict[tuple[str, str], float]) -> None:
    ratios = {each: figures[each, "ours"] / figures[each, "theirs"] for each in FORMATS}
    rows = [(each, figures[each, "theirs"], figures[each, "ours"], ratios[each]) for each in FORMATS]
    table("ms of processor time for a miss of 9 s", ("", "the other checkout", "this one", "ratio"), rows)
    print()
    for audio_format, target in TARGETS.items():
        verdict(f"{audio_format}: of the other checkout's", ratios[audio_format], target=target, at_most=True)
    finish("misses", {"ms": {f"{each}, {side}": took for (each, side), took in figures.items()}, "ratios": ratios})


if __name__ == "__main__":
    main()
