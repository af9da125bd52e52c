"""MP3 and Opus have every sample of the take at its place for real decoders: FFmpeg's libraries and program, and libsndfile."""

import io
import subprocess
import tempfile

import numpy as np
import pytest
import soundfile
from mutagen.mp3 import MP3, BitrateMode

from sayonce.audio.decode import mpeg
from sayonce.audio.encode.encoders import encode, open_encoder
from sayonce.audio.encode.libav import _CODECS
from sayonce.audio.encode.mp3 import _KBITS
from sayonce.audio.formats import FORMATS
from sayonce.audio.pcm import Pcm
from tests.helpers.audio_samples import by_ffmpeg, made_by_sndfile, murmur, pieces, stream

RATES = {"mp3": tuple(_KBITS), "opus": tuple(_CODECS["opus"].bits)}
SHAPES = [(name, rate, channels) for name, rates in RATES.items() for rate in rates for channels in (1, 2)]
LENGTHS = (1, 479, 480, 481, 575, 576, 577, 1_152, 4_801, 9_600)
"""Around the frames of both codecs, and around what an Ogg page holds."""


def by_ffmpegs_program(body):
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = ["ffmpeg", "-v", "error", "-i", file.name, "-f", "wav", "-"]
        sound = subprocess.run(command, capture_output=True, check=True).stdout
    rate, channels = int.from_bytes(sound[24:28], "little"), sound[22]
    return np.frombuffer(sound[sound.index(b"data") + 8 :], "<i2").reshape(-1, channels), rate


def by_libsndfile(body):
    return soundfile.read(io.BytesIO(body), dtype="int16", always_2d=True)


def cut(take, frames):
    return Pcm(take.samples[: 2 * take.channels * frames], take.sample_rate_hz, take.channels, frames)


@pytest.mark.parametrize(("name", "rate", "channels"), SHAPES)
def test_an_mp3_or_opus_file_has_exactly_the_takes_samples_for_every_decoder(name, rate, channels):
    take = murmur(1.3, rate, channels)
    for frames in (*LENGTHS, take.frames):
        body = encode(cut(take, frames), FORMATS[name])
        decoders = [by_libsndfile] + [by_ffmpeg] * (frames > 1) + [by_ffmpegs_program] * (frames == take.frames)
        for decoder in decoders:  # FFmpeg does not shorten a single frame to one sample, also not one of LAME's own
            sound, heard_rate = decoder(body)
            assert sound.shape == (round(frames * heard_rate / rate), channels), (decoder, frames)


@pytest.mark.parametrize(("name", "rate", "channels"), SHAPES)
def test_an_mp3_or_opus_file_begins_where_the_take_begins(name, rate, channels):
    """The delay of encoder and decoder is left out, to the sample."""
    take = murmur(0.8, rate, channels)
    said = np.frombuffer(take.samples, "<i2").reshape(-1, channels)[:, 0].astype(float)
    body = encode(take, FORMATS[name])
    for decoder in (by_ffmpeg, by_libsndfile):
        sound, heard_rate = decoder(body)
        heard = sound[:: heard_rate // rate, 0].astype(float)[: len(said)]
        match = np.fft.irfft(np.fft.rfft(heard, 1 << 17) * np.fft.rfft(said, 1 << 17).conj())
        late = int(np.argmax(match))
        assert min(late, (1 << 17) - late) <= rate / 8_000, decoder  # Opus counts its own delay in samples of 48 kHz


@pytest.mark.parametrize("name", ["mp3", "aac", "mulaw", "flac", "wav"])
def test_the_chunks_in_which_a_take_comes_change_no_byte_of_its_file(name):
    take = murmur(0.7, 22_050, 2)
    files = {stream(open_encoder(FORMATS[name], 22_050, 2), take, size)[1] for size in (4 * 1_103, 1_777, 10**6)}
    assert len(files) == 1


def test_the_chunks_in_which_a_take_comes_change_nothing_of_what_is_heard_in_opus():
    """Its bytes differ in the random number that Ogg wants of each stream."""
    take = murmur(0.7, 22_050, 2)
    bodies = [stream(open_encoder(FORMATS["opus"], 22_050, 2), take, size)[1] for size in (4 * 1_103, 1_777, 10**6)]
    assert len({by_ffmpeg(body)[0].tobytes() for body in bodies}) == 1


@pytest.mark.parametrize("frames", LENGTHS)
def test_positions_in_ogg_count_from_the_first_sample(frames):
    """RFC 7845 section 4: a page states the samples up to its end, the skipped ones included."""
    body = encode(cut(murmur(0.5), frames), FORMATS["opus"])
    skipped = int.from_bytes(body[body.index(b"OpusHead") + 10 :][:2], "little")
    starts = [place for place in range(len(body)) if body.startswith(b"OggS", place)]
    assert int.from_bytes(body[starts[-1] + 6 :][:8], "little") == skipped + 2 * frames


def test_a_page_of_opus_that_was_sent_states_its_place_though_the_end_is_not_known():
    encoder, sent = open_encoder(FORMATS["opus"], 24_000, 1), b""
    for piece in pieces(murmur(1.0).samples, 960):
        sent += encoder.feed(piece)
    starts = [place for place in range(len(sent)) if sent.startswith(b"OggS", place)]
    stated = [int.from_bytes(sent[start + 6 :][:8], "little") for start in starts[2:]]
    assert stated == list(range(4_800, 4_800 * len(stated) + 1, 4_800))


@pytest.mark.parametrize(("rate", "channels"), [shape[1:] for shape in SHAPES if shape[0] == "mp3"])
def test_the_header_of_an_mp3_is_what_lame_itself_writes(rate, channels):
    """libsndfile has LAME write one, and the counts, the delay, the padding and the checksum are the same."""
    take = murmur(1.0, rate, channels)
    body, lames = encode(take, FORMATS["mp3"]), made_by_sndfile(take, "MP3", "MPEG_LAYER_III")
    ours, theirs = [mpeg._info(each[: mpeg.frame_at(each, 0).size]) for each in (body, lames)]
    assert (ours.frames, ours.delay, ours.padding) == (theirs.frames, theirs.delay, theirs.padding)
    for each in (body, lames):
        end = each.index(b"LAME") + 34
        assert mpeg._crc(each[:end]) == int.from_bytes(each[end : end + 2], "big")
    facts = MP3(io.BytesIO(body)).info
    assert facts.bitrate_mode is BitrateMode.CBR
    assert facts.bitrate == pytest.approx(1000 * channels * _KBITS[rate], rel=1e-3)  # of whole bytes a frame
    assert facts.encoder_info.startswith("LAME 3.100")
    assert facts.length == pytest.approx(1.0, abs=1e-4)
