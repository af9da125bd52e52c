"""One answer of several processes: each leaves its samples in a directory, and whoever is scraped adds them up.

What a process counted stays after its end, so that no sum ever falls; what it held does not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from sayonce.observe.metrics import Samples, lasting, total

DIRECTORY_VARIABLE: Final = "SAYONCE_WORKERS"
"""Names the directory that the workers of one server share."""
WRITE_SECONDS: Final = 0.5
"""How often a process leaves its samples, and so how far behind another's answer may be."""
_GONE_SECONDS: Final = 10.0
"""A process that has left none for so long has ended."""


class _Left(msgspec.Struct, array_like=True):
    at: float  # time.monotonic(), which all processes of a machine share
    samples: Samples


_decode = msgspec.msgpack.Decoder(_Left).decode


class Workers:
    """The processes of one server; without a directory, this one alone."""

    def __init__(self, directory: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        # A process id may come again, and the file of the one before must stay.
        self._name = f"{os.getpid()}-{time.time_ns()}"

    def leave(self, samples: Samples, *, ended: bool = False) -> None:
        """Leave this process's samples for the others, whole or not at all."""
        if self._directory is None:
            return
        left = _Left(0.0, lasting(samples)) if ended else _Left(self._clock(), samples)
        hidden = self._directory / f".{self._name}"
        hidden.write_bytes(msgspec.msgpack.encode(left))
        hidden.replace(self._directory / self._name)

    def sum(self, samples: Samples) -> Samples:
        """Return this process's samples together with those that the others have left."""
        others = list(self._others())
        living = sum(alive for alive, _ in others)
        return total([samples, {"sayonce_workers": {(): [1 + living]}}, *(found for _, found in others)])

    def _others(self) -> Iterator[tuple[bool, Samples]]:
        if self._directory is None:
            return
        for path in self._directory.iterdir():
            if path.name.startswith(".") or path.name == self._name:
                continue
            left = _decode(path.read_bytes())
            alive = self._clock() - left.at < _GONE_SECONDS and left.at > 0
            yield alive, left.samples if alive else lasting(left.samples)


def directory(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the directory of this server's processes, if it has several."""
    named = environment.get(DIRECTORY_VARIABLE)
    return Path(named) if named else None


@contextmanager
def shared_directory() -> Iterator[None]:
    """Make the directory for the processes that are started within; only this user can look into it."""
    with TemporaryDirectory(prefix="sayonce-") as path:
        os.environ[DIRECTORY_VARIABLE] = path
        try:
            yield
        finally:
            del os.environ[DIRECTORY_VARIABLE]
