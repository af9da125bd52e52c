"""Compute the features of references ahead: each reference once, under any number of file names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from sayonce.audio.voice import Voice
from sayonce.cache import Cache
from sayonce.errors import ConfigError
from sayonce.features.remember import Options, Remembered, make_task
from sayonce.features.speaker_encoder import DIMENSIONS, SpeakerEncoder
from sayonce.warm.rows import Row
from sayonce.warm.runner import Make, check_answering

NAME: Final = "speaker"
_SUFFIXES: Final = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif")


def references_in(directory: Path) -> Iterator[Row]:
    """Yield the audio files below a directory, by their names.

    Raises:
        ConfigError: there are none.

    """
    files = sorted(path for path in directory.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not files:
        raise ConfigError(f"{directory}: has no audio file ({', '.join(_SUFFIXES)})")
    for path in files:
        yield Row(str(path))


def remembered(cache: Cache, encoder: SpeakerEncoder) -> Remembered[[str], Any]:
    """Return the encoder's ``embed``, remembered by the reference's samples under the name ``speaker``.

    ``cache.remember("speaker", revision=encoder.revision, audio=("source",))(encoder.embed)`` finds the same values.
    """
    options = Options(audio=("source",), spec=("float32", (DIMENSIONS,)))
    return Remembered(cache, make_task(encoder.embed, NAME, encoder.revision, options))


class VoiceTarget:
    """Features that a remembered function computes from a reference, given as a path."""

    def __init__(self, cache: Cache, remembered: Remembered[[str], Any]) -> None:
        self._cache = cache
        self._remembered = remembered
        self._seen: set[str] = set()
        self._made: list[Row] = []

    async def look(self, row: Row) -> Make | None:
        voice = await asyncio.to_thread(Voice.from_audio, row.place)
        if voice.id in self._seen:
            return None
        self._seen.add(voice.id)
        if await self._remembered.cached(row.place):
            return None
        check_answering(self._cache)
        return partial(self._make, row)

    async def _make(self, row: Row) -> bool:
        await self._remembered(row.place)
        self._made.append(row)
        return True

    async def unkept(self) -> list[Row]:
        await self._cache.settle()
        return [row for row in self._made if not await self._remembered.cached(row.place)]
