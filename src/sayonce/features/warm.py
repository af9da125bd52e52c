"""Compute the features of reference clips ahead: each clip once, whatever its files are called."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from sayonce.errors import ConfigError
from sayonce.features.remember import Remembered
from sayonce.features.voice import Voice
from sayonce.speech.rows import Row
from sayonce.speech.warm import Make

_SUFFIXES: Final = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif")


def clips_in(directory: Path) -> Iterator[Row]:
    """Yield the audio files below a directory, by their names.

    Raises:
        ConfigError: there are none.

    """
    files = sorted(path for path in directory.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not files:
        raise ConfigError(f"{directory}: has no audio file ({', '.join(_SUFFIXES)})")
    for path in files:
        yield Row(str(path))


class VoiceTarget:
    """Features that a remembered function computes from a clip, given as a path."""

    def __init__(self, remembered: Remembered[[str], Any]) -> None:
        self._remembered = remembered
        self._seen: set[str] = set()

    async def look(self, row: Row) -> Make | None:
        voice = await asyncio.to_thread(Voice.from_audio, row.place)
        if voice.id in self._seen:
            return None
        self._seen.add(voice.id)
        return None if await self._remembered.cached(row.place) else partial(self._make, row.place)

    async def _make(self, path: str) -> bool:
        await self._remembered(path)
        return True

    async def unkept(self) -> list[Row]:
        """Return none: the caller closes the cache, which waits for what is being written."""
        return []
