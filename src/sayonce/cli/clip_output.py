"""The output of a clip: the whole file or none of it, and to stdout only where that is no terminal."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from sayonce.cli.language import phrase
from sayonce.cli.options import wrong
from sayonce.errors import ConfigError, SayonceError

STDOUT: Final = "-"


@contextmanager
def open_output(name: str) -> Iterator[BinaryIO]:
    """Open the file or stdout for a clip, before it is made; a file appears under its name when it is whole.

    Raises:
        ConfigError: the file cannot be written.
        SayonceError: the disk is full.

    """
    if name == STDOUT:
        if sys.stdout is None:
            raise ConfigError(phrase("cannot write {file}: {reason}", file="stdout", reason=phrase("it is closed")))
        if sys.stdout.isatty():
            raise wrong("audio does not go to a terminal: name a file with -o, or pipe it into a player")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        path = Path(name).resolve()  # what a link points to is replaced, not the link
        with _atomic(path) if path.is_file() or not path.exists() else path.open("wb") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        kind = SayonceError if error.errno == errno.ENOSPC else ConfigError
        reason = phrase(error.strerror or str(error))
        raise kind(phrase("cannot write {file}: {reason}", file=name, reason=reason)) from None


@contextmanager
def _atomic(path: Path) -> Iterator[BinaryIO]:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(path)
    finally:
        with suppress(OSError):  # after the rename there is none, and nothing better can be done
            partial.unlink()
