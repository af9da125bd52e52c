"""The figures of several processes: each leaves its own in a directory, and the process that is asked adds them up.

The counters of a process stay after its end, so that no sum ever falls; its gauges do not.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from sayonce.cache.workers_directory import hold
from sayonce.config import WORKERS_VARIABLE
from sayonce.observe.metrics import Samples, lasting, total
from sayonce.observe.recent import Shown, together, without_texts

log = logging.getLogger("sayonce.observe")

WRITE_SECONDS: Final = 0.5
"""How often a process leaves its figures, and so how far behind another's answer may be."""
_GONE_SECONDS: Final = 10.0
"""A process that has left none for so long has ended."""


class _Left(msgspec.Struct, array_like=True):
    at: float  # time.monotonic(), which all processes of a machine share
    samples: Samples
    shown: Shown = msgspec.field(default_factory=Shown)


_decode = msgspec.msgpack.Decoder(_Left).decode


class Workers:
    """The processes of one server; without a directory, this one alone."""

    def __init__(self, directory: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        # A process id may come again, and the file of the one before must stay.
        self._name = f"{os.getpid()}-{time.time_ns()}"
        self._warned = False

    def leave(self, samples: Samples, shown: Shown) -> None:
        """Leave this process's samples, clips and requests for the others."""
        self._write(_Left(self._clock(), samples, without_texts(shown)))

    def end(self, samples: Samples) -> None:
        """Leave the counters, which stay after this process's end."""
        self._write(_Left(0.0, lasting(samples)))

    def _write(self, left: _Left) -> None:
        """Write it whole or not at all."""
        if self._directory is None:
            return
        try:
            hidden = hold(self._directory) / f".{self._name}"
            hidden.write_bytes(msgspec.msgpack.encode(left))
            hidden.replace(self._directory / self._name)
        except OSError as error:
            self._warn("this worker's figures cannot be left for the others: %s", error)

    def _warn(self, message: str, *arguments: object) -> None:
        if not self._warned:
            log.warning(message, *arguments)
        self._warned = True

    def sum(self, samples: Samples) -> Samples:
        """Return this process's samples together with those that the others have left."""
        others = list(self._others())
        living = sum(alive for alive, _ in others)
        left = (each.samples if alive else lasting(each.samples) for alive, each in others)
        return total([samples, {"sayonce_workers": {(): [1 + living]}}, *left])

    def show(self, shown: Shown) -> Shown:
        """Return the clips and requests of this process and of the living others."""
        return together(shown, (each.shown for alive, each in self._others() if alive))

    def _others(self) -> Iterator[tuple[bool, _Left]]:
        if self._directory is None:
            return
        try:
            paths = [path for path in hold(self._directory).iterdir() if path.is_file()]
        except OSError as error:
            self._warn("the figures of the other workers cannot be read: %s", error)
            return
        for path in paths:
            if path.name.startswith(".") or path.name == self._name:
                continue
            try:
                left = _decode(path.read_bytes())
            except (OSError, msgspec.MsgspecError):
                self._warn("%s is not of this program, or cannot be read, and is ignored", path)
                continue
            alive = self._clock() - left.at < _GONE_SECONDS and left.at > 0
            yield alive, left


@contextmanager
def shared_directory() -> Iterator[None]:
    """Make the directory for the processes that are started within; only this user can look into it."""
    with TemporaryDirectory(prefix="sayonce-", ignore_cleanup_errors=True) as path:
        os.environ[WORKERS_VARIABLE] = path
        try:
            yield
        finally:
            del os.environ[WORKERS_VARIABLE]
