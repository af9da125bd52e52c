"""A voice is what is heard: the samples, not the file."""

import io

import numpy as np
import pytest
import soundfile

import sayonce
from sayonce.audio import voice as module
from sayonce.audio.decode import wav
from sayonce.errors import InvalidRequest
from tests.helpers.voice_samples import SAMPLES, reference

GOLDEN = "616fc0c730dde966ad63cf1a9f0fd5dc2611e0f7e23ac51d150ec0e6edd43af0"


def identity(*args, **kwargs):
    return sayonce.Voice.from_audio(reference(*args, **kwargs)).id


def test_a_voice_tells_its_digest_rate_channels_and_length():
    found = sayonce.Voice.from_audio(reference())
    assert (found.seconds, found.sample_rate_hz, found.channels, len(found.id)) == (0.5, 24_000, 1, 64)


def test_the_identity_of_a_voice_is_the_one_that_earlier_releases_gave():
    """A golden value: should it change, every stored feature of every voice is computed anew."""
    assert identity() == GOLDEN


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"),
     ("AIFF", "PCM_16"), ("W64", "PCM_16"), ("CAF", "PCM_16")],
)  # fmt: skip
def test_another_container_of_the_same_samples_is_the_same_voice(container, subtype):
    assert identity(container=container, subtype=subtype) == identity()


def test_another_name_and_other_tags_are_the_same_voice(tmp_path):
    names = [tmp_path / "alice.wav", tmp_path / "bob.wav"]
    names[0].write_bytes(reference())
    names[1].write_bytes(reference(title="somebody"))
    assert {sayonce.Voice.from_audio(name).id for name in names} == {identity()}
    assert sayonce.Voice.from_audio(str(names[0])).id == identity()


def test_a_file_of_the_same_name_with_other_sound_is_another_voice(tmp_path):
    import os

    name = tmp_path / "alice.wav"
    name.write_bytes(reference())
    stamp = name.stat()
    before = sayonce.Voice.from_audio(name).id
    name.write_bytes(reference(-SAMPLES))
    os.utime(name, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert sayonce.Voice.from_audio(name).id != before


@pytest.mark.parametrize("place", [0, 6_000, 11_999])
def test_one_changed_sample_is_another_voice(place):
    samples = SAMPLES.copy()
    samples[place] ^= 1
    assert identity(samples) != identity()


def test_rate_channels_and_length_are_part_of_a_voice():
    flat = SAMPLES.reshape(-1, 2)
    variants = [
        identity(),
        identity(rate=22_050),
        identity(flat),
        identity(SAMPLES[:-1]),
        identity(np.append(SAMPLES, np.int16(0))),
    ]
    assert len(set(variants)) == len(variants)


def test_samples_finer_than_sixteen_bits_make_another_voice():
    sink = io.BytesIO()
    fine = SAMPLES / 32_768
    fine[5] += 2**-40
    soundfile.write(sink, fine, 24_000, "DOUBLE", format="WAV")
    assert sayonce.Voice.from_audio(sink.getvalue()).id != identity()


def test_negative_zeros_are_the_same_silence_as_zeros():
    sinks = [io.BytesIO(), io.BytesIO()]
    for sink, zero in zip(sinks, (0.0, -0.0), strict=True):
        soundfile.write(sink, np.full(100, zero), 24_000, "FLOAT", format="WAV")
    assert len({sayonce.Voice.from_audio(sink.getvalue()).id for sink in sinks}) == 1


def test_a_reference_file_that_was_seen_is_not_decoded_again(monkeypatch):
    data = reference(SAMPLES[:777])
    first = sayonce.Voice.from_audio(data)
    monkeypatch.setattr(module, "_identify", None)
    assert sayonce.Voice.from_audio(data) == first


def test_what_is_remembered_of_a_reference_file_is_its_senders_alone(monkeypatch):
    data, opened = reference(SAMPLES[:888]), []
    genuine = module._identify
    monkeypatch.setattr(module, "_identify", lambda *given: opened.append(1) or genuine(*given))
    voices = [sayonce.Voice.from_audio(data, owner=owner) for owner in ("alice", "alice", "bob", "", "bob")]
    assert len(opened) == 3
    assert len(set(voices)) == 1


def test_a_seen_reference_is_still_held_to_the_limit():
    data = reference(SAMPLES[:9_999])
    sayonce.Voice.from_audio(data)
    with pytest.raises(InvalidRequest, match=r"longer than 0.1 s"):
        sayonce.Voice.from_audio(data, max_seconds=0.1)


def test_what_is_remembered_of_reference_files_is_bounded():
    memory = module._Memory()
    for number in range(module._REMEMBERED + 10):
        memory.put(("", number.to_bytes(8)), sayonce.Voice("id", 1.0, 1, 1))
    assert len(memory._voices) == module._REMEMBERED
    assert memory.get(("", (0).to_bytes(8))) is None


def test_a_reference_may_be_streamed_flac_of_unknown_length():
    data = bytearray(reference(container="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    data[26:42] = bytes(16)
    assert sayonce.Voice.from_audio(bytes(data)).id == identity()


NOT_FINITE = SAMPLES / 32_768
NOT_FINITE[3] = np.nan


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda _: b"", "is empty"),
        (lambda _: b"no audio at all", r"cannot be decoded .* WAV, FLAC, Ogg"),
        (lambda _: reference(SAMPLES[:0]), "holds no samples"),
        (lambda _: reference(NOT_FINITE * 32_768, subtype="FLOAT"), "no numbers"),
        (lambda path: path / "missing.wav", "missing.wav: No such file"),
        (lambda path: path, "Is a directory"),
    ],
)
def test_a_file_that_is_no_reference_is_refused_with_what_would_be_right(tmp_path, make, what):
    with pytest.raises(InvalidRequest, match=what) as refused:
        sayonce.Voice.from_audio(make(tmp_path))
    assert "BytesIO" not in str(refused.value)


def test_a_small_file_that_decodes_to_hours_of_samples_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_SAMPLES", 20_000)
    silence = np.zeros((15_000, 8), np.int16)
    assert len(reference(silence, container="FLAC")) < 10_000
    with pytest.raises(InvalidRequest, match="more than 20,000 samples"):
        sayonce.Voice.from_audio(reference(silence, container="FLAC"))


def test_the_identity_does_not_depend_on_the_blocks_in_which_a_reference_is_read(monkeypatch):
    data = reference(SAMPLES.reshape(-1, 8))
    whole = module._identify(data, 600, module.open_sound)
    monkeypatch.setattr(wav, "_FEED_BYTES", 99)
    assert module._identify(data, 600, module.open_sound) == whole


def test_too_long_and_too_large_references_are_refused():
    with pytest.raises(InvalidRequest, match=r"longer than 0.4 s"):
        sayonce.Voice.from_audio(reference(), max_seconds=0.4)
    with pytest.raises(InvalidRequest, match="larger than 20,000 bytes"):
        sayonce.Voice.from_audio(reference(), max_bytes=20_000)
