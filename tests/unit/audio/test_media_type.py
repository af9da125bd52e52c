"""What a file is, by its first bytes; and what the door says of files by what they state about themselves."""

import numpy as np
import pytest

from sayonce.audio.decode import door, subprocess_decoder, whole_file
from sayonce.audio.decode.container import Container
from sayonce.audio.decode.media_type import UNKNOWN, media_type_of
from sayonce.audio.samples import Block
from sayonce.errors import BadAudio
from tests.helpers.audio_files import KINDS, made, speech
from tests.unit.audio.test_door import tone, wav

SIZE = b"\x24\x00\x00\x00"
TAG = b"ID3\x04\x00\x00\x00\x00\x00\x05" + bytes(5)
MPEG, AAC = b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x80"
HEADS = (
    (b"fLaC\x00\x00\x00\x22", "audio/flac"),
    (b"OggS\x00\x02", "audio/ogg"),
    (b"RIFF" + SIZE + b"WAVEfmt ", "audio/wav"),
    (b"RF64\xff\xff\xff\xffWAVEds64", "audio/wav"),
    (b"FORM" + SIZE + b"AIFFCOMM", "audio/aiff"),
    (b"FORM" + SIZE + b"AIFCFVER", "audio/aiff"),
    (b"\x00\x00\x00\x18ftyp3gp4", "audio/3gpp"),
    (b"\x00\x00\x00\x20ftypM4A ", "audio/mp4"),
    (b"caff\x00\x01\x00\x00", "audio/x-caf"),
    (b"#!AMR-WB\n", "audio/amr-wb"),
    (b"#!AMR\n", "audio/amr"),
    (b".snd\x00\x00\x00\x18", "audio/basic"),
    (b"riff\x2e\x91\xcf\x11\xa5\xd6", "audio/x-w64"),
    (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "audio/webm"),
    (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska", "audio/x-matroska"),
    (MPEG, "audio/mpeg"),
    (b"\xff\xe3\x18\xc4", "audio/mpeg"),
    (AAC, "audio/aac"),
    (bytes(700) + MPEG, "audio/mpeg"),
    (bytes(3) + AAC, "audio/aac"),
    (TAG + MPEG, "audio/mpeg"),
    (TAG + bytes(9) + AAC, "audio/aac"),
    (TAG + b"fLaC\x00\x00\x00\x22", "audio/flac"),
    (bytes(2) + TAG + b"fLaC\x00\x00\x00\x22", "audio/flac"),
    (TAG + b"something", "audio/mpeg"),
    (b"\xff\xdf\x90\x64", UNKNOWN),
    (b"\x20\x20\x20" + MPEG, UNKNOWN),
    (b"{}", UNKNOWN),
    (b"", UNKNOWN),
)


@pytest.mark.parametrize(("head", "media_type"), HEADS)
def test_the_media_type_of_a_file_is_told_by_its_first_bytes(head, media_type):
    assert media_type_of(head + b"\x01" * 100) == media_type or (head == b"" and media_type_of(b"") == UNKNOWN)


def test_a_quicktime_file_without_a_brand_is_an_mp4_and_no_other_unknown_file_is():
    for kind in (b"moov", b"mdat", b"wide"):
        assert door._kind(b"junk\x00\x00\x00\x10" + kind, 4) == "audio/mp4"
    assert door._kind(b"\x00\x00\x00\x10moox", 0) == UNKNOWN
    assert door._kind(b"fLaC" + next(iter(door.mp4.QUICKTIME)), 0) == "audio/flac"


def test_a_file_is_heard_that_is_at_most_a_sample_shorter_than_it_says_and_no_shorter_one():
    container = Container(name="Ogg", end=0, blocks=lambda: iter(()), seconds=2.0)
    container.check(15_999, 8_000)
    container.check(16_000, 8_000)
    with pytest.raises(BadAudio, match=r"cut off: 2\.000 of 2\.000 s|cut off: 1\.\d+ of 2\.000 s"):
        container.check(15_998, 8_000)


def test_joined_files_are_of_one_kind_and_of_a_bounded_number(monkeypatch):
    one = made(KINDS["aiff"], speech(1, 0.1, KINDS["aiff"].rate))
    assert not door.open_sound(one).joined
    assert door.open_sound(2 * one).joined
    with pytest.raises(BadAudio, match=f"behind its first {len(one)} bytes that is not audio/aiff"):
        door.open_sound(one + wav(tone(0.1)))
    monkeypatch.setattr(door, "_MOST_JOINED", 3)
    assert len(door.open_sound(3 * one).containers) == 3
    with pytest.raises(BadAudio, match="something behind"):
        door.open_sound(4 * one)


def test_a_file_may_decode_to_its_bound_of_samples_and_to_no_more():
    samples = np.zeros((50, 2), np.int16)
    blocks = [Block(samples, 8_000), Block(samples, 8_000)]
    sound = door.Sound("audio/wav", (Container(name="WAV", end=0, blocks=lambda: iter(blocks), frames=100),))
    assert len(list(sound.blocks(200))) == 2
    with pytest.raises(BadAudio, match="more than 199 samples"):
        list(sound.blocks(199))


def test_what_comes_from_outside_is_decoded_in_a_process_of_its_own_and_nothing_else(monkeypatch):
    apart = []
    decode_apart = subprocess_decoder.open_in_subprocess
    monkeypatch.setattr(subprocess_decoder, "open_in_subprocess", lambda body: apart.append(body) or decode_apart(body))
    file = wav(tone(0.1))
    assert whole_file.decode(file).frames == 2_400
    assert not apart
    assert whole_file.decode(file, apart=True).frames == 2_400
    assert apart == [file]
