"""References that are sent along as text, as clients write them, and what kind of file they are."""

import base64
import contextlib
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sayonce.audio.decode.media_type import UNKNOWN, media_type_of
from sayonce.errors import InvalidRequest
from sayonce.speech.engines.references import decode_reference
from tests.helpers.metering import program
from tests.helpers.voice_samples import reference

HEADERS = (
    "",
    "data:audio/wav;base64,",
    "DATA:audio/wav;BASE64,",
    "data:audio/webm;codecs=opus;base64,",
    'data:audio/ogg; codecs="opus, vorbis"; charset=utf-8; base64 ,',
    "data:;base64,",
    "data:audio/wav,",
    " \n data:application/octet-stream;name=my%20clip.wav;base64,",
)


@st.composite
def written(draw):
    """Return (bytes, one of the ways in which encoders write them)."""
    content = draw(st.binary(max_size=400))
    safe, padded = draw(st.booleans()), draw(st.booleans())
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(content).decode()
    text = text if padded else text.rstrip("=")
    width, end = draw(st.sampled_from((4, 60, 64, 76, 10_000))), draw(st.sampled_from(("\n", "\r\n", " ", "\t")))
    lines = [text[start : start + width] for start in range(0, len(text), width)]
    header = draw(st.sampled_from(HEADERS))
    text = end.join(lines) + draw(st.sampled_from(("", end)))
    if header and draw(st.booleans()):
        text = text.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D").replace("\n", "%0A")
    return content, header + text


@settings(max_examples=400, deadline=None)
@given(written())
def test_a_reference_is_read_however_an_encoder_writes_it(case):
    content, text = case
    assert decode_reference(text, "ref_audio") == content


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("https://example.org/a.wav", "':' as character 6"),
        ("/home/me/clip.wav", "'.' as character 14"),
        ("QUJD\u200bREVG", "'\\u200b' as character 5"),
        ("QU=JD", "'=' as character 3"),
        ("QUJD\\nREVG", "'\\\\' as character 5"),
        ("data:audio/wav;base64,QUJD*EVG", "'*' as character 27"),
        ("data:audio/wav;base64,QUJDR", "5 characters are one more"),
        ("QUJDR", "5 characters are one more"),
        ("data:audio/wav;base64", "no comma"),
        ("data:" + "x" * 300 + ",QUJD", "no comma"),
        ("data:audio/wav;base64,data:audio/wav;base64,QUJD", "':' as character 27"),
        ("QUJD" * 300_000 + "!", "'!' as character 1,200,001"),
    ],
)
def test_an_error_in_a_reference_is_told_with_its_place_and_not_echoed(value, told):
    with pytest.raises(InvalidRequest) as refused:
        decode_reference(value, "emo_audio")
    assert refused.value.param == "emo_audio"
    assert refused.value.message.startswith("'emo_audio' must be the audio itself, as a data URL or in base64")
    assert told in refused.value.message
    assert len(refused.value.message) < 300


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.sampled_from(HEADERS))
def test_any_text_in_the_field_of_a_reference_is_read_or_refused(text, header):
    with contextlib.suppress(InvalidRequest):
        assert type(decode_reference(header + text, "ref_audio")) is bytes


MEGABYTES = {
    "right": "QUJD" * 2_000_000,
    "cut": "QUJD" * 2_000_000 + "A",
    "wrong at its end": "QUJD" * 2_000_000 + "!",
    "another script at its end": "QUJD" * 2_000_000 + "\u200b",
    "lines": ("QUJD" * 19 + "\r\n") * 100_000,
    "white space": " " * 8_000_000,
    "padding": "=" * 8_000_000,
    "escapes": "data:;base64," + "%41" * 2_600_000,
    "broken escapes": "data:;base64," + "%%" * 4_000_000,
    "schemes": "data:" * 1_600_000,
    "parameters": "data:" + ";base64" * 1_100_000,
}


@pytest.mark.parametrize("kind", MEGABYTES)
def test_megabytes_in_the_field_of_a_reference_cost_little_whatever_they_are(kind):
    started = time.process_time()
    with contextlib.suppress(InvalidRequest):
        decode_reference(MEGABYTES[kind], "ref_audio")
    assert time.process_time() - started < 1


# -- what kind of file it is --------------------------------------------------------------------------------------------

ENCODED = {
    "wav": ("-f wav", "audio/wav"),
    "rf64": ("-f wav -rf64 always", "audio/wav"),
    "flac": ("-f flac", "audio/flac"),
    "mp3": ("-f mp3", "audio/mpeg"),
    "bare mp3": ("-f mp3 -id3v2_version 0 -write_xing 0", "audio/mpeg"),
    "adts": ("-f adts -c:a aac", "audio/aac"),
    "opus": ("-f ogg -c:a libopus", "audio/ogg"),
    "webm": ("-f webm -c:a libopus", "audio/webm"),
    "mka": ("-f matroska -c:a libopus", "audio/x-matroska"),
    "m4a": ("-f ipod -c:a aac", "audio/mp4"),
    "mp4": ("-f mp4 -c:a aac", "audio/mp4"),
    "3gp": ("-f 3gp -c:a aac", "audio/3gpp"),
    "aiff": ("-f aiff", "audio/aiff"),
    "caf": ("-f caf", "audio/x-caf"),
    "au": ("-f au", "audio/basic"),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_the_media_type_of_a_file_is_told_by_its_content(kind, tmp_path):
    options, media_type = ENCODED[kind]
    source, made = tmp_path / "source.wav", tmp_path / "made.bin"
    source.write_bytes(reference())
    command = [program("ffmpeg", "ffmpeg"), "-v", "error", "-i", source, *options.split(), made]
    subprocess.run(command, check=True)
    file = made.read_bytes()
    assert media_type_of(file) == media_type
    if kind in ("mp3", "bare mp3", "adts", "flac"):
        tag = b"ID3\x04\0\0" + b"\0\0\1\0" + bytes(128)
        assert media_type_of(tag + file) == media_type_of(b"\0" * 500 + file) == media_type


@given(st.binary(max_size=80), st.sampled_from((b"", b"ID3", b"ID3\4\0\0\0\0\0\1", b"\0\0", b"RIFF", b"\xff")))
def test_any_bytes_have_a_media_type(body, head):
    assert "/" in media_type_of(head + body)


def test_a_file_without_an_audio_mark_is_not_called_audio():
    assert media_type_of(b"") == media_type_of(b"\0" * 100) == media_type_of(b"hello") == UNKNOWN
