"""The base of the encoders: PCM in, bytes for a listener out at once, and the finished file at the end."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from typing import Final

from sayonce.audio.pcm import Pcm16Samples, samples_of
from sayonce.audio.resample import Resampler
from sayonce.errors import BadAudio

COPIED_AT_ONCE_BYTES: Final = 1_000_000
"""So much sound that is only copied takes less than a millisecond."""


class Sink(io.BytesIO):
    """The file that an encoder writes. Bytes that were collected from it were sent: later patches reach the file only."""

    _sent = 0

    def collect(self) -> bytes:
        """Return the bytes that were appended since the last call."""
        with self.getbuffer() as written:
            fresh = bytes(written[self._sent :])
        self._sent += len(fresh)
        return fresh

    def close(self) -> None:
        """Stay open: a codec that is given up writes its rest here while both are collected as garbage."""


class Encoder(ABC):
    """Turns PCM16 (little-endian, interleaved) into one format as it arrives. For one thread at a time.

    One resampler goes through the whole sound, so that nothing is heard where two chunks meet.
    """

    at_once_bytes = 96_000
    """So much of a take is resampled and encoded within a millisecond: a thread would cost as much for less."""

    def __init__(self, resampler: Resampler) -> None:
        self._resampler = resampler
        self._frame_bytes = 2 * resampler.source_channels
        self._ragged = b""
        self._heard = False
        self._sink = Sink()

    def feed(self, pcm: bytes) -> bytes:
        """Return the encoded bytes that are ready to be sent, possibly none. A chunk may end inside a sample."""
        if self._ragged:
            pcm = self._ragged + pcm
        whole = len(pcm) - len(pcm) % self._frame_bytes
        self._ragged = pcm[whole:]
        if whole:
            self._heard = True
            self._write(self._resampler.convert(self._samples(pcm[:whole])))
        return self._sink.collect()

    def get_ready(self) -> None:  # noqa: B027 (most codecs have nothing to set up)
        """Set up the codec, so that the first samples do not wait for that."""

    def finish(self) -> tuple[bytes, bytes]:
        """Return the last bytes for a listener, and the whole file with its headers and lengths in order.

        It takes less than a millisecond, however long the file is.

        Raises:
            BadAudio: nothing was fed, or it ends inside a sample.

        """
        if self._ragged:
            raise BadAudio("The audio ends inside a sample")
        if not self._heard:
            raise BadAudio("The audio is empty")
        self._write(self._resampler.convert(self._samples(b""), last=True))
        self._close()
        return self._sink.collect(), self._file()

    def _samples(self, pcm: bytes) -> Pcm16Samples:
        return samples_of(pcm, self._resampler.source_channels)

    @abstractmethod
    def _write(self, samples: Pcm16Samples) -> None:
        """Encode samples, possibly none, into the sink."""

    @abstractmethod
    def _close(self) -> None:
        """Write the samples that the codec still holds, and patch the file's headers."""

    def _file(self) -> bytes:
        return self._sink.getvalue()
