"""Record the times of requests, without their texts: a trace for ``sayonce simulate``.

A trace is text. Its first line is ``# sayonce trace 1``; each further line is one answered request::

    time,value,bytes,kept,take,take_bytes,cost,outcome,tenant

``time`` is in seconds since the Unix epoch. ``value`` stands for the clip: 12 bytes of its key's BLAKE2b under a random
key that is made anew for each run of the server, kept in its memory alone and shared by its workers. ``kept`` is
``store`` where stores keep such a clip, and ``memory`` where it is made again of its take instead. ``take`` stands for
the take that it was derived from, and is empty where the clip is the take itself. ``cost`` is the seconds that the
synthesis took. Sizes and costs are rounded to three digits. ``tenant`` is hashed like the value.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache, partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self

from sayonce.core.envelope import OVERHEAD_BYTES, Entry
from sayonce.core.outcome import Outcome
from sayonce.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sayonce.core.clock import Clock
    from sayonce.speech.plan import Plan

log = logging.getLogger("sayonce.observe")

HEADER: Final = "# sayonce trace 1"
KEY_VARIABLE: Final = "SAYONCE_TRACE_KEY"
"""Hands a run's random key from the first process to its workers; it is written nowhere."""
VALUE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_TENANT_BYTES: Final = 4
_REMEMBERED: Final = 10_000
"""Digests of clips that are asked for again and again."""
_WRITE_SECONDS: Final = 1.0
_MAX_WAITING: Final = 100_000
"""Requests that may wait for a disk; more are left out, and the log says how many."""

Note = tuple[float, bytes, bytes, bool, str, Outcome, int, dict[str, Any], float]
"""Time, keys of the clip and its take, whether the format is lossless, tenant, outcome, size, facts, cost: no text."""


class Recorder:
    """Writes a trace in the background; an async context manager. Several processes may append to one file.

    Raises:
        ConfigError: the file cannot be written.

    """

    def __init__(self, path: str, max_bytes: int, clock: Clock) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._hashed = lru_cache(_REMEMBERED)(partial(_hashed, run_key()))
        self._waiting: list[Note] = []
        self._left_out = 0
        self._recording = True
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"trace.file: cannot write {path}: {error.strerror}") from None

    def note(self, plan: Plan, outcome: Outcome, entry: Entry) -> None:
        """Remember an answer until it is written; all that a hit pays for its trace."""
        if not self._recording or len(self._waiting) >= _MAX_WAITING:
            self._left_out += 1
            return
        self._waiting.append(
            (
                self._clock(),
                plan.clip_key,
                plan.take_key,
                plan.request.format.lossless,
                plan.tenant,
                outcome,
                entry.size_bytes,
                entry.about,
                entry.compute_seconds,
            )
        )

    async def flush(self) -> None:
        """Write the waiting notes."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            await asyncio.to_thread(self._append, waiting)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        if self._task is not None:
            await self._task
        os.close(self._file)
        if self._left_out:
            log.warning("%s: %d requests are not in the trace", self._path, self._left_out)

    async def _write(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _WRITE_SECONDS)
            await self.flush()

    def _append(self, notes: Sequence[Note]) -> None:
        lines = [self._line(note) for note in notes]
        try:
            written = append(self._file, lines, self._max_bytes)
        except OSError as error:
            log.warning("%s: the trace ends here: %s", self._path, error.strerror)
            written = 0
            self._recording = False
        else:
            if written < len(lines):
                log.warning("%s: the trace ends here: it has reached %d bytes", self._path, self._max_bytes)
                self._recording = False
        self._left_out += len(lines) - written

    def _line(self, note: Note) -> str:
        time, clip_key, take_key, lossless, tenant, outcome, size_bytes, about, seconds = note
        value, take, kept, take_bytes = self._hashed(clip_key, VALUE_BYTES), "", "store", 0
        if take_key is not clip_key:
            take, take_bytes = self._hashed(take_key, VALUE_BYTES), about.get("take_bytes", 0) + OVERHEAD_BYTES
            kept = "memory" if lossless else "store"  # it is made of its take in a millisecond
        owner = self._hashed(b"tenant " + tenant.encode(), _TENANT_BYTES)
        cost = about.get("take_seconds", seconds)
        sizes = f"{_rounded(size_bytes)},{kept},{take},{_rounded(take_bytes)}"
        return f"{time:.3f},{value},{sizes},{cost:.3g},{outcome.value},{owner}\n"


def _hashed(key: bytes, content: bytes, size: int) -> str:
    return blake2b(content, digest_size=size, key=key).hexdigest()


def run_key() -> bytes:
    """Return the random key of this run of the server: that of the process which started the workers, if there is one."""
    return bytes.fromhex(os.environ.get(KEY_VARIABLE, "")) or os.urandom(_KEY_BYTES)


def new_run_key() -> str:
    """Return a key to hand to the workers under ``KEY_VARIABLE``."""
    return os.urandom(_KEY_BYTES).hex()


def append(file: int, lines: Iterable[str], max_bytes: int) -> int:
    """Write whole lines to the end of a file until it is full, and return how many; one process at a time.

    Raises:
        OSError: the disk is full, or gone.

    """
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        size = os.fstat(file).st_size
        content = bytearray() if size else bytearray(f"{HEADER}\n", "ascii")
        written = 0
        for line in lines:
            if size + len(content) + len(line) > max_bytes:
                break
            content += line.encode("ascii")
            written += 1
        _write_whole(file, content)
        return written
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _write_whole(file: int, content: bytearray) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]


def _rounded(size_bytes: int) -> int:
    return int(float(f"{size_bytes:.3g}"))
