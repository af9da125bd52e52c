"""XTTS's own code and networks, built small with random weights: from reference to sound, as without the cache."""

from collections import Counter

import numpy as np
import pytest
import soundfile

import sayonce
from tests.helpers.voice_samples import alike, reference

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("default")

from tests.engines.loading import engine  # noqa: E402 (needs torch)

RATE = 22_050


def noise(seed):
    return (np.random.default_rng(seed).normal(size=RATE) * 6_000).astype(np.int16)


class Text:
    def encode(self, text, lang):
        return [3 + ord(letter) % 200 for letter in text]


@pytest.fixture(scope="module")
def build():
    """Return a function that makes the same model each time: two layers of GPT, the whole decoder and its encoder."""
    with engine("coqui-tts", "TTS.tts.models.xtts", pretend=("torchcodec",)) as module:
        from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig

        module.torchaudio.load = load  # its own reads with FFmpeg's libraries
        sizes = {"gpt_layers": 2, "gpt_n_heads": 4, "gpt_n_model_channels": 1024}
        tokens = {"gpt_number_text_tokens": 300, "gpt_start_text_token": 261, "gpt_stop_text_token": 0}
        codes = {"gpt_num_audio_tokens": 1026, "gpt_start_audio_token": 1024, "gpt_stop_audio_token": 1025}
        config = XttsConfig(model_args=XttsArgs(**sizes, **tokens, **codes))

        def make(seed=0):
            torch.manual_seed(seed)
            model = module.Xtts(config)
            model.tokenizer = Text()
            model.gpt.init_gpt_for_inference(kv_cache=True)
            model.eval()
            return counted(model)

        yield make


def load(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate


def counted(model):
    model.counts = Counter()
    model.hifigan_decoder.speaker_encoder.conv1.register_forward_pre_hook(lambda *_: model.counts.update(["speaker"]))
    model.gpt.conditioning_encoder.register_forward_pre_hook(lambda *_: model.counts.update(["gpt"]))
    return model


@pytest.fixture(scope="module")
def only(build):
    return build()


@pytest.fixture
def model(only):
    """The one model, as it was built: making it takes seconds."""
    vars(only).pop("get_conditioning_latents", None)
    only.counts.clear()
    return only


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


@pytest.fixture
def voices(tmp_path):
    for seed in (1, 2):
        (tmp_path / f"{seed}.wav").write_bytes(reference(noise(seed), rate=RATE))
    return str(tmp_path / "1.wav"), str(tmp_path / "2.wav")


def speak(model, voice):
    latents, speaker = model.get_conditioning_latents(voice)
    torch.manual_seed(7)
    return model.inference("hello", "en", latents, speaker, max_new_tokens=12)["wav"]


def test_sound_from_remembered_features_is_that_of_the_real_networks_bit_for_bit(model, cache, voices):
    alone = {voice: speak(model, voice) for voice in voices}
    model.counts.clear()
    assert sayonce.adapters.xtts.wrap(model, cache) is model
    for voice in (*voices, *voices):
        np.testing.assert_array_equal(speak(model, voice), alone[voice])
    assert model.counts == {"speaker": 2, "gpt": 2}
    assert alone[voices[0]].size > 1_000
    assert not np.array_equal(*alone.values())


def test_latents_of_xtts_survive_a_restart(model, voices, tmp_path):
    own = model.get_conditioning_latents
    for _ in range(2):
        model.get_conditioning_latents = own
        with sayonce.open_sync(f"sqlite:///{tmp_path}/features.db") as cache:
            sayonce.adapters.xtts.wrap(model, cache).get_conditioning_latents(voices[0])
        assert model.counts == {"speaker": 1, "gpt": 1}


def test_every_argument_and_the_order_of_references_is_in_the_key(model, cache, voices):
    sayonce.adapters.xtts.wrap(model, cache)
    calls = [
        ((voices[0],), {}),
        ((voices[0],), {"sound_norm_refs": True}),
        ((voices[0],), {"load_sr": 24_000}),
        ((voices[0],), {"gpt_cond_len": 3, "gpt_cond_chunk_len": 3}),
        ((voices[0], 1), {}),
        ((list(voices),), {}),
        ((list(reversed(voices)),), {}),
    ]
    for number, (args, kwargs) in enumerate(calls, 1):
        for _ in range(2):
            model.get_conditioning_latents(*args, **kwargs)
        assert model.counts["gpt"] == number
    model.get_conditioning_latents(audio_path=[voices[0]], max_ref_length=30)
    assert model.counts["gpt"] == len(calls)


def test_the_same_name_and_references_of_the_same_shape_head_and_tail_are_not_confused(model, cache, voices, tmp_path):
    sayonce.adapters.xtts.wrap(model, cache)
    for number, samples in enumerate((noise(1), noise(2), alike(noise(1))), 1):
        (tmp_path / "1.wav").write_bytes(reference(samples, rate=RATE))
        for _ in range(2):
            model.get_conditioning_latents(voices[0])
        assert model.counts == {"speaker": number, "gpt": number}


def test_latents_are_the_callers_own(model, cache, voices):
    sayonce.adapters.xtts.wrap(model, cache)
    first = [tensor.clone() for tensor in model.get_conditioning_latents(voices[0])]
    for tensor in model.get_conditioning_latents(voices[0]):
        assert not tensor.requires_grad
        tensor.zero_()
    assert all(map(torch.equal, first, model.get_conditioning_latents(voices[0])))


def test_other_weights_have_entries_of_their_own(model, cache, voices):
    sayonce.adapters.xtts.wrap(model, cache).get_conditioning_latents(voices[0])
    vars(model).pop("get_conditioning_latents")
    with torch.no_grad():
        model.gpt.conditioning_encoder.init.bias += 0.5
    sayonce.adapters.xtts.wrap(model, cache).get_conditioning_latents(voices[0])
    assert model.counts["gpt"] == 2
