"""A reference as an engine is given it, and as Sayonce identifies it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from sayonce.audio.voice import Voice
from sayonce.errors import InvalidRequest, SayonceError, with_article
from sayonce.features.adapters._state import State

Source = str | os.PathLike[str] | bytes


class Reference(NamedTuple):
    """A file, or the bytes of one, and the voice that it held when it was looked at."""

    source: Source
    voice: Voice

    @classmethod
    def of(cls, source: Source) -> Self:
        """Identify a reference.

        Raises:
            InvalidRequest: it cannot be read or decoded, is empty, too long or too large.

        """
        if not isinstance(source, str | os.PathLike | bytes):
            raise InvalidRequest(
                f"a reference is a path or bytes, and it is {with_article(type(source).__name__)}", param="ref_audio"
            )
        return cls(source, Voice.from_audio(source))

    @classmethod
    def find(cls, source: Any, state: State) -> Self | None:
        """Identify a reference, or return None: the engine may take it all the same; the log says so once for an engine."""
        try:
            return cls.of(source)
        except (SayonceError, ValueError, OSError) as error:
            state.tell(error)
            return None

    @contextmanager
    def file(self) -> Iterator[str]:
        """Lend a private copy that holds this very voice, also when the reference is overwritten meanwhile.

        Raises:
            InvalidRequest: the reference has been overwritten, or cannot be read any more.

        """
        given = isinstance(self.source, bytes)
        data = self.source if isinstance(self.source, bytes) else _read(self.source)
        if not given and Voice.from_audio(data) != self.voice:
            raise InvalidRequest("the reference audio was overwritten while it was in use", param="ref_audio")
        with tempfile.TemporaryDirectory(prefix="sayonce-") as directory:
            copy = Path(directory, "reference" + ("" if given else Path(os.fsdecode(self.source)).suffix))
            copy.write_bytes(data)
            yield str(copy)


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}", param="ref_audio") from error
