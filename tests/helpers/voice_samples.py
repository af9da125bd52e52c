"""A reference in any container, for the tests of voices."""

import io

import numpy as np
import soundfile

SAMPLES = (np.sin(np.arange(12_000) / 9) * 12_000).astype(np.int16)


def alike(samples):
    """Return samples of the same shape, head and tail, of which one in the middle is another."""
    other = samples.copy()
    other[len(other) // 2] ^= 1
    return other


def reference(samples=SAMPLES, container="WAV", subtype="PCM_16", rate=24_000, title=None):
    sink = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(sink, "w", rate, channels, subtype, format=container) as file:
        if title:
            file.title = title
        file.write(samples / 32_768 if subtype in ("FLOAT", "DOUBLE") else samples)
    return sink.getvalue()
