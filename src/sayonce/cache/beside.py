"""What the workers of one server tell one another over a directory, where the store cannot tell it for them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

_PREFIX: Final = ".purges-"
"""Begins with a dot: those who read figures in the same directory pass over it."""


class Unwritten(msgspec.Struct):
    """What was purged and is not in the store yet: epochs of tags, and keys."""

    epochs: dict[str, int] = {}
    keys: set[bytes] = set()

    def __bool__(self) -> bool:
        return bool(self.epochs or self.keys)


_decode = msgspec.msgpack.Decoder(Unwritten).decode


class Beside:
    """A file for each worker, written whole or not at all, in a directory that only this user can look into."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._name = f"{_PREFIX}{os.getpid()}-{time.time_ns()}"
        self._seen: dict[str, bytes] = {}
        self._left = False

    def leave(self, unwritten: Unwritten) -> None:
        """Leave what the others are to obey; nothing, once the store has it."""
        path = self._directory / self._name
        if not unwritten:
            if self._left:
                path.unlink(missing_ok=True)
            self._left = False
            return
        hidden = self._directory / f".new{self._name}"
        hidden.write_bytes(msgspec.msgpack.encode(unwritten))
        hidden.replace(path)
        self._left = True

    def read(self) -> Iterator[Unwritten]:
        """Yield what each of the others has left since the last look.

        Raises:
            OSError: the directory cannot be read.

        """
        for entry in os.scandir(self._directory):
            if not entry.name.startswith(_PREFIX) or entry.name == self._name:
                continue
            try:
                left = Path(entry.path).read_bytes()
            except FileNotFoundError:
                continue  # it was obeyed by all and removed meanwhile
            if self._seen.get(entry.name) != left:  # not by its time, which two changes may share
                yield _decode(left)
                self._seen[entry.name] = left
