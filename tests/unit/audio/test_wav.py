import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayonce.audio.decode.wav import WavReader
from sayonce.audio.encode.encoders import encode
from sayonce.audio.formats import FORMATS
from sayonce.errors import BadAudio
from tests.helpers.audio_samples import made_by_ffmpeg, made_by_sndfile, murmur, pieces

TAKE = murmur(0.2, 22_050, 2)
PLAIN = encode(TAKE, FORMATS["wav"])


def read(body, size=1_001):
    reader = WavReader()
    samples = b"".join(reader.feed(piece) for piece in pieces(body, size))
    reader.finish()
    return samples, reader.sample_rate_hz, reader.channels


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 3_000), container=st.sampled_from(["WAV", "WAVEX"]), list_bytes=st.integers(0, 99))
def test_wav_in_chunks_of_any_size_gives_the_very_samples(size, container, list_bytes):
    body = made_by_sndfile(TAKE, container, "PCM_16")
    chunk = b"LIST" + struct.pack("<I", list_bytes) + b"x" * (list_bytes + list_bytes % 2)
    assert read(body[:12] + chunk + body[12:], size) == (TAKE.samples, 22_050, 2)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_wav_in_other_encodings_becomes_16_bit(container, subtype):
    samples, rate, channels = read(made_by_sndfile(TAKE, container, subtype))
    off = np.abs(np.frombuffer(samples, "<i2").astype(int) - np.frombuffer(TAKE.samples, "<i2"))
    assert off.max() <= (256 if subtype == "PCM_U8" else 0)
    assert (rate, channels) == (22_050, 2)


def test_float_samples_beyond_full_scale_are_clipped():
    body = bytearray(made_by_sndfile(TAKE, "WAV", "FLOAT"))
    body[-8:] = struct.pack("<ff", 1.5, -1.5)
    assert read(bytes(body))[0][-4:] == struct.pack("<hh", 32767, -32768)


def test_wav_with_samples_that_are_not_numbers_is_refused():
    body = made_by_sndfile(TAKE, "WAV", "FLOAT")[:-4] + struct.pack("<f", float("nan"))
    with pytest.raises(BadAudio, match="finite"):
        read(body)


@pytest.mark.parametrize("promised", [0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000])
def test_wav_whose_length_means_unknown_takes_all_that_comes(promised):
    assert read(PLAIN[:40] + struct.pack("<I", promised) + PLAIN[44:])[0] == TAKE.samples


def test_wav_that_ffmpeg_writes_into_a_pipe_is_read():
    assert read(made_by_ffmpeg(TAKE, "wav", "pcm_s16le"))[0] == TAKE.samples


def test_chunks_of_wav_behind_the_samples_are_not_heard():
    assert read(PLAIN + b"LIST\4\0\0\0noise")[0] == TAKE.samples


def test_samples_of_wav_come_out_as_soon_as_they_came_in():
    reader = WavReader()
    assert reader.feed(PLAIN[:43]) == b""
    assert reader.sample_rate_hz == 22_050
    assert reader.feed(PLAIN[43:51]) == TAKE.samples[:4]
    assert reader.feed(PLAIN[51:52]) == TAKE.samples[4:8]


@pytest.mark.parametrize("size", [0, 3, 11, 30, 43, 44, 45, 1_000, len(PLAIN) - 1])
def test_wav_with_fewer_bytes_than_its_header_promises_is_noticed_at_the_end(size):
    with pytest.raises(BadAudio):
        read(PLAIN[:size])


def test_a_stream_of_unknown_length_without_a_sample_is_noticed():
    with pytest.raises(BadAudio, match="empty"):
        read(PLAIN[:40] + b"\xff\xff\xff\xff")


def test_a_stream_of_unknown_length_that_ends_inside_a_sample_gives_the_whole_ones_and_counts_the_rest():
    reader = WavReader()
    samples = reader.feed(PLAIN[:40] + b"\xff\xff\xff\xff" + PLAIN[44:-1]) + reader.finish()
    assert samples == TAKE.samples[:-4]
    assert reader.odd_bytes == 3


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": "no"}',
        b"RIFF\0\0\0\0AVI ",
        made_by_sndfile(TAKE, "WAV", "IMA_ADPCM"),
        PLAIN[:12] + PLAIN[36:],  # no description of the samples
        PLAIN[:12] + b"fmt \4\0\0\0\1\0\1\0" + PLAIN[36:],
        PLAIN[:22] + b"\0\0" + PLAIN[24:],  # no channel
        PLAIN[:12] + (b"LIST\0\0\1\0" + b"\0" * 65_536) * 17 + PLAIN[12:],
    ],
)
def test_wav_that_cannot_be_read_is_refused_at_once(body):
    reader = WavReader()
    with pytest.raises(BadAudio):
        list(map(reader.feed, pieces(body, 60_000)))
