"""Decoding by libsndfile, of the formats that it decodes exactly: FLAC, Ogg, AIFF, AU, Core Audio without compression, telephony in WAV."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import soundfile

from sayonce.audio.samples import Block
from sayonce.errors import BadAudio

_BLOCK_SAMPLES: Final = 1 << 17
_DTYPES: Final = {
    "PCM_24": "int32",
    "PCM_32": "int32",
    "ALAC_20": "int32",
    "ALAC_24": "int32",
    "ALAC_32": "int32",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "VORBIS": "float32",
    "OPUS": "float32",
}
"""How each encoding is read without losing anything; the others have 16 bits or fewer."""


class _Forward(soundfile.SoundFile):  # type: ignore[misc] # it has no type information
    """Reads without seeking: soundfile seeks after each read, which fails at the end of FLAC of unknown length."""

    def seekable(self) -> bool:
        return False


class _File(io.BytesIO):
    """A broken header may send libsndfile to an offset before the start: it stays where it is, and reads on."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def blocks(body: bytes) -> Iterator[Block]:
    """Decode in blocks, since a broken header may claim any number of frames.

    Raises:
        BadAudio: it cannot be decoded.

    """
    try:
        with _Forward(_File(body)) as file:
            dtype, size = _DTYPES.get(file.subtype, "int16"), max(1, _BLOCK_SAMPLES // file.channels)
            while len(samples := file.read(size, dtype, always_2d=True)):
                yield Block(samples, int(file.samplerate))
    except soundfile.SoundFileError as trouble:
        told = str(getattr(trouble, "error_string", trouble)).rstrip(".")
        raise BadAudio(f"The audio cannot be decoded: {told}") from None
