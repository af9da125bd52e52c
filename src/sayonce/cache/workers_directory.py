"""A directory over which the workers of one server tell one another of purges while the store is away."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from sayonce.cache.known_purges import Unwritten

log = logging.getLogger("sayonce.cache")

_PREFIX: Final = ".purges-"
"""Begins with a dot: the readers of figures in the same directory pass over it."""


def hold(directory: Path) -> Path:
    """Return the directory, made anew if it is gone, as after the temporary files were cleaned up.

    Raises:
        OSError: it cannot be made, or it is another user's.

    """
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{directory} is not a directory of this user")
    return directory


_decode = msgspec.msgpack.Decoder(Unwritten).decode


class WorkersDirectory:
    """A file for each worker, written whole or not at all, in a directory that only this user can look into."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._name = f"{_PREFIX}{os.getpid()}-{time.time_ns()}"
        self._seen: dict[str, bytes] = {}
        self._left = False
        self._told = False

    def leave(self, unwritten: Unwritten) -> None:
        """Leave what the others are to obey; nothing, once the store has it.

        Raises:
            OSError: the directory cannot be written.

        """
        path = self._directory / self._name
        if not unwritten:
            if self._left:
                path.unlink(missing_ok=True)
            self._left = False
            return
        hidden = hold(self._directory) / f".new{self._name}"
        hidden.write_bytes(msgspec.msgpack.encode(unwritten))
        hidden.replace(path)
        self._left = True

    def read(self) -> Iterator[Unwritten]:
        """Yield what each of the others has left since the last look.

        Raises:
            OSError: the directory cannot be read.

        """
        for entry in os.scandir(hold(self._directory)):
            if (
                not entry.name.startswith(_PREFIX)
                or entry.name == self._name
                or not entry.is_file(follow_symlinks=False)
            ):
                continue
            try:
                left = Path(entry.path).read_bytes()
            except FileNotFoundError:
                continue  # it was obeyed by all and removed meanwhile
            if self._seen.get(entry.name) != left:  # not by its time, which two changes may share
                self._seen[entry.name] = left
                yield from self._opened(entry.path, left)

    def _opened(self, path: str, left: bytes) -> Iterator[Unwritten]:
        try:
            yield _decode(left)
        except msgspec.MsgspecError:
            if not self._told:
                log.warning("%s is not of this program, and is ignored", path)
            self._told = True


class PurgeNotices:
    """The purges that the workers of one server tell one another, where they share a directory.

    A directory that cannot be used is told in the log, once.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = None if directory is None else WorkersDirectory(directory)
        self._told = False

    @property
    def reach_workers(self) -> bool:
        """Whether there are other workers to tell."""
        return self._directory is not None

    def leave(self, unwritten: Unwritten) -> bool:
        """Leave for the other workers what the store does not have yet; False when that failed."""
        if self._directory is None:
            return True
        try:
            self._directory.leave(unwritten)
        except OSError as error:
            self._tell("written", error)
            return False
        return True

    def read(self, learn: Callable[[Unwritten], None]) -> bool:
        """Have what the other workers have left obeyed; False when that cannot be read."""
        if self._directory is None:
            return True
        try:
            for told in self._directory.read():
                learn(told)
        except OSError as error:
            self._tell("read", error)
            return False
        return True

    def _tell(self, what: str, error: OSError) -> None:
        if not self._told:
            log.warning("the directory that this server's workers share cannot be %s: %s", what, error)
        self._told = True
