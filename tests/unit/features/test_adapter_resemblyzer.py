"""Resemblyzer's own encoder with its own weights: it runs once an utterance."""

import numpy as np
import pytest

import sayonce

torch = pytest.importorskip("torch")
pytest.importorskip("librosa")
pytestmark = pytest.mark.filterwarnings("default")

from tests.engines.loading import engine  # noqa: E402 (needs torch)


@pytest.fixture(scope="module")
def kind():
    with engine("resemblyzer", "resemblyzer.voice_encoder", pretend=("webrtcvad",)) as module:
        yield module.VoiceEncoder


@pytest.fixture
def encoder(kind):
    encoder = kind("cpu", verbose=False)
    encoder.runs = 0

    def count(*_):
        encoder.runs += 1

    encoder.register_forward_pre_hook(count)
    return encoder


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


def utterance(seed, seconds=2):
    return np.random.default_rng(seed).normal(size=16_000 * seconds).astype(np.float32) * 0.1


def test_resemblyzers_encoder_runs_once_an_utterance_and_gives_its_own_embedding(kind, encoder, cache):
    alone = [kind("cpu", verbose=False).embed_utterance(utterance(seed)) for seed in (1, 2)]
    sayonce.adapters.resemblyzer.wrap(encoder, cache)
    for _ in range(3):
        for seed in (1, 2):
            np.testing.assert_array_equal(encoder.embed_utterance(utterance(seed)), alone[seed - 1])
    assert encoder.runs == 2
    assert alone[0].shape == (256,)


def test_another_rate_or_coverage_has_an_entry_of_its_own(encoder, cache):
    sayonce.adapters.resemblyzer.wrap(encoder, cache)
    for _ in range(2):
        for options in ({}, {"rate": 2.5}, {"min_coverage": 0.5}):
            encoder.embed_utterance(utterance(1), **options)
    assert encoder.runs == 3


def test_one_changed_sample_is_another_utterance(encoder, cache):
    sayonce.adapters.resemblyzer.wrap(encoder, cache)
    changed = utterance(1)
    changed[len(changed) // 2] += 1e-6
    encoder.embed_utterance(utterance(1))
    encoder.embed_utterance(changed)
    assert encoder.runs == 2


def test_another_device_has_entries_of_its_own(encoder, cache, monkeypatch):
    own = encoder.embed_utterance
    for runs, device in enumerate((torch.device("cpu"), torch.device("cpu", 0)), 1):
        monkeypatch.setattr(encoder, "device", device)
        monkeypatch.setattr(encoder, "embed_utterance", own)
        sayonce.adapters.resemblyzer.wrap(encoder, cache).embed_utterance(utterance(1))
        assert encoder.runs == runs


def test_a_speaker_is_made_of_remembered_utterances(kind, encoder, cache):
    wavs = [utterance(seed) for seed in (1, 2)]
    alone = kind("cpu", verbose=False).embed_speaker(wavs)
    sayonce.adapters.resemblyzer.wrap(encoder, cache)
    for _ in range(2):
        np.testing.assert_array_equal(encoder.embed_speaker(wavs), alone)
    assert encoder.runs == 2


def test_wrapped_resemblyzer_gives_partial_embeddings_as_it_does_unwrapped(encoder, cache):
    sayonce.adapters.resemblyzer.wrap(encoder, cache)
    embedding, partials, slices = encoder.embed_utterance(utterance(1), return_partials=True)
    assert (embedding.shape, partials.shape[1], len(slices)) == ((256,), 256, len(partials))


def test_embeddings_are_the_callers_own(encoder, cache):
    sayonce.adapters.resemblyzer.wrap(encoder, cache)
    first = encoder.embed_utterance(utterance(1)).copy()
    encoder.embed_utterance(utterance(1))[:] = 0
    np.testing.assert_array_equal(encoder.embed_utterance(utterance(1)), first)
