"""Sound for the tests of the audio formats, and decoders that are not the ones under test."""

import io

import av
import numpy as np
import soundfile

from sayonce.audio.pcm import Pcm


def murmur(seconds=1.0, sample_rate_hz=24_000, channels=1):
    """Something like a vowel with syllables, so that codecs of speech take it for speech."""
    time = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    pitch = 140 + 20 * np.sin(2 * np.pi * 1.5 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate_hz
    voice = sum(np.sin(k * phase) / k for k in range(1, 12)) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * time))
    sides = [voice * gain for gain in (0.3, 0.2)[:channels]]
    samples = np.rint(np.stack(sides, axis=1) * 20_000).astype("<i2")
    return Pcm(samples.tobytes(), sample_rate_hz, channels, len(samples))


def pieces(body, size):
    return [body[start : start + size] for start in range(0, len(body), size)]


def stream(encoder, pcm, size=4_801):
    """Feed odd pieces; return what a listener got, and the finished file."""
    heard = [encoder.feed(piece) for piece in pieces(pcm.samples, size)]
    last, file = encoder.finish()
    return b"".join([*heard, last]), file


def by_ffmpeg(body, container=None, **options):
    """Return (samples as frames by channels, rate), decoded by FFmpeg."""
    with av.open(io.BytesIO(body), format=container, options=options) as file:
        rate = file.streams.audio[0].rate
        resampler = av.AudioResampler("s16", rate=rate)
        frames = [out for frame in file.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    channels = frames[0].layout.nb_channels
    return np.concatenate([frame.to_ndarray().reshape(-1, channels) for frame in frames]), rate


def made_by_ffmpeg(pcm, container, codec, **options):
    """Return a file that FFmpeg encoded."""
    sink = io.BytesIO()
    layout = {1: "mono", 2: "stereo"}[pcm.channels]
    with av.open(sink, "w", format=container, options=options) as file:
        target = file.add_stream(codec, rate=pcm.sample_rate_hz, layout=layout)
        samples = np.frombuffer(pcm.samples, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = pcm.sample_rate_hz
        file.mux(target.encode(frame))
        file.mux(target.encode(None))
    return sink.getvalue()


def made_by_sndfile(pcm, container, subtype):
    sink = io.BytesIO()
    samples = np.frombuffer(pcm.samples, "<i2").reshape(-1, pcm.channels)
    if subtype in ("FLOAT", "DOUBLE"):
        samples = samples / 32_768
    soundfile.write(sink, samples, pcm.sample_rate_hz, subtype, format=container)
    return sink.getvalue()


def length_seconds(body: bytes) -> float:
    """How long a clip is for a library that did not encode it."""
    with av.open(io.BytesIO(body)) as container:
        stream = container.streams.audio[0]
        return sum(frame.samples for frame in container.decode(stream)) / stream.codec_context.sample_rate
