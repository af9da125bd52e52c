"""What the shipped proxy configurations add to the first byte of a miss, and what they make of a cut stream.

``python -m bench.proxies [--texts 40] [NAME=PROGRAM …]``

The proxies are those of ``deploy/proxies`` that are installed, or others by their path: ``nginx=/opt/nginx/sbin/nginx``.
Each text is asked for once directly and once through the proxy, in turn, on connections that are kept; the figure is the
median of the differences. The engine speaks for about half a second, so a proxy that waited for the end would show.
A stream is cut in the middle twice: the engine fails, and the gateway is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import tempfile
import time
from pathlib import Path

import httpx
from tests.helpers.proxies import NAMES, Proxy, installed, run_proxy

from bench.common import ADDRESS, SPEECH, bench_server, finish, median, percentile, table, verdict

TARGET_MS = 20.0
NUMBERS = itertools.count()


async def main(texts: int, programs: list[tuple[str, str]]) -> None:
    rows, figures = [], {}
    for (name, path), http2 in itertools.product(programs, (False, True)):
        with (
            bench_server("proxies_server.py", env={"SAYONCE_LOG__LEVEL": "error"}) as server,
            tempfile.TemporaryDirectory() as directory,
            run_proxy(name, Path(directory), server.port, path=path) as proxy,
        ):
            label = f"{name} {proxy.version}, {'HTTP/2' if http2 else 'HTTP/1.1'}"
            pairs = await measure(proxy, server.port, texts, http2=http2)
            fails = await cut(proxy, http2=http2)
            killed = await cut(proxy, http2=http2, kill=server.process_id)
        direct, through = (median(column) for column in zip(*pairs, strict=True))
        added = [slow - fast for fast, slow in pairs]
        figures[label] = {"direct_ms": direct, "proxy_ms": through, "added_ms": median(added)}
        figures[label] |= {"engine_fails": fails, "gateway_killed": killed}
        rows.append((label, direct, through, median(added), percentile(added, 90), fails, killed))
    columns = ("", "direct", "proxy", "added (median)", "added (p90)", "engine fails", "gateway killed")
    table(f"ms to the first byte of a miss, {texts} texts each; whether the client sees a cut", columns, rows)
    print()
    for label, found in figures.items():
        verdict(f"{label}: ms added", float(found["added_ms"]), target=TARGET_MS, at_most=True)
    finish("proxies", {"sides": figures})


async def measure(proxy: Proxy, port: int, texts: int, *, http2: bool) -> list[tuple[float, float]]:
    """Return (direct, through the proxy) in ms for each text, the one or the other first in turn."""
    pairs = []
    straight = httpx.AsyncClient(base_url=f"http://{ADDRESS}:{port}", trust_env=False)
    async with straight, proxy.client(http2=http2) as client:
        for number in range(texts + 3):
            sides = (straight, client) if number % 2 else (client, straight)
            first = {id(side): await first_byte_ms(side) for side in sides}
            pairs.append((first[id(straight)], first[id(client)]))
    return pairs[3:]  # the first ones connect and warm up


def fields(text: str) -> dict[str, str]:
    return {"model": "stub", "input": text, "voice": "anna", "response_format": "pcm"}


async def first_byte_ms(client: httpx.AsyncClient) -> float:
    started, first = time.perf_counter(), 0.0
    async with client.stream("POST", SPEECH, json=fields(f"Text {next(NUMBERS)}.")) as answer:
        async for _ in answer.aiter_raw():
            first = first or time.perf_counter() - started
    if "fwd=miss" not in answer.headers["cache-status"]:
        raise SystemExit(f"this should have been a miss: {answer.status_code} {answer.headers}")
    return 1000 * first


async def cut(proxy: Proxy, *, http2: bool, kill: int | None = None) -> str:
    """Have a stream cut in its middle, and return whether the client sees it."""
    async with proxy.client(http2=http2) as client:
        try:
            async with client.stream("POST", SPEECH, json=fields(f"{'Kill' if kill else 'Fail'} me.")) as answer:
                async for _ in answer.aiter_raw():
                    if kill is not None:
                        os.kill(kill, signal.SIGKILL)
                        kill = None
        except (httpx.RemoteProtocolError, httpx.ReadError):
            return "seen"
    return "hidden"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("programs", nargs="*", metavar="NAME=PROGRAM")
    options = parser.parse_args()
    given = [(name, path) for name, _, path in (each.partition("=") for each in options.programs)]
    found = [(name, path) for name in NAMES if (path := installed(name)) is not None]
    asyncio.run(main(options.texts, given or found))
