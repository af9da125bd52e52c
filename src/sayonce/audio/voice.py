"""The identity of a voice: the digest of its reference's decoded samples, in any file format."""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np

from sayonce.audio.decode.door import UNDERSTOOD, Sound, open_sound
from sayonce.audio.decode.subprocess_decoder import SubprocessSound, open_in_subprocess
from sayonce.audio.samples import Block, to_float64
from sayonce.errors import BadAudio, InvalidRequest, with_article

MAX_SECONDS: Final = 600.0
MAX_BYTES: Final = 50_000_000
MAX_SAMPLES: Final = 60_000_000
"""Ten minutes of 48 kHz in stereo: a file of a few kilobytes may claim, and decode to, hours of silence."""
_REMEMBERED: Final = 4096
_SHORT_SECONDS: Final = 1.0
_SILENT: Final = 0.001
"""A peak of -60 dB: less is the noise of a microphone without speech."""


Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A reference: the path of a file, its bytes, or a file object that can be read again."""


class Voice(msgspec.Struct, frozen=True):
    """The identity of a reference.

    ``id`` is the BLAKE2b-256 digest, in hexadecimal, of the sample rate, the channels and every decoded sample. A
    renamed or re-tagged file, or another lossless container of the same samples, is the same voice; one changed sample
    is another. Samples are compared as the numbers that they stand for, so 16-bit samples are the same voice in a
    24-bit or floating-point file. What lossy files (MP3, AAC, Ogg) decode to is up to the installed FFmpeg and libsndfile.

    Pass it to remembered functions as it is; use ``id`` in a document.
    """

    id: str
    seconds: float
    sample_rate_hz: int
    channels: int
    warning: str = ""
    """The reason why it is a poor voice, though it is one: it is silent, or very short."""

    @staticmethod
    def from_audio(
        source: Source,
        *,
        max_seconds: float = MAX_SECONDS,
        max_bytes: int = MAX_BYTES,
        apart: bool = False,
        owner: str = "",
    ) -> Voice:
        """Return the identity of a reference, given as a path, as the bytes of an audio file, or as a file object.

        A file object is read from its start, and left there.

        The answer for a file's bytes is remembered, never one for its name or time of change.

        Args:
            source: the reference.
            max_seconds: the longest reference that is accepted.
            max_bytes: the largest file that is accepted.
            apart: for files from strangers: decode in a process with a bound on its time and its memory, as a file of a
                few bytes may crash a decoder, or fill the memory.
            owner: the tenant that sent the file. Answers are remembered for each owner alone, so that no other tenant
                learns from the time of an answer that the file was sent before.

        Raises:
            InvalidRequest: it cannot be read or decoded, is empty, too long or too large.

        """
        data = _read(source, max_bytes)
        known = (owner, blake2b(data, digest_size=32).digest())
        voice = _memory.get(known)
        if voice is None:
            voice = _identify(data, max_seconds, open_in_subprocess if apart else open_sound)
            _memory.put(known, voice)
        if voice.seconds > max_seconds:
            raise _too_long(max_seconds)
        return voice


Known = tuple[str, bytes]
"""The owner of a file, and its digest."""


class _Memory:
    """The voices of the files that were asked for last; safe to use from several threads."""

    def __init__(self) -> None:
        self._voices: OrderedDict[Known, Voice] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Known) -> Voice | None:
        with self._lock:
            if key in self._voices:
                self._voices.move_to_end(key)
            return self._voices.get(key)

    def put(self, key: Known, voice: Voice) -> None:
        with self._lock:
            self._voices[key] = voice
            if len(self._voices) > _REMEMBERED:
                self._voices.popitem(last=False)


_memory = _Memory()


def read_bytes(source: Any, most_bytes: int = -1) -> bytes:
    """Return the bytes of a path, a buffer or a file object, which is left at its start for its next reader.

    Raises:
        OSError: it cannot be read, or a file object cannot go back to its start.
        TypeError: it is none of these, or a file object that gives text.

    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if not hasattr(source, "read"):
        with Path(source).open("rb") as file:
            return file.read(most_bytes)
    source.seek(0)
    data = source.read(most_bytes)
    source.seek(0)
    if not isinstance(data, bytes):
        raise TypeError("it is opened as text; open it with 'rb'")
    return data


def _read(source: Source, max_bytes: int) -> bytes:
    try:
        data = read_bytes(source, max_bytes + 1)
    except (OSError, ValueError) as error:
        raise _wrong(f"{source!s}: {getattr(error, 'strerror', None) or error}") from error
    except TypeError:
        kind = type(source).__name__
        raise _wrong(f"a path, bytes or a file opened with 'rb' is needed, and it is {with_article(kind)}") from None
    if len(data) > max_bytes:
        raise _wrong(f"the reference audio is larger than {max_bytes:,} bytes; some seconds are enough")
    if not data:
        raise _wrong(f"the reference audio is empty; {UNDERSTOOD}")
    return data


def _identify(data: bytes, max_seconds: float, open_audio: Callable[[bytes], Sound | SubprocessSound]) -> Voice:
    """Digest the samples block by block, since a broken header may claim any number of them.

    As float64, which holds the numbers of every sample format exactly; ``+ 0.0`` makes -0.0 the silence that it is.
    """
    try:
        return _digest(open_audio(data), max_seconds)
    except BadAudio as error:
        raise _wrong(f"the reference audio cannot be decoded ({error.message}); {UNDERSTOOD}") from None


def _digest(sound: Sound | SubprocessSound, max_seconds: float) -> Voice:
    digest, frames, peak, rate, channels = None, 0, 0.0, 1, 1
    for block in sound.blocks(MAX_SAMPLES):
        rate, channels = block.sample_rate_hz, block.samples.shape[1]
        digest = digest or _begin(sound, rate, channels)
        frames += len(block.samples)
        if frames > max_seconds * rate:
            raise _too_long(max_seconds)
        numbers = _numbers(block)
        peak = max(peak, float(np.abs(numbers).max(initial=0)))
        digest.update(numbers.data)
    assert digest is not None
    return Voice(digest.hexdigest(), frames / rate, rate, channels, _warning(frames / rate, peak))


def _begin(sound: Sound | SubprocessSound, rate: int, channels: int) -> blake2b:
    person = b"sayonce voice" if sound.decoder_version == 1 else b"sayonce voice %d" % sound.decoder_version
    return blake2b(struct.pack("<QQ", rate, channels), digest_size=32, person=person)


def _numbers(block: Block) -> np.ndarray[Any, Any]:
    numbers = to_float64(block.samples)
    if not np.isfinite(numbers).all():
        raise _wrong("the reference audio holds samples that are no numbers (NaN or infinite); export it anew")
    return np.ascontiguousarray(numbers + 0.0, "<f8")


def _warning(seconds: float, peak: float) -> str:
    if peak < _SILENT:
        return "the reference audio is silent: record some seconds of speech"
    if seconds < _SHORT_SECONDS:
        return f"the reference audio is only {seconds:.2g} s long: some seconds of speech make a better voice"
    return ""


def _too_long(max_seconds: float) -> InvalidRequest:
    return _wrong(f"the reference audio is longer than {max_seconds:g} s; some seconds are enough")


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="ref_audio")
