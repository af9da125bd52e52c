"""Decode what engines and stores hold: WAV, FLAC, Ogg, MP3 and AAC, whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

import numpy as np
import soundfile

from sayonce.errors import BadAudio
from sayonce.speech.audio.aac import decode_aac
from sayonce.speech.audio.encoders import encode
from sayonce.speech.audio.formats import Format
from sayonce.speech.audio.pcm import Pcm, to_pcm16
from sayonce.speech.audio.wav import WavReader
from sayonce.speech.audio.wholeness import check_adts, check_mp3, check_ogg

_BLOCK_FRAMES: Final = 1 << 16
_STREAMINFO_TOTAL: Final = slice(21, 26)


class _Forward(soundfile.SoundFile):  # type: ignore[misc] # it has no type information
    """Reads without seeking: soundfile seeks after each read, which fails at the end of FLAC of unknown length."""

    def seekable(self) -> bool:
        return False


def decode(body: bytes) -> Pcm:
    """Return the sound of an audio file, whose container is told by its first bytes.

    A truncation is noticed by what the container says of its length. Some streams say nothing (FLAC with a blank header,
    MP3 without a Xing header, AAC): there a cut between two frames passes.

    Raises:
        BadAudio: it does not decode, is empty, or is shorter than its container says.
        MissingExtra: it is AAC, and PyAV is not installed.

    """
    pcm = _decoder_for(body)(body)
    if not pcm.frames:
        raise BadAudio("The audio is empty")
    return pcm


def transcode(body: bytes, chosen: Format) -> bytes:
    """Return an audio file in another format; see ``decode`` and ``open_encoder`` for what it raises."""
    return encode(decode(body), chosen)


def _decoder_for(body: bytes) -> Callable[[bytes], Pcm]:
    if not body:
        raise BadAudio("The audio is empty")
    for magic, decoder in _MAGIC.items():
        if body.startswith(magic):
            return decoder
    if body[0] == 0xFF and body[1:2] >= b"\xe0":  # noqa: PLR2004 (the sync word of MPEG audio)
        return _decode_mp3 if body[1] & 0x06 else _decode_adts  # AAC has 0 in the two bits of the layer
    raise BadAudio("The audio is no WAV, FLAC, Ogg, MP3 or AAC")


def _decode_wav(body: bytes) -> Pcm:
    reader = WavReader()
    samples = reader.feed(body)
    reader.finish()
    return _pcm(samples, reader.sample_rate_hz or 0, reader.channels or 0)


def _decode_flac(body: bytes) -> Pcm:
    """Every FLAC frame has a checksum that libsndfile verifies; the total is 0 where a stream did not know it."""
    pcm = _decode_sndfile(body, "int16")
    total = int.from_bytes(body[_STREAMINFO_TOTAL], "big") & (1 << 36) - 1
    if total and pcm.frames != total:
        raise BadAudio(f"The FLAC audio is cut off: {pcm.frames} of {total} samples")
    return pcm


def _decode_ogg(body: bytes) -> Pcm:
    check_ogg(body)
    return _decode_sndfile(body, "float32")


def _decode_mp3(body: bytes) -> Pcm:
    check_mp3(body)
    return _decode_sndfile(body, "float32")


def _decode_adts(body: bytes) -> Pcm:
    check_adts(body)
    return decode_aac(body)


def _decode_sndfile(body: bytes, dtype: str) -> Pcm:
    """Decode in blocks, since a broken header may claim any number of frames."""
    try:
        with _Forward(io.BytesIO(body)) as file:
            blocks = [file.read(_BLOCK_FRAMES, dtype, always_2d=True)]
            while len(blocks[-1]) == _BLOCK_FRAMES:
                blocks.append(file.read(_BLOCK_FRAMES, dtype, always_2d=True))
            sound = np.concatenate(blocks)
            samples = sound if dtype == "int16" else to_pcm16(sound)
            return _pcm(samples.tobytes(), file.samplerate, file.channels)
    except soundfile.SoundFileError as trouble:
        raise BadAudio(f"The audio cannot be decoded: {getattr(trouble, 'error_string', trouble)}") from None


def _pcm(samples: bytes, sample_rate_hz: int, channels: int) -> Pcm:
    return Pcm(samples, sample_rate_hz, channels, len(samples) // (2 * channels))


_MAGIC: Final[dict[bytes, Callable[[bytes], Pcm]]] = {
    b"RIFF": _decode_wav,
    b"fLaC": _decode_flac,
    b"OggS": _decode_ogg,
    b"ID3": _decode_mp3,
}
