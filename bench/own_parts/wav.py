"""Our reader of WAV beside wave and soundfile."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile

from bench.own_parts.common import cases, costs
from sayonce.audio.decode.wav import WavReader
from sayonce.audio.encode.wav import wav_header
from sayonce.errors import BadAudio

RATE_HZ = 24_000


def _tone(seconds: float) -> bytes:
    samples = np.sin(np.arange(int(seconds * RATE_HZ)) / 20) * 20_000
    return samples.astype("<i2").tobytes()


def _wav(seconds: float, said: float | None = 0.0) -> bytes:
    """Return a WAV whose header says the same length, another, or (None) that it is not known."""
    pcm = _tone(seconds)
    return wav_header(RATE_HZ, 1, None if said is None else int((said or seconds) * 2 * RATE_HZ)) + pcm


def our_wav(body: bytes) -> int:
    reader = WavReader()
    return len(reader.feed(body) + reader.finish()) // 2


def wave_wav(body: bytes) -> int:
    with wave.open(io.BytesIO(body)) as file:
        return len(file.readframes(file.getnframes())) // 2


def soundfile_wav(body: bytes) -> int:
    return len(soundfile.read(io.BytesIO(body), dtype="int16")[0])


def heard(read: Callable[[bytes], int], body: bytes) -> str:
    try:
        return f"{read(body) / RATE_HZ:.2f} s"
    except (BadAudio, wave.Error, soundfile.SoundFileError, EOFError) as error:
        return f"refused: {type(error).__name__}"


def compare() -> dict[str, Any]:
    readers = {"ours": our_wav, "wave": wave_wav, "soundfile": soundfile_wav}
    minute, error = _wav(60), b'{"error": {"message": "CUDA out of memory", "type": "server_error"}}\n' * 3
    floating = io.BytesIO()
    soundfile.write(floating, np.zeros(RATE_HZ, np.float32), RATE_HZ, format="WAV", subtype="FLOAT")
    bodies = {
        "1 s, whole": _wav(1),
        "1 s, of a stream without a length": _wav(1, None),
        "1 s, of 2 s that the header says (cut off)": _wav(1, 2),
        "1 s and 1 s, two files joined": _wav(1) + _wav(1),
        "1 s, then a server's error as text": _wav(1, None) + error,
        "1 s of floating point": floating.getvalue(),
    }
    taken = costs({side: (lambda read=read: read(minute)) for side, read in readers.items()}, 5)
    rows: dict[str, dict[str, object]] = {"60 s, ms": {side: us / 1000 for side, us in taken.items()}}
    rows |= {case: {side: heard(read, body) for side, read in readers.items()} for case, body in bodies.items()}
    first = _wav(1, None)[: 44 + 4800]
    rows["100 ms of a stream, fed: samples at once"] = {
        "ours": len(WavReader().feed(first)) // 2, "wave": "no feed", "soundfile": "no feed"
    }  # fmt: skip
    cases("Reading WAV, 24 kHz mono", rows)
    return rows
