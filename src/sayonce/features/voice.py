"""Which reference clips are the same voice: the digest of their decoded samples, whatever file they come in."""

from __future__ import annotations

import io
import os
import struct
import threading
from collections import OrderedDict
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
import soundfile

from sayonce.errors import InvalidRequest

MAX_SECONDS: Final = 600.0
MAX_BYTES: Final = 50_000_000
MAX_SAMPLES: Final = 60_000_000
"""Ten minutes of 48 kHz in stereo: a file of a few kilobytes may claim, and decode to, hours of silence."""
_BLOCK_SAMPLES: Final = 1 << 17
_REMEMBERED: Final = 4096
_FORMATS: Final = "WAV, FLAC, Ogg (Vorbis, Opus), MP3 and AIFF are understood"


class Voice(msgspec.Struct, frozen=True):
    """The identity of a reference clip.

    ``id`` is the BLAKE2b-256 digest, in hexadecimal, of the sample rate, the channels and every decoded sample. A
    renamed or re-tagged file, or another lossless container of the same samples, is the same voice; one changed sample
    is another. Samples are compared as the numbers that they stand for, so 16-bit samples are the same voice in a
    24-bit or floating-point file. What lossy files (MP3, Ogg) decode to is up to the installed libsndfile.

    Pass it to remembered functions as it is; use ``id`` in a document.
    """

    id: str
    seconds: float
    sample_rate_hz: int
    channels: int

    @classmethod
    def from_audio(
        cls,
        source: str | os.PathLike[str] | bytes,
        *,
        max_seconds: float = MAX_SECONDS,
        max_bytes: int = MAX_BYTES,
    ) -> Self:
        """Return the identity of a clip, given as a path or as the bytes of an audio file.

        The answer for a file's bytes is remembered, never one for its name or time of change.

        Raises:
            InvalidRequest: it cannot be read or decoded, is empty, too long or too large.

        """
        data = _read(source, max_bytes)
        known = blake2b(data, digest_size=32).digest()
        facts = _memory.get(known)
        if facts is None:
            facts = _identify(data, max_seconds)
            _memory.put(known, facts)
        if facts[1] > max_seconds:
            raise _too_long(max_seconds)
        return cls(*facts)


Facts = tuple[str, float, int, int]


class _Memory:
    """The least recently asked-for files' facts; safe to use from several threads."""

    def __init__(self) -> None:
        self._facts: OrderedDict[bytes, Facts] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Facts | None:
        with self._lock:
            if key in self._facts:
                self._facts.move_to_end(key)
            return self._facts.get(key)

    def put(self, key: bytes, facts: Facts) -> None:
        with self._lock:
            self._facts[key] = facts
            if len(self._facts) > _REMEMBERED:
                self._facts.popitem(last=False)


_memory = _Memory()


class _Forward(soundfile.SoundFile):  # type: ignore[misc] # it has no type information
    """Reads without seeking: soundfile seeks after each read, which fails at the end of FLAC of unknown length."""

    def seekable(self) -> bool:
        return False


def _read(source: str | os.PathLike[str] | bytes, max_bytes: int) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        try:
            with Path(source).open("rb") as file:
                data = file.read(max_bytes + 1)
        except OSError as error:
            raise _wrong(f"{source}: {error.strerror}") from error
    if len(data) > max_bytes:
        raise _wrong(f"the reference audio is larger than {max_bytes:,} bytes; a clip of some seconds is enough")
    if not data:
        raise _wrong(f"the reference audio is empty; {_FORMATS}")
    return data


def _identify(data: bytes, max_seconds: float) -> Facts:
    """Digest the samples block by block, since a broken header may claim any number of them.

    As float64, which holds the numbers of every sample format exactly; ``+ 0.0`` makes -0.0 the silence that it is.
    """
    try:
        with _Forward(io.BytesIO(data)) as file:
            rate, channels = int(file.samplerate), int(file.channels)
            digest = blake2b(struct.pack("<QQ", rate, channels), digest_size=32, person=b"sayonce voice")
            frames, block_frames = 0, max(1, _BLOCK_SAMPLES // channels)
            while len(block := file.read(block_frames, "float64", always_2d=True)):
                frames += len(block)
                if frames > max_seconds * rate:
                    raise _too_long(max_seconds)
                if frames * channels > MAX_SAMPLES:
                    raise _wrong(f"the reference audio has more than {MAX_SAMPLES:,} samples; some seconds are enough")
                digest.update(_numbers(block).data)
    except soundfile.SoundFileError as error:
        raise _wrong(f"the reference audio cannot be decoded ({_told(error)}); {_FORMATS}") from None
    if not frames:
        raise _wrong("the reference audio holds no samples; record some seconds of speech")
    return digest.hexdigest(), frames / rate, rate, channels


def _told(error: soundfile.SoundFileError) -> str:
    """Return the library's own words, without the Python object that stands for the file."""
    return str(getattr(error, "error_string", error)).rstrip(".")


def _numbers(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not np.isfinite(block).all():
        raise _wrong("the reference audio holds samples that are no numbers (NaN or infinite); export it anew")
    return np.ascontiguousarray(block + 0.0, "<f8")


def _too_long(max_seconds: float) -> InvalidRequest:
    return _wrong(f"the reference audio is longer than {max_seconds:g} s; a clip of some seconds is enough")


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="ref_audio")
