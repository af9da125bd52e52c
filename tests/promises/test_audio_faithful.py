"""What is encoded sounds like the take: each format, shape and rate, streamed and whole, heard by FFmpeg."""

import numpy as np
import pytest
import soxr

from sayonce.audio.encode.encoders import open_encoder
from sayonce.audio.formats import FORMATS
from sayonce.audio.pcm import Pcm
from tests.helpers.audio_files import speech
from tests.helpers.audio_samples import by_ffmpeg, stream

CONTAINERS = {"opus": "ogg", "mulaw": "mulaw"}
RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 30_000, 32_000, 44_100, 48_000)
SURPLUS_SECONDS = {"aac": 2_048 / 8_000, "mp3": 3 * 1_152 / 11_025}
"""What codecs add where nothing marks it: AAC's priming, and in streamed MP3, which has no header, up to three frames."""
LEAST_LIKENESS, MOST_DECIBELS = 0.98, 0.5
OPUS_LIKENESS, OPUS_DECIBELS = 0.97, 0.6
"""Of Opus at 8 kHz, which has 12 kb/s a channel."""


def take_of(rate, channels):
    """One voice from the left and a little later and softer from the right, as two microphones hear it."""
    voice = speech(3, 1.5, rate)
    sides = [voice, np.rint(0.7 * np.roll(voice, rate // 2_000))][:channels]
    samples = np.stack(sides, axis=1).astype("<i2")
    return Pcm(samples.tobytes(), rate, channels, len(samples)), samples.astype(float)


def by_others(body, name):
    if name == "pcm":
        return np.frombuffer(body, "<i2").reshape(-1, 1).astype(float), 24_000
    options = {"sample_rate": "8000"} if name == "mulaw" else {}
    sound, rate = by_ffmpeg(body, CONTAINERS.get(name, name), **options)
    return sound.astype(float), rate


def compared(heard, said):
    """Return (likeness, decibels) where the two fit best."""
    size = 1 << (len(heard) + len(said)).bit_length()
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(said, size).conj()).max()
    loudness, wanted = np.linalg.norm(heard), np.linalg.norm(said)
    return match / loudness / wanted, 20 * np.log10(loudness / wanted)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_encoded_sounds_like_the_take_as_loud_and_as_long(name, rate, channels):
    take, samples = take_of(rate, channels)
    low = name == "opus" and rate == RATES[0]
    least, most = (OPUS_LIKENESS, OPUS_DECIBELS) if low else (LEAST_LIKENESS, MOST_DECIBELS)
    for body in stream(open_encoder(FORMATS[name], rate, channels), take):
        heard, heard_hz = by_others(body, name)
        said = samples if heard.shape[1] == channels else samples.mean(axis=1, keepdims=True)
        said = soxr.resample(said, rate, heard_hz)
        assert heard.shape[1] == said.shape[1]
        rounding = heard_hz / 8_000  # to a sample of the codec's own rate
        assert -rounding <= len(heard) - len(said) <= SURPLUS_SECONDS.get(name, 0) * heard_hz + rounding
        for heard_side, said_side in zip(heard.T, said.T, strict=True):
            likeness, decibels = compared(heard_side, said_side)
            assert likeness >= least
            assert abs(decibels) <= most
