"""A file that comes in is decoded to its end, whichever program wrote it, or refused with a reason."""

import io
import struct
import subprocess
import sys

import av
import numpy as np
import pytest
import soundfile

import sayonce
from sayonce.audio.decode.door import open_sound
from sayonce.audio.decode.whole_file import decode
from sayonce.audio.encode.encoders import encode
from sayonce.audio.formats import FORMATS
from sayonce.audio.pcm import Pcm
from sayonce.errors import BadAudio, InvalidRequest
from tests.helpers.audio_files import KINDS, likeness, made, speech


def tone(seconds, hz=440, rate=24_000):
    return np.rint(np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate) * 10_922).astype("<i2")


def wav(samples, size=None, riff=None, rate=24_000, channels=1):
    data = samples.tobytes()
    size, riff = len(data) if size is None else size, 36 + len(data) if riff is None else riff
    fmt = struct.pack("<HHIIHH", 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt \x10\0\0\0" + fmt + b"data" + struct.pack("<I", size) + data


def samples_of(body):
    return np.frombuffer(decode(body).samples, "<i2")


PAUSED = np.concatenate([tone(2), np.zeros(3 * 24_000, "<i2"), tone(2, 660)])
"""Two seconds of a tone, three of silence, two of another: few frames tell nothing of how large the others are."""


@pytest.mark.parametrize("name", ["mp3 of variable rate", "mp3 without a header", "mp3"])
def test_an_mp3_is_heard_to_its_end_though_its_frames_are_of_any_size(name):
    pcm = decode(made(KINDS[name], PAUSED))
    assert 0 <= pcm.frames - len(PAUSED) <= 576 * 5
    assert likeness(pcm, PAUSED.astype(float), 24_000) > 0.98


def test_two_mp3_voices_that_differ_behind_their_first_second_are_two_voices():
    clips = [np.concatenate([PAUSED, tone(1, hz)]) for hz in (300, 500)]
    assert len({sayonce.Voice.from_audio(made(KINDS["mp3 of variable rate"], each)).id for each in clips}) == 2


def test_wavs_joined_in_one_answer_are_heard_one_behind_the_other():
    parts = [tone(1, hz) for hz in (300, 400, 500)]
    for sizes in ([None] * 3, [0xFFFF_FFFF] * 3, [0] * 3, [2_000_000_000, None, 0]):
        body = b"".join(wav(part, size) for part, size in zip(parts, sizes, strict=True))
        assert samples_of(body).tolist() == np.concatenate(parts).tolist()


@pytest.mark.parametrize("other", [{"rate": 16_000}, {"channels": 2}])
def test_wavs_of_different_formats_that_are_joined_are_refused(other):
    with pytest.raises(BadAudio, match="changes its rate, channels or encoding"):
        decode(wav(tone(1)) + wav(tone(1), **other))


def test_more_samples_than_the_only_header_says_are_refused():
    with pytest.raises(BadAudio, match="neither a chunk nor another WAV"):
        decode(wav(tone(1)) + tone(2, 500).tobytes()[1000:])


def test_joined_mp3s_are_heard_whole_and_without_gaps_where_their_headers_tell_them():
    parts = [speech(number, 1.0, 24_000) for number in range(3)]
    files = [made(KINDS["mp3"], part) for part in parts]
    assert decode(b"".join(files)).frames == 3 * 24_000
    assert decode(files[0] + made(KINDS["mp3 without a header"], parts[1])).frames >= 2 * 24_000


@pytest.mark.parametrize("size", [2_000_000_000, 1_000_000_000, 0x3FFF_FFFF, 0x7FFF_FFFF, 0, 0xFFFF_FFFF])
def test_a_length_that_no_clip_can_have_means_that_the_length_was_not_known(size):
    assert samples_of(wav(tone(1), size)).tolist() == tone(1).tolist()


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "AIFF", "CAF", "AU", "W64"])
def test_every_encoding_without_loss_gives_the_numbers_that_libsndfile_gives(container, subtype):
    if subtype not in soundfile.available_subtypes(container):
        return
    sink = io.BytesIO()
    soundfile.write(sink, speech(1, 0.5, 24_000) / 32_768, 24_000, subtype, format=container)
    numbers, _ = soundfile.read(io.BytesIO(sink.getvalue()))
    from sayonce.audio.samples import to_float64

    ours = np.concatenate([to_float64(block.samples) for block in open_sound(sink.getvalue()).blocks(10**6)])
    assert ours[:, 0].tolist() == numbers.tolist()


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_the_compressed_wav_of_telephone_systems_is_read(subtype):
    sink = io.BytesIO()
    soundfile.write(sink, speech(1, 0.5, 8_000), 8_000, subtype, format="WAV")
    assert decode(sink.getvalue()).frames >= 4_000
    with pytest.raises(BadAudio, match="cut off"):
        decode(sink.getvalue()[:-100])


@pytest.mark.parametrize("name", KINDS)
def test_a_reference_voice_may_be_in_every_format_that_is_recorded_anywhere(name):
    body = made(KINDS[name], speech(3, 1.5, KINDS[name].rate))
    voice = sayonce.Voice.from_audio(body)
    assert voice.seconds == pytest.approx(1.5, abs=0.15)
    assert voice.warning == ""
    if KINDS[name].states_end:
        with pytest.raises(InvalidRequest, match=r"cut off|lacks|missing"):
            sayonce.Voice.from_audio(body[: len(body) * 2 // 3])


def test_lossless_containers_of_the_same_samples_are_one_voice():
    lossless = [name for name, kind in KINDS.items() if kind.lossless and kind.rate == 24_000]
    assert len({sayonce.Voice.from_audio(made(KINDS[name], tone(1))).id for name in lossless}) == 1
    assert len(lossless) >= 6


def test_the_header_of_a_recorder_that_was_interrupted_does_not_make_another_voice():
    voice = sayonce.Voice.from_audio(wav(tone(1)))
    assert sayonce.Voice.from_audio(wav(tone(1), 0, 0)).id == voice.id
    assert sayonce.Voice.from_audio(wav(tone(1), 0xFFFF_FFFF, 0xFFFF_FFFF)).id == voice.id


def test_zeros_before_the_first_frame_do_not_make_another_voice():
    body = made(KINDS["mp3"], speech(1, 1.0, 24_000))
    assert sayonce.Voice.from_audio(bytes(1_000) + body).id == sayonce.Voice.from_audio(body).id


def test_a_reference_file_that_is_cut_is_refused():
    with pytest.raises(InvalidRequest, match="cut off"):
        sayonce.Voice.from_audio(wav(tone(1))[:-1_000])


@pytest.mark.parametrize(("samples", "told"), [(np.zeros(48_000, "<i2"), "silent"), (tone(0.1), "only 0.1 s long")])
def test_a_reference_that_makes_no_good_voice_is_told(samples, told):
    assert told in sayonce.Voice.from_audio(wav(samples)).warning


def test_a_core_audio_file_with_aac_is_read_as_phones_write_it():
    """FFmpeg reads such files and writes none, so this one is put together here."""
    samples = speech(5, 1.0, 24_000)
    packets = [packet for packet in _aac_packets(samples) if packet]
    table = b"".join(_varint(len(packet)) for packet in packets)
    data, frames = b"".join(packets), len(packets) * 1024
    desc = b"caff\0\1\0\0desc" + struct.pack(">qd4sIIIII", 32, 24_000, b"aac ", 0, 0, 1024, 1, 0)
    kuki = bytes(4) + bytes((0x03, 0x19, 0, 0, 0, 0x04, 0x11, 0x40, 0x15)) + bytes(11) + b"\x05\x02\x13\x08\x06\x01\x02"
    body = (
        desc
        + b"kuki" + struct.pack(">q", len(kuki)) + kuki
        + b"pakt" + struct.pack(">qqqii", 24 + len(table), len(packets), frames - 1024, 1024, 0) + table
        + b"data" + struct.pack(">qI", -1, 0) + data
    )  # fmt: skip
    pcm = decode(body)
    assert pcm.sample_rate_hz == 24_000
    assert pcm.frames >= 24_000
    assert likeness(pcm, samples.astype(float), 24_000) > 0.98
    with pytest.raises(BadAudio):
        decode(body[:-500])


def _aac_packets(samples):
    body = made(KINDS["aac"], samples)
    position = 0
    while position < len(body):
        size = (body[position + 3] & 3) << 11 | body[position + 4] << 3 | body[position + 5] >> 5
        yield body[position + 7 : position + size]
        position += size


def _varint(number):
    return bytes((0x80 | number >> 7, number & 0x7F)) if number > 0x7F else bytes((number,))


@pytest.mark.parametrize(
    "body",
    [
        b"fLaC\x80\0\0\x22" + bytes(34),
        b"OggS" + bytes(100),
        b"\xff\xfb\x90\x64" + bytes(413) + b"\xff\xfb\x90\x64",
        b"caff\0\1\0\0" + bytes(200),
        b"\0\0\0\x20ftypM4A " + bytes(20),
        b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f" + bytes(31),
        b"FORM\0\0\0\x20AIFF" + bytes(30),
        b".snd" + bytes(30),
        b"#!AMR\n",
        b"ID3\4\0\0\x7f\x7f\x7f\x7f",
        bytes(5_000),
    ],
)
def test_a_header_without_sound_is_refused(body):
    with pytest.raises(BadAudio):
        decode(body)


def test_a_small_file_that_decodes_to_more_than_its_bound_is_refused_before_it_fills_the_memory():
    hours = encode(Pcm(bytes(2 * 24_000 * 600), 24_000, 1, 24_000 * 600), FORMATS["flac"])
    assert len(hours) < 100_000
    heard = []
    with pytest.raises(BadAudio, match="more than 1,000,000 samples"):
        heard.extend(len(block.samples) for block in open_sound(hours).blocks(1_000_000))
    assert sum(heard) <= 1_000_000


def test_damaged_files_of_every_kind_are_heard_or_refused_and_nothing_else():
    dice = np.random.default_rng(1)
    for name, kind in KINDS.items():
        whole = made(kind, speech(1, 0.3, kind.rate))
        for _ in range(40):
            body = bytearray(whole)
            for place in dice.integers(0, min(len(body), 2_000), 4):
                body[place] = dice.choice((0, 1, 0x7F, 0xFF, dice.integers(256)))
            try:
                decode(bytes(body))
            except BadAudio:
                continue
            except Exception as error:
                error.add_note(name)
                raise


def test_what_is_imported_for_a_hit_and_for_lossless_files_does_not_bring_ffmpeg():
    script = (
        "import sys, sayonce, sayonce.gateway.app, sayonce.service, sayonce.audio.voice; print('av' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "False"


def test_ffmpeg_is_told_the_container_so_that_no_playlist_reads_other_files(tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(tone(1)))
    for body in (f"ffconcat version 1.0\nfile {secret}\n", f"#EXTM3U\n#EXTINF:1,\n{secret}\n"):
        with pytest.raises(BadAudio):
            decode(body.encode())
    assert av.open(io.BytesIO(secret.read_bytes())).streams.audio


def test_flac_whose_checksum_ends_in_zeros_is_heard_to_its_end():
    """One file in 256: the checksum is right before its last byte, and that byte looks like what stands behind a file."""
    endings = set()
    for number in range(3000):
        noise = np.random.default_rng(number).integers(-9000, 9000, 320, np.int16)
        file = io.BytesIO()
        soundfile.write(file, noise, 8000, format="FLAC", subtype="PCM_16")
        if file.getvalue().endswith(b"\0"):
            endings.add(number)
            assert decode(file.getvalue()).samples == noise.tobytes()
            assert decode(2 * file.getvalue()).samples == 2 * noise.tobytes()
    assert endings


def test_flac_whose_samples_spell_the_mark_of_another_is_heard_to_its_end():
    noise = np.random.default_rng(1).integers(-32768, 32767, 40_000, np.int16)
    noise[2000:2004] = np.frombuffer(b'fLaC\0\0\0"', ">i2")
    file = io.BytesIO()
    soundfile.write(file, noise, 8000, format="FLAC", subtype="PCM_16")
    assert file.getvalue().count(b"fLaC") == 2, "verbatim samples, so the mark is among them"
    assert decode(file.getvalue()).samples == noise.tobytes()
    assert decode(2 * file.getvalue()).samples == 2 * noise.tobytes()
