"""CosyVoice's own frontend, its two ONNX sessions replaced by stand-ins that count."""

from collections import Counter
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import sayonce
from sayonce.errors import Unkeyable
from tests.helpers.voice_samples import alike, reference

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("default")

from tests.engines.loading import engine  # noqa: E402 (needs torch)

BESIDE = ("whisper", "tn", "wetext", "ttsfrd", "inflect", "cosyvoice.utils", "nemo_text_processing", "lingua", "matcha")
# CosyVoice itself is not on PyPI: tested where its cosyvoice/cli/frontend.py lies in build/engines/CosyVoice.
PACKAGES = {"cosyvoice2-eu": "samples", "CosyVoice": "path"}


def samples(seed):
    return (np.random.default_rng(seed).normal(size=16_000) * 6_000).astype(np.int16)


class Session:
    def __init__(self, counts, name, value):
        self._counts, self._name, self._value = counts, name, value

    def get_inputs(self):
        return [SimpleNamespace(name="audio"), SimpleNamespace(name="length")]

    def run(self, _, inputs):
        self._counts[self._name] += 1
        return [self._value(inputs["audio"])]


@pytest.fixture(scope="module", params=PACKAGES)
def module(request):
    with engine(request.param, "cosyvoice.cli.frontend", pretend=BESIDE) as module:
        module.whisper.log_mel_spectrogram = lambda speech, n_mels: speech[:, None, :].expand(1, n_mels, -1)
        module.load_wav = load_wav
        module.takes = PACKAGES[request.param]
        yield module


def load_wav(path, rate):
    return torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None, : rate // 2]


def mel(speech, hop=320):
    return speech[:, : speech.shape[1] // hop * hop].reshape(1, -1, hop)[:, :, :80].transpose(1, 2)


def build(module):
    frontend = module.CosyVoiceFrontEnd.__new__(module.CosyVoiceFrontEnd)
    frontend.counts = Counter()
    frontend.device = torch.device("cpu")
    frontend.tokenizer = SimpleNamespace(encode=lambda text, **_: [ord(letter) for letter in text])
    frontend.allowed_special, frontend.spk2info = "all", {}
    frontend.campplus_session = Session(frontend.counts, "embedding", lambda feat: feat.mean(1).repeat(3)[:192])
    frontend.speech_tokenizer_session = Session(
        frontend.counts, "token", lambda feat: (np.abs(feat[0, 0, ::640]) * 1000).astype(int)
    )
    frontend.feat_extractor = partial(mel, hop=320)
    return frontend


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


@pytest.fixture
def prompt(tmp_path, module):
    """Return samples as the release takes them, in a file of a name."""

    def prompt(samples, name):
        path = tmp_path / f"{name}.wav"
        path.write_bytes(reference(samples, rate=16_000))
        return str(path) if module.takes == "path" else load_wav(path, 32_000)

    return prompt


@pytest.fixture
def prompts(prompt):
    return [prompt(samples(seed), seed) for seed in (1, 2)]


def zero_shot(frontend, prompt, text="words", transcript="said", rate=24_000):
    return frontend.frontend_zero_shot(text, transcript, prompt, rate, "")


def wrapped(module, cache):
    return sayonce.adapters.cosyvoice.wrap(build(module), cache, revision="1")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_segment_of_every_request_shares_one_run_a_reference(module, cache, prompts):
    frontend = wrapped(module, cache)
    for text in ("first", "second", "third"):
        for prompt in prompts:
            zero_shot(frontend, prompt, text)
    assert frontend.counts == {"embedding": 2, "token": 2}


def test_a_wrapped_cosyvoice_frontend_gives_the_model_input_of_the_unwrapped_one(module, cache, prompts):
    frontend = wrapped(module, cache)
    for prompt in (*prompts, *prompts):
        for rate in (22_050, 24_000):
            assert same(zero_shot(frontend, prompt, rate=rate), zero_shot(build(module), prompt, rate=rate))


def test_speakers_of_the_same_transcript_are_not_confused(module, cache, prompts):
    frontend = wrapped(module, cache)
    one, other = (zero_shot(frontend, prompt, transcript="the same words") for prompt in prompts)
    assert not torch.equal(one["llm_embedding"], other["llm_embedding"])


def test_a_corrected_transcript_of_cosyvoice_reaches_the_model(module, cache, prompts):
    frontend = wrapped(module, cache)
    one, other = (zero_shot(frontend, prompts[0], transcript=text) for text in ("sead", "said"))
    assert not torch.equal(one["prompt_text"], other["prompt_text"])
    assert frontend.counts["token"] == 1


def test_what_the_frontend_does_to_its_tensors_changes_no_entry(module, cache, prompts):
    frontend = wrapped(module, cache)
    first = zero_shot(frontend, prompts[0])
    kept = {name: tensor.clone() for name, tensor in first.items()}
    for tensor in first.values():
        tensor.zero_()
    assert same(zero_shot(frontend, prompts[0]), kept)


def test_cosyvoice_weights_that_cannot_be_read_need_a_revision(module, cache):
    with pytest.raises(Unkeyable, match="revision="):
        sayonce.adapters.cosyvoice.wrap(build(module), cache)


def test_a_model_is_wrapped_at_its_frontend(module, cache, prompts):
    model = SimpleNamespace(frontend=build(module))
    assert sayonce.adapters.cosyvoice.wrap(model, cache, revision="1") is model
    for _ in range(2):
        zero_shot(model.frontend, prompts[0])
    assert model.frontend.counts == {"embedding": 1, "token": 1}


def test_the_same_name_with_another_voice_is_another_voice(module, cache, prompt):
    frontend = wrapped(module, cache)
    one, other = (zero_shot(frontend, prompt(samples(seed), "alice")) for seed in (1, 2))
    assert not torch.equal(one["llm_embedding"], other["llm_embedding"])


def test_references_of_the_same_shape_head_and_tail_are_not_confused(module, cache, prompt):
    frontend = wrapped(module, cache)
    for each in (samples(1), alike(samples(1))):
        zero_shot(frontend, prompt(each, "alice"))
    assert frontend.counts == {"embedding": 2, "token": 2}


def test_another_device_or_spectrogram_has_entries_of_its_own(module, cache, prompts):
    elsewhere, otherwise = build(module), build(module)
    elsewhere.device = "cpu:0"
    otherwise.feat_extractor = partial(mel, hop=480)
    for frontend in (build(module), elsewhere, otherwise):
        zero_shot(sayonce.adapters.cosyvoice.wrap(frontend, cache, revision="1"), prompts[0])
        assert frontend.counts == {"embedding": 1, "token": 1}
