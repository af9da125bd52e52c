"""What a client that means no good takes from others: a bystander's hits in memory, and the process's peak, flood by flood.

``python -m bench.floods [--seconds 5] [--only TEXT]``: one server without API keys and with bounds of 20 MB, on one core;
the floods and the bystander, which opens a connection for each of its hits, on another.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.common import (
    ADDRESS,
    LOAD_CORE,
    SERVER_CORE,
    SPEECH,
    Server,
    finish,
    percentile,
    sayonce,
    stay_on,
    table,
    verdict,
)

P99_MS = 20.0
BOUNDS_MB, SPARE_MB = 60.0, 150.0
BOUNDS = {
    "SAYONCE_SERVER__BUFFERED_MAX_BYTES": "20 MB",
    "SAYONCE_SERVER__UNREAD_MAX_BYTES": "20 MB",
    "SAYONCE_MEMORY__MAX_BYTES": "20 MB",
}
HELLO = {"input": "Hello there.", "response_format": "mp3"}
LONG = {"input": "It was the best of times, it was the worst of times. " * 20, "response_format": "wav"}
"""Four such clips are 12 MB, within the memory's bound: the bystander's clip stays, and nothing is computed meanwhile."""


EIGHT_MB = b"x" * 7_900_000 + b'"}'


def post(body: bytes, length: int | None = None, chunked: bool = False) -> bytes:
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (length or len(body))
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%b\r\n\r\n"
    return head % (SPEECH.encode(), framing) + body


MANY_FIELDS = post(b"{" + b",".join(b'"f%d":1' % n for n in range(600_000)) + b"}")


def passed_on(content: bytes) -> bytes:
    return post(b'{"input":"a","z":' + content + b"}")


@dataclass
class Flood:
    """What one connection sends, and how long until the next one is opened."""

    name: str
    sent: Callable[[int], bytes]
    pause_seconds: float
    small_window: bool = False


def unread(number: int) -> bytes:
    """Ask for one of four clips, once for all and from then on from memory."""
    return post(json.dumps(LONG | {"input": f"{number % 4} {LONG['input']}"}).encode())


def streamed(_: int) -> bytes:
    return post(json.dumps(LONG | {"stream_format": "sse"}).encode())


def instructions(number: int) -> bytes:
    return post(b'{"input":"Hello there.","instructions":"%07d' % number + EIGHT_MB)  # quickly, beside the bystander


def upload(number: int) -> bytes:
    """Send a file that is nothing but beginnings of FLAC, as a voice."""
    part = b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
    sound = b"fLaC" + number.to_bytes(4, "big") + b"fLaC" * 500_000
    body = (
        part % (b"name", b"", b"v%d" % number) + part % (b"audio_sample", b'; filename="a.flac"', sound) + b"--x--\r\n"
    )
    head = b"POST /v1/audio/voices HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


FLOODS = [
    Flood("half headers", lambda _: b"GET / HTTP/1.1\r\nHost: l\r\nX: ", 0.002),
    Flood("header megabytes", lambda _: b"GET / HTTP/1.1\r\nHost: l\r\nX: " + b"a" * 5_000_000, 0.05),
    Flood("unfinished bodies", lambda _: post(b" " * 3_000_000, length=7_900_000), 0.1),
    Flood("unread clips", unread, 0.02, small_window=True),
    Flood("unread streams", streamed, 0.01, small_window=True),
    Flood("8 MB instructions", instructions, 0.2),
    Flood("600,000 fields", lambda _: MANY_FIELDS, 0.3),
    Flood("nested lists", lambda _: passed_on(b"[" * 30 + b",".join([b"[]"] * 15_000) + b"]" * 30), 0.05),
    Flood("numbers", lambda _: passed_on(b"[" + b",".join([b"1"] * 4000) + b"]"), 0.05),
    Flood("one-byte chunks", lambda _: post(b"1\r\n \r\n" * 300_000, chunked=True), 0.3),
    Flood("descriptions", lambda _: b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10, 0.01),
    Flood("decoder hogs", upload, 0.3),
]


@dataclass
class Row:
    flood: str
    connections: int
    hits: int
    p50_ms: float
    p99_ms: float
    peak_mb: float
    """Above what the server had when it had answered once."""


class Bystander(threading.Thread):
    """Asks for one clip in memory, every 10 ms, on a new connection each time."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.going, self.seconds = port, True, list[float]()
        self.request = post(json.dumps(HELLO).encode()).replace(b"\r\nHost", b"\r\nConnection: close\r\nHost", 1)

    def run(self) -> None:
        while self.going:
            started = time.perf_counter()
            answer = b""
            with suppress(OSError), socket.create_connection((ADDRESS, self.port), 30) as connection:
                connection.sendall(self.request)
                while part := connection.recv(1 << 16):
                    answer += part
            # One that is refused, or is no hit, has waited for nothing: it counts as if it had waited for a second.
            hit = answer.startswith(b"HTTP/1.1 200") and b"hit; detail=memory" in answer
            self.seconds.append(time.perf_counter() - started if hit else 1.0)
            time.sleep(0.01)


def resident_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process_id}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def send(server: Server, flood: Flood, number: int) -> socket.socket:
    connection = socket.socket()
    if flood.small_window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(2)
    with suppress(OSError):
        connection.connect((ADDRESS, server.port))
        connection.sendall(flood.sent(number))
    return connection


def measure(flood: Flood, seconds: float) -> Row:
    with sayonce("--store", "memory://", core=SERVER_CORE, env=BOUNDS) as server:
        for request in (
            post(json.dumps(HELLO).encode()),
            *(flood.sent(number) for number in range(4) if flood.small_window),
        ):
            with socket.create_connection((ADDRESS, server.port), 60) as connection:
                connection.sendall(request.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost", 1))
                while connection.recv(1 << 16):
                    pass
        before = peak = resident_mb(server)
        bystander, held = Bystander(server.port), list[socket.socket]()
        bystander.start()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            held.append(send(server, flood, len(held)))
            peak = max(peak, resident_mb(server))
            time.sleep(flood.pause_seconds)
        bystander.going = False
        bystander.join()
        for connection in held:
            connection.close()
    waited = bystander.seconds
    return Row(
        flood.name, len(held), len(waited), 1000 * percentile(waited, 50), 1000 * percentile(waited, 99), peak - before
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", default="", metavar="TEXT")
    options = parser.parse_args()
    stay_on(LOAD_CORE)
    rows = [measure(flood, options.seconds) for flood in FLOODS if options.only in flood.name]
    columns = ("flood", "connections", "hits", "p50 ms", "p99 ms", "peak MB above the start")
    table("A bystander's hits in memory", columns, [tuple(asdict(row).values()) for row in rows])
    for row in rows:
        verdict(f"{row.flood}: p99 of others' hits, ms", row.p99_ms, target=P99_MS, at_most=True)
        verdict(f"{row.flood}: peak, MB above the start", row.peak_mb, target=BOUNDS_MB + SPARE_MB, at_most=True)
    finish("floods", {"rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
