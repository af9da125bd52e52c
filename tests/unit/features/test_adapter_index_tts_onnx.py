"""The own code of index-tts-2-5-onnx, its ONNX networks replaced by stand-ins that count."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

import sayonce
from sayonce.errors import Unkeyable
from tests.helpers.voice_samples import alike, reference

pytest.importorskip("librosa")
pytestmark = pytest.mark.filterwarnings("default")

from tests.engines.loading import engine  # noqa: E402 (needs the engines' requirements)

RATE = 22_050
BESIDE = ("wetext", "index_tts_2_5_onnx.core.frontend", "index_tts_2_5_onnx.core.gpt_sampler")


@pytest.fixture(scope="module")
def package():
    with engine("index-tts-2-5-onnx", "index_tts_2_5_onnx.core.pipeline", pretend=BESIDE) as module:
        module.lang_to_token = lambda lang: 0
        module.gpt_sampler.generate_codes = lambda gpt, ids, conds, *_, **__: np.arange(3)
        from index_tts_2_5_onnx.api import IndexTTS

        yield SimpleNamespace(core=module.IndexTTS2Core, api=IndexTTS)


class Network:
    def __init__(self, counts, name, run):
        self._counts, self._name, self._run = counts, name, run

    def run(self, *args):
        self._counts[self._name] += 1
        return self._run(*args).astype(np.float32)


def build(package, folder, seed=0):
    rng = np.random.default_rng(seed)
    core = package.core.__new__(package.core)
    counts = Counter()
    networks = {
        "semantic_model": lambda features, mask: np.resize(features, (1, features.shape[1], 1024)),
        "emo_vec": lambda features, lengths: features.mean(1).repeat(2, 1)[:, :1280],
        "campplus": lambda fbank: np.resize(fbank.mean(1), (1, 192)),
        "length_regulator": lambda x, frames: np.resize(x, (1, frames, 512)),
        "codec_decode": lambda codes: np.resize(codes, (1, 6, 1024)),
        "bigvgan": lambda mel: np.sin(mel.mean(1).repeat(256)),
        "cfm": lambda x, prompt, lens, t, style, cond: np.tanh(x + prompt + style.sum() + cond.mean()),
        "gpt": None,
    }
    core.engines = SimpleNamespace(**{name: Network(counts, name, run) for name, run in networks.items()})
    core.features = lambda audio: (audio[: len(audio) // 160 * 160].reshape(1, -1, 160), np.ones((1, 1)))
    core.frontend = SimpleNamespace(prepare=lambda text, lang, limit: [[1, 2, 3]])
    core.spk_proj_w, core.spk_proj_b = rng.normal(size=(2, 1280, 192)).astype(np.float32)[0], np.zeros(1280, np.float32)
    core._speaker = core._speaker_path = None
    tts = package.api.__new__(package.api)
    tts._pipe, tts.model_dir, tts.counts = core, str(folder), counts
    return tts


@pytest.fixture
def folder(tmp_path):
    """A model's folder, with something in each file."""
    folder = tmp_path / "model"
    for name in ("semantic_model/semantic_model.onnx", "hf_cache/w2v-bert-2.0/config.json", "emo_vec.onnx"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"weights")
    for name in ("campplus.onnx", "length_regulator.onnx"):
        (folder / name).write_bytes(b"weights")
    return folder


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


@pytest.fixture
def voices(tmp_path):
    for seed in (1, 2):
        (tmp_path / f"{seed}.wav").write_bytes(reference(noise(seed), rate=RATE))
    return str(tmp_path / "1.wav"), str(tmp_path / "2.wav")


def noise(seed):
    return (np.random.default_rng(seed).normal(size=RATE) * 6_000).astype(np.int16)


def speak(tts, voice):
    return tts.synthesize("words", ref_audio_path=voice, seed=7, n_timesteps=2)


def encodes(tts):
    return tts.counts["semantic_model"], tts.counts["campplus"]


def test_the_encoders_run_once_a_voice_and_the_sound_is_that_of_the_engine_alone(package, cache, folder, voices):
    tts = sayonce.adapters.index_tts_onnx.wrap(build(package, folder), cache)
    heard = {}
    for voice in voices * 2:
        heard[voice] = speak(tts, voice)
        np.testing.assert_array_equal(heard[voice], speak(build(package, folder), voice))
    assert encodes(tts) == (2, 2)
    assert not np.array_equal(*heard.values())


def test_a_remembered_context_is_the_callers_own_to_change(package, cache, folder, voices):
    tts = sayonce.adapters.index_tts_onnx.wrap(build(package, folder), cache)
    first = tts.build_speaker(voices[0]).style.copy()
    tts.build_speaker(voices[0]).style[:] = 0
    context = tts.build_speaker(voices[0])
    np.testing.assert_array_equal(context.style, first)
    np.testing.assert_array_equal(tts.synthesize("words", spk=context, seed=7, n_timesteps=2), speak(tts, voices[0]))


def test_a_file_overwritten_in_place_is_another_voice(package, cache, folder, voices, tmp_path):
    tts = sayonce.adapters.index_tts_onnx.wrap(build(package, folder), cache)
    before = speak(tts, voices[0])
    (tmp_path / "1.wav").write_bytes((tmp_path / "2.wav").read_bytes())
    assert not np.array_equal(speak(tts, voices[0]), before)
    np.testing.assert_array_equal(speak(tts, voices[0]), speak(tts, voices[1]))
    assert encodes(tts) == (2, 2)


def test_references_of_the_same_shape_head_and_tail_are_not_confused(package, cache, folder, voices, tmp_path):
    tts = sayonce.adapters.index_tts_onnx.wrap(build(package, folder), cache)
    (tmp_path / "alike.wav").write_bytes(reference(alike(noise(1)), rate=RATE))
    for voice in (voices[0], str(tmp_path / "alike.wav")) * 2:
        tts.build_speaker(voice)
    assert encodes(tts) == (2, 2)


def test_another_device_has_entries_of_its_own(package, cache, folder, voices):
    for provider in ("CPUExecutionProvider", "CUDAExecutionProvider"):
        tts = build(package, folder)
        tts._pipe.engines.semantic_model._s = SimpleNamespace(get_providers=lambda provider=provider: [provider])
        sayonce.adapters.index_tts_onnx.wrap(tts, cache).build_speaker(voices[0])
        assert encodes(tts) == (1, 1)


def test_other_weights_have_entries_of_their_own(package, cache, folder, voices):
    sayonce.adapters.index_tts_onnx.wrap(build(package, folder), cache).build_speaker(voices[0])
    (folder / "campplus.onnx").write_bytes(b"other weights")
    other = sayonce.adapters.index_tts_onnx.wrap(build(package, folder), cache)
    projected = sayonce.adapters.index_tts_onnx.wrap(build(package, folder, seed=1), cache)
    for tts in (other, projected):
        tts.build_speaker(voices[0])
        assert encodes(tts) == (1, 1)


def test_a_pipeline_without_a_folder_needs_a_revision(package, cache, folder, voices):
    pipeline = build(package, folder)._pipe
    with pytest.raises(Unkeyable, match="revision="):
        sayonce.adapters.index_tts_onnx.wrap(pipeline, cache)
    assert sayonce.adapters.index_tts_onnx.wrap(pipeline, cache, revision="1") is pipeline
    assert pipeline.build_speaker(voices[0]).style.shape == (1, 192)
