import numpy as np
import pytest

from sayonce.audio.decode.whole_file import decode
from sayonce.audio.encode.encoders import encode, open_encoder
from sayonce.audio.formats import FORMATS
from sayonce.audio.pcm import Pcm
from sayonce.errors import BadAudio
from tests.helpers.audio_samples import by_ffmpeg, made_by_ffmpeg, made_by_sndfile, murmur, stream

TAKE = murmur(1.2)
OURS = {name: encode(TAKE, FORMATS[name]) for name in ("wav", "flac", "opus", "mp3", "aac")}
THEIRS = {
    "wav": made_by_ffmpeg(TAKE, "wav", "pcm_s16le"),
    "flac": made_by_ffmpeg(TAKE, "flac", "flac"),
    "opus": made_by_ffmpeg(TAKE, "ogg", "libopus"),
    "vorbis": made_by_sndfile(TAKE, "OGG", "VORBIS"),
    "mp3": made_by_ffmpeg(TAKE, "mp3", "libmp3lame"),
    "mp3 at 48 kHz": made_by_ffmpeg(murmur(1.2, 48_000, 2), "mp3", "libmp3lame"),
    "mp3 at 8 kHz": made_by_ffmpeg(murmur(1.2, 8_000), "mp3", "libmp3lame"),
    "mp3 without Xing": made_by_ffmpeg(TAKE, "mp3", "libmp3lame", write_xing="0", id3v2_version="0"),
    "aac": made_by_ffmpeg(TAKE, "adts", "aac"),
}
FILES = {f"{name} of ours": body for name, body in OURS.items()} | {f"{n} of others": b for n, b in THEIRS.items()}


@pytest.mark.parametrize("name", FILES)
def test_files_that_we_and_other_programs_encode_are_decoded_whole(name):
    pcm = decode(FILES[name])
    # MP3 without its header, and AAC, keep the padding of the codec: the delay and at most one frame more.
    assert -0.001 <= pcm.frames / pcm.sample_rate_hz - 1.2 <= 0.15
    assert len(pcm.samples) == pcm.frames * pcm.channels * 2


@pytest.mark.parametrize("body", [OURS["wav"], OURS["flac"], THEIRS["wav"], THEIRS["flac"]])
def test_lossless_files_decode_to_the_very_samples(body):
    assert decode(body) == TAKE


@pytest.mark.parametrize("name", ["opus", "mp3"])
def test_a_lossy_file_decodes_as_another_library_decodes_it(name):
    ours = np.frombuffer(decode(OURS[name]).samples, "<i2").astype(int)
    theirs, rate = by_ffmpeg(OURS[name], {"opus": "ogg"}.get(name, name))
    theirs = theirs[:: rate // 24_000, 0].astype(int)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99


@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])
def test_a_streamed_copy_decodes_in_full_though_its_header_is_blank_or_missing(name):
    heard, _ = stream(open_encoder(FORMATS[name], 24_000, 1), TAKE)
    assert 0 <= decode(heard).frames - TAKE.frames <= (1_105 + 1_152 if name == "mp3" else 0)


@pytest.mark.parametrize("share", [0.003, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused(name, share):
    body = FILES[name]
    cut = int(len(body) * share)
    if name.startswith(("aac", "mp3 without Xing")):  # they say nothing of their length, but a frame does of its own
        cut = max(body.rfind(body[:2], 0, cut), 0) + 8
    with pytest.raises(BadAudio):
        decode(body[:cut])


@pytest.mark.parametrize("name", ["wav", "flac", "opus", "mp3", "aac"])
def test_a_file_that_lacks_its_last_byte_is_refused(name):
    with pytest.raises(BadAudio, match=r"cut off|lost sync"):
        decode(OURS[name][:-1])


def test_an_mp3_that_lacks_its_last_frame_is_refused_by_the_count_in_its_header():
    whole = OURS["mp3"]
    last = whole.rindex(whole[:2])
    with pytest.raises(BadAudio, match="of"):
        decode(whole[:last])


@pytest.mark.parametrize(("lacking", "message"), [(3, "lacks page 3"), (-1, "its last page is missing")])
def test_an_ogg_file_that_lacks_a_page_is_refused(lacking, message):
    pages = [b"OggS" + page for page in OURS["opus"].split(b"OggS")[1:]]
    del pages[lacking]
    with pytest.raises(BadAudio, match=message):
        decode(b"".join(pages))


def test_a_flac_file_with_a_flipped_bit_is_refused():
    body = bytearray(OURS["flac"])
    body[len(body) // 2] ^= 1
    with pytest.raises(BadAudio):
        decode(bytes(body))


def test_a_flac_header_that_claims_more_than_memory_holds_is_refused():
    body = bytearray(OURS["flac"])
    body[21:26] = (int.from_bytes(body[21:26], "big") | (1 << 36) - 1).to_bytes(5, "big")
    with pytest.raises(BadAudio, match="cut off"):
        decode(bytes(body))


def test_aac_that_changes_its_channels_on_the_way_is_refused():
    with pytest.raises(BadAudio, match="channels"):
        decode(OURS["aac"] + encode(murmur(0.3, 24_000, 2), FORMATS["aac"]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"\xff\xf1",
        b"\xff\xfb",
        b"ID3",
        b'{"error": {"message": "quota exceeded"}}',
        b"<html>502 Bad Gateway</html>",
        b"\0" * 4_000,
        b"OggS" * 100,
        b"fLaC" + b"\0" * 100,
        b"RIFF" + b"\0" * 100,
        b"\xff\xfb" * 1_000,
        b"\xff\xf1" * 1_000,
        made_by_sndfile(Pcm(b"", 24_000, 1, 0), "OGG", "VORBIS"),
        made_by_sndfile(Pcm(b"", 24_000, 1, 0), "WAV", "PCM_16"),
        encode(TAKE, FORMATS["mp3"])[:192],
    ],
)
def test_a_file_that_is_no_audio_is_refused(body):
    with pytest.raises(BadAudio):
        decode(body)


def test_an_id3_tag_before_and_after_the_frames_does_no_harm():
    tag = b"ID3\4\0\0\0\0\1\0" + b"\0" * 128
    assert decode(tag + OURS["mp3"] + b"TAG".ljust(128)).frames == TAKE.frames
