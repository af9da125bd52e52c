"""Decode a whole file to 16 bits: an engine's answer, or a body from a store."""

from __future__ import annotations

from typing import Final

from sayonce.audio.pcm import Pcm
from sayonce.audio.samples import to_pcm16

_MOST_SAMPLES: Final = 128_000_000
"""About 90 minutes at 24 kHz: a small file may claim, and decode to, any number."""


def decode(body: bytes, *, apart: bool = False) -> Pcm:
    """Return the sound of an audio file, or of several of one format that were joined; see ``sayonce.audio.decode.door``.

    ``apart`` is for files from outside: they are decoded in a process of their own; see ``sayonce.audio.decode.subprocess_decoder``.

    Raises:
        BadAudio: it does not decode, is empty, or is shorter than its container says.

    """
    from sayonce.audio.decode.door import open_sound  # noqa: PLC0415
    from sayonce.audio.decode.subprocess_decoder import open_in_subprocess  # noqa: PLC0415 (encoders need no decoders)

    samples, rate, channels = bytearray(), 0, 0
    sound = open_in_subprocess(body) if apart else open_sound(body)
    for block in sound.blocks(_MOST_SAMPLES):
        rate, channels = block.sample_rate_hz, block.samples.shape[1]
        samples += to_pcm16(block.samples).tobytes()
    return Pcm(bytes(samples), rate, channels, len(samples) // (2 * channels), sound.joined)
