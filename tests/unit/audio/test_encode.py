"""Each format is encoded by us, and decoded by FFmpeg and by libsndfile."""

import contextlib
import gc
import json
import sys

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayonce.audio import resample
from sayonce.audio.decode.whole_file import decode
from sayonce.audio.encode import libav, mp3, sndfile
from sayonce.audio.encode.encoders import Encoders, encode, open_encoder, transcode
from sayonce.audio.formats import FORMATS
from sayonce.audio.pcm import Pcm
from sayonce.errors import BadAudio
from sayonce.speech import derive, identity
from tests.helpers.audio_samples import by_ffmpeg, murmur, pieces, stream
from tests.helpers.paths import TESTS

CONTAINERS = {"mp3": "mp3", "opus": "ogg", "aac": "aac", "flac": "flac", "wav": "wav"}
RATES = (8_000, 16_000, 22_050, 24_000, 30_000, 48_000)
PADDING_SAMPLES = {"mp3": 0, "opus": 0, "aac": 2_048, "flac": 0, "wav": 0, "pcm": 0, "mulaw": 0}
"""AAC's priming (1024) and its last frame (up to 1023 more) cannot be marked in ADTS; the others last as the take."""
STREAM_PADDING_SAMPLES = PADDING_SAMPLES | {"mp3": 1_105 + 1_152}
"""A streamed MP3 has no header, so a player also hears the delay of encoder and decoder, and all of the last frame."""

takes = st.builds(
    lambda raw, rate, channels: Pcm(raw[: len(raw) // (2 * channels) * 2 * channels], rate, channels, 0),
    st.binary(min_size=4, max_size=20_000),
    st.sampled_from(RATES),
    st.sampled_from((1, 2)),
)


def by_others(body, name, **options):
    """Decode with FFmpeg; raw formats by what they are defined to be."""
    if name == "pcm":
        return np.frombuffer(body, "<i2"), 24_000
    if name == "mulaw":
        return by_ffmpeg(body, "mulaw", sample_rate="8000", **options)
    return by_ffmpeg(body, CONTAINERS[name], **options)


def seconds(body, name):
    sound, rate = by_others(body, name)
    return len(sound) / rate, rate


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_lasts_as_long_as_the_take(name, rate, channels):
    take = murmur(0.75, rate, channels)
    heard, file = stream(open_encoder(FORMATS[name], rate, channels), take)
    for body, padding in ((file, PADDING_SAMPLES), (heard, STREAM_PADDING_SAMPLES)):
        lasts, out_rate = seconds(body, name)
        surplus = (lasts - take.frames / rate) * out_rate
        priming = 1_024 if name == "aac" else 0
        assert priming - 1 <= surplus <= padding[name] + 1  # resampling rounds to a whole sample


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "mulaw"])
def test_a_lossy_format_sounds_like_the_take(name):
    take = murmur(1.0)
    sound, rate = by_others(encode(take, FORMATS[name]), name)
    original = np.frombuffer(take.samples, "<i2").astype(float)
    heard = np.interp(np.arange(take.frames) / 24_000, np.arange(len(sound)) / rate, sound[:, 0].astype(float))
    # The position that fits best allows for the priming of AAC.
    spectrum = np.fft.rfft(original, 1 << 17).conj() * np.fft.rfft(heard, 1 << 17)
    likeness = np.fft.irfft(spectrum).max() / (np.linalg.norm(original) * np.linalg.norm(heard))
    assert likeness > 0.97
    assert np.linalg.norm(heard) == pytest.approx(np.linalg.norm(original), rel=0.1)


@settings(max_examples=40, deadline=None)
@given(take=takes, size=st.integers(1, 5_000))
def test_wav_flac_and_pcm_of_their_own_rate_are_exact_however_the_sound_is_cut_into_chunks(take, size):
    as_pcm = (take.sample_rate_hz, take.channels) == (24_000, 1)
    for name in ("wav", "flac", "pcm")[: 2 + as_pcm]:
        heard, file = stream(open_encoder(FORMATS[name], take.sample_rate_hz, take.channels), take, size)
        for body in (heard, file):
            sound, rate = by_others(body, name)
            assert sound.tobytes() == take.samples
            assert rate == take.sample_rate_hz


@pytest.mark.parametrize("name", FORMATS)
def test_the_stream_equals_the_file_exactly_where_it_is_said_to(name):
    heard, file = stream(open_encoder(FORMATS[name], 24_000, 1), murmur())
    assert (heard == file) is FORMATS[name].stable_stream


def encoder_settings():
    """What a listener may hear of how a take becomes a format, as far as tables say it."""
    told = {"resampler": resample.QUALITY, "mp3": {"kbits": mp3._KBITS, "quality": mp3._QUALITY}}
    for name, codec in sndfile._CODECS.items():
        told[name] = {"subtype": codec.subtype, "rate_hz": codec.rate_hz, "mono": codec.mono}
    for name, codec in libav._CODECS.items():
        told[name] = {"encoder": codec.encoder, "bits": codec.bits, "options": codec.options}
    return told


def test_encoders_do_not_change_without_the_keys_of_what_they_made():
    """When this fails: raise ``identity.DERIVATION``, and add the new settings under its number."""
    recorded = json.loads((TESTS / "golden" / "derivations.json").read_text())
    assert json.loads(json.dumps(encoder_settings())) == recorded[str(identity.DERIVATION)]


@pytest.mark.parametrize("name", FORMATS)
def test_equal_takes_give_equal_files(name):
    """So two instances have one file under one ETag, and one goes on where another broke off."""
    take = murmur(0.5, 22_050, 2)
    assert encode(take, FORMATS[name]) == encode(take, FORMATS[name])


@pytest.mark.parametrize(("name", "bound_seconds"), [("pcm", 0.02), ("wav", 0.02), ("mulaw", 0.1), ("mp3", 0.1)])
def test_sound_reaches_a_listener_soon(name, bound_seconds):
    assert first_sound_after(name) <= bound_seconds


@pytest.mark.parametrize(("name", "bound_seconds"), [("aac", 0.16), ("flac", 0.2), ("opus", 0.26)])
def test_sound_reaches_a_listener_after_as_many_blocks_as_its_codec_needs(name, bound_seconds):
    assert first_sound_after(name) <= bound_seconds


def first_sound_after(name):
    """How many seconds of sound must be fed until what was sent decodes to more than silence."""
    encoder, sent = open_encoder(FORMATS[name], 24_000, 1), b""
    for count, piece in enumerate(pieces(murmur(1.0).samples, 960), start=1):
        sent += encoder.feed(piece)
        with contextlib.suppress(av.FFmpegError, IndexError):
            if np.abs(by_others(sent, name)[0]).max() > 1_000:
                return count * 0.02
    return np.inf


def test_opus_is_a_tenth_of_wav_or_less():
    take = murmur(5.0)
    assert len(encode(take, FORMATS["wav"])) >= 10 * len(encode(take, FORMATS["opus"]))


def test_a_streamed_wav_has_the_customary_header_for_unknown_length():
    heard, file = stream(open_encoder(FORMATS["wav"], 24_000, 1), murmur(0.1))
    assert heard[4:8] == heard[40:44] == b"\xff\xff\xff\xff"
    assert int.from_bytes(file[4:8], "little") == len(file) - 8
    assert int.from_bytes(file[40:44], "little") == len(file) - 44


@pytest.mark.parametrize("name", FORMATS)
def test_a_take_that_is_empty_or_ends_inside_a_sample_makes_no_file(name):
    with pytest.raises(BadAudio, match="empty"):
        open_encoder(FORMATS[name], 24_000, 1).finish()
    encoder = open_encoder(FORMATS[name], 24_000, 2)
    encoder.feed(b"\0" * 4_803)
    with pytest.raises(BadAudio, match="inside a sample"):
        encoder.finish()


@pytest.mark.parametrize("name", FORMATS)
def test_the_shortest_take_has_a_file_in_every_format(name):
    assert encode(Pcm(b"\1\0" * 2, 24_000, 1, 2), FORMATS[name])


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (1_000_000, 1), (24_000, 0), (24_000, 3)])
def test_a_shape_that_codecs_cannot_take_is_refused(rate, channels):
    with pytest.raises(BadAudio):
        open_encoder(FORMATS["mp3"], rate, channels)


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "mulaw"])
def test_the_last_ten_milliseconds_are_heard_when_the_rate_is_converted(name):
    quiet, loud = b"\0\0" * 15_000, murmur(0.01, 30_000)
    sound, _ = by_others(encode(Pcm(quiet + loud.samples, 30_000, 1, 15_300), FORMATS[name]), name)
    assert np.abs(sound).max() > 0.5 * np.abs(np.frombuffer(loud.samples, "<i2")).max()


@pytest.mark.parametrize("name", ["mp3", "opus", "flac", "wav", "mulaw", "pcm"])
def test_a_flac_take_is_transcoded_whole(name):
    take = murmur(0.5)
    assert seconds(transcode(encode(take, FORMATS["flac"]), FORMATS[name]), name)[0] == pytest.approx(0.5, abs=1e-4)


def test_loud_sound_is_clipped_and_never_wraps_around():
    square = Pcm(np.tile(np.repeat(np.array([32767, -32768], "<i2"), 40), 200).tobytes(), 44_100, 1, 16_000)
    sound, rate = by_ffmpeg(encode(square, FORMATS["opus"]), "ogg")
    again = np.frombuffer(decode(encode(square, FORMATS["opus"])).samples, "<i2")
    for samples in (sound[:, 0], again):
        jumps = np.abs(np.diff(samples[rate // 10 : -rate // 10].astype(int)))
        assert (jumps > 60_000).sum() == 0


@pytest.mark.parametrize("name", FORMATS)
def test_an_encoder_that_is_given_up_ends_without_an_error_or_a_log_line(monkeypatch, name):
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    encoder = open_encoder(FORMATS[name], 24_000, 1)
    encoder.feed(murmur(0.5).samples)
    encoder.itself = encoder  # as a traceback that holds it does: so it is collected in no certain order
    del encoder
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("name", ["mp3", "aac", "mulaw"])
async def test_an_encoder_that_was_opened_ahead_is_given_out_once_and_encodes_as_any_other(name):
    kind, take = (FORMATS[name], 24_000, 1), murmur()
    encoders = Encoders()
    encoders.prepare(*kind)
    ahead, anew = await encoders.open(*kind), await encoders.open(*kind)
    assert ahead is not anew
    assert stream(ahead, take) == stream(anew, take)


def test_an_mp3_encoder_that_is_opened_ahead_has_its_codec_set_up_ahead_too(monkeypatch):
    given = []

    class Lame:
        def __getattr__(self, name):
            return lambda *_: None

        def encode(self, pcm):
            given.append(pcm)

    monkeypatch.setattr(mp3.lameenc, "Encoder", Lame)
    open_encoder(FORMATS["mp3"], 24_000, 1)
    assert given == []  # in the event loop, which it would hold
    Encoders().prepare(FORMATS["mp3"], 24_000, 1)
    assert given == [b""]


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 24_000, 44_100, 48_000])
def test_the_first_part_of_a_sentence_is_long_enough_for_bytes_of_mp3(rate_hz):
    """Also where it begins in silence, for which the codec has few bits to give."""
    encoder = open_encoder(FORMATS["mp3"], rate_hz, 1)
    assert encoder.feed(bytes(2 * max(rate_hz // derive._FIRST_PART, derive._FIRST_SAMPLES)))


def test_a_bounded_number_of_kinds_of_encoders_is_kept_ahead():
    encoders = Encoders()
    for rate in range(8_000, 9_000):
        encoders.prepare(FORMATS["mulaw"], rate, 1)
    assert len(encoders._ahead) < 20
