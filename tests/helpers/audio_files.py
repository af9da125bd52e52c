"""One sound in every container and codec that comes in from outside, and what other decoders make of it."""

import io
from typing import NamedTuple

import av
import numpy as np
import soundfile

from sayonce.audio.pcm import Pcm


class Kind(NamedTuple):
    """How a file is made, and how much longer than its source it may be: the codec's delay and two frames."""

    container: str
    codec: str
    rate: int = 24_000
    surplus: int = 0
    piped: bool = False
    options: dict | None = None
    states_end: bool = True
    """Whether the container states a length or an end, so that a cut between two frames is noticed."""
    lossless: bool = False


KINDS = {
    "wav": Kind("wav", "pcm_s16le", lossless=True),
    "wav of unknown length": Kind("wav", "pcm_s16le", piped=True, states_end=False, lossless=True),
    "wav in A-law": Kind("wav", "pcm_alaw", 8_000, lossless=True),
    "flac": Kind("flac", "flac", lossless=True),
    "flac of unknown length": Kind("flac", "flac", piped=True, states_end=False, lossless=True),
    "aiff": Kind("aiff", "pcm_s16be", lossless=True),
    "au": Kind("au", "pcm_s16be", lossless=True),
    "w64": Kind("w64", "pcm_s16le", lossless=True),
    "rf64": Kind("wav", "pcm_s16le", options={"rf64": "always"}, lossless=True),
    "caf": Kind("caf", "pcm_s16le", lossless=True),
    "m4a in ALAC": Kind("ipod", "alac", lossless=True),
    "ogg/opus": Kind("ogg", "libopus", surplus=960 * 3),
    "ogg/vorbis": Kind("sndfile", "VORBIS"),
    "mp3": Kind("mp3", "libmp3lame", surplus=576 * 5),
    "mp3 without a header": Kind("mp3", "libmp3lame", surplus=576 * 5, piped=True, states_end=False, options={"write_xing": "0"}),
    "mp3 of variable rate": Kind("mp3", "libmp3lame", surplus=576 * 5, piped=True, states_end=False, options={"write_xing": "0", "vbr": True}),
    "aac": Kind("adts", "aac", surplus=1024 * 4, states_end=False),
    "m4a": Kind("ipod", "aac", surplus=1024 * 4),
    "mp4 in fragments": Kind("mp4", "aac", surplus=1024 * 4, piped=True, options={"movflags": "frag_every_frame+empty_moov"}, states_end=False),
    "3gp": Kind("3gp", "libopencore_amrnb", 8_000, surplus=160 * 4),
    "amr": Kind("amr", "libopencore_amrnb", 8_000, surplus=160 * 4, states_end=False),
    "webm": Kind("webm", "libopus", 48_000, surplus=960 * 4),
    "matroska": Kind("matroska", "libopus", 48_000, surplus=960 * 4),
    "webm of unknown length": Kind("webm", "libopus", 48_000, surplus=960 * 4, piped=True, states_end=False),
}  # fmt: skip
KINDS = {name: kind for name, kind in KINDS.items() if kind.container == "sndfile" or kind.codec in av.codecs_available}
"""Those that can be made here: PyAV 19 reads AMR, and has no encoder for it any more."""


def speech(seed, seconds, rate):
    """A voice with syllables and pauses, another for each seed, for which codecs need more bits here than there."""
    dice = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = dice.uniform(90, 220) + 30 * np.sin(2 * np.pi * dice.uniform(0.5, 2) * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tones = sum(np.sin(k * phase) / k for k in range(1, 8))
    syllables = np.clip(np.sin(2 * np.pi * dice.uniform(2, 5) * time + dice.uniform(0, 6)), 0, 1)
    return np.rint(tones * (0.2 + syllables) * 6_000).astype("<i2")


class _Pipe(io.RawIOBase):
    def __init__(self):
        self.body = bytearray()

    def writable(self):
        return True

    def write(self, raw):
        self.body += raw
        return len(raw)


def made(kind, samples):
    """Return a file, written to the end as to a disk, or as into a pipe, where no header is corrected later."""
    if kind.container == "sndfile":
        sink = io.BytesIO()
        soundfile.write(sink, samples, kind.rate, kind.codec, format="OGG")
        return sink.getvalue()
    sink = _Pipe() if kind.piped else io.BytesIO()
    options = dict(kind.options or {})
    variable = options.pop("vbr", False)
    with av.open(sink, "w", format=kind.container, options=options) as file:
        track = file.add_stream(kind.codec, rate=kind.rate, layout="mono")
        if variable:
            track.codec_context.options = {"q": "4", "flags": "+qscale", "global_quality": "472"}
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = kind.rate
        file.mux(track.encode(frame))
        file.mux(track.encode(None))
    return bytes(sink.body) if kind.piped else sink.getvalue()


def decoded_by_others(body):
    """Return the samples (mono, as numbers) and the rate that FFmpeg's own reading of the whole file gives."""
    with av.open(io.BytesIO(body)) as file:
        rate = file.streams.audio[0].rate
        resampler = av.AudioResampler("flt", layout="mono", rate=rate)
        frames = [out for frame in file.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]), rate


def likeness(ours: Pcm, theirs, rate):
    """Return how alike two decoders' samples are where they overlap at the position that fits best.

    Decoders begin at different samples of a codec's delay.
    """
    heard = np.frombuffer(ours.samples, "<i2").astype(float)
    if rate != ours.sample_rate_hz:
        places = np.arange(len(theirs) * ours.sample_rate_hz // rate) * rate / ours.sample_rate_hz
        theirs = np.interp(places, np.arange(len(theirs)), theirs)
    size = 1 << (len(heard) + len(theirs)).bit_length()
    matches = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(theirs, size).conj())
    lag = int(matches.argmax())
    lag = lag - size if lag > size // 2 else lag
    heard, theirs = heard[max(0, lag) :], theirs[max(0, -lag) :]
    both = min(len(heard), len(theirs))
    return heard[:both] @ theirs[:both] / (np.linalg.norm(heard[:both]) * np.linalg.norm(theirs[:both]))
