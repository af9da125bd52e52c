"""The bounds of connections beside uvicorn's own."""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.common import ADDRESS, HERE, await_ready, free_port, running, sayonce
from bench.own_parts.common import cases


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Answer 200 to everything: an application for uvicorn as it comes."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def _long_header(port: int, process: int) -> str:
    """Send a header of 64 MB without an end, and return how much memory the server takes for it."""
    before = _steady(process)
    with socket.create_connection((ADDRESS, port)) as client:
        with suppress(OSError):  # the server has cut it off
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            for _ in range(64):
                client.sendall(b"X: " + b"a" * 1_000_000 + b"\r\n")
        time.sleep(0.5)
        return f"{(_resident(process) - before) / 1e6:.0f} MB"


def _steady(process: int) -> int:
    """Return the memory of a server once its start is over."""
    before, now = 0, _resident(process)
    while abs(now - before) > 500_000:
        time.sleep(2)
        before, now = now, _resident(process)
    return now


def _half_header(port: int, _process: int) -> str:
    """Send half a header, and return whether the connection is still open three seconds later."""
    with socket.create_connection((ADDRESS, port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        client.settimeout(3)
        try:
            return "ended" if client.recv(100) is not None else ""
        except TimeoutError:
            return "open"
        except ConnectionResetError:
            return "ended"


def _resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def compare() -> dict[str, Any]:
    port = free_port()
    uvicorn = [
        sys.executable,
        "-m",
        "uvicorn",
        "bench.own_parts.bounds:plain",
        "--port",
        str(port),
        "--http",
        "httptools",
    ]
    bounded = ["--timeout-keep-alive", "1", "--h11-max-incomplete-event-size", "65536", "--log-level", "error"]
    rows: dict[str, dict[str, object]] = {"a header of 64 MB takes": {}, "half a header after 3 s": {}}
    with (
        running(*uvicorn, *bounded, env={"PYTHONPATH": str(HERE.parent)}) as process,
        sayonce("--store", "memory://", env={"SAYONCE_SERVER__HEADER_SECONDS": "1"}) as ours,
    ):
        await_ready(port)
        for side, asked in {"ours": (ours.port, ours.process_id), "uvicorn": (port, process)}.items():
            rows["half a header after 3 s"][side] = _half_header(*asked)
            rows["a header of 64 MB takes"][side] = _long_header(*asked)
    cases("Bounds of connections (1 s for a header, or for keep-alive, the only time uvicorn has)", rows)
    return rows
