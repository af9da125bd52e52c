"""Chatterbox's own code (English, multilingual, turbo), its networks replaced by stand-ins that count."""

import io
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import sayonce
from tests.helpers.voice_samples import alike, reference

torch = pytest.importorskip("torch")
pytest.importorskip("librosa")
pytestmark = pytest.mark.filterwarnings("default")

from tests.engines.loading import engine  # noqa: E402 (needs torch)

RATE = 24_000
CLASSES = {
    "chatterbox.tts": "ChatterboxTTS",
    "chatterbox.mtl_tts": "ChatterboxMultilingualTTS",
    "chatterbox.tts_turbo": "ChatterboxTurboTTS",
}


def noise(seed):
    return (np.random.default_rng(seed).normal(size=int(5.5 * RATE)) * 3_000).astype(np.int16)


class Net(torch.nn.Linear):
    """Weights to identify, and a count."""

    def __init__(self, counts, name):
        super().__init__(4, 4)
        self._counts, self._name = counts, name

    def count(self):
        self._counts[self._name] += 1
        return self.weight.sum() * 0


class VoiceEncoder(Net):
    def embeds_from_wavs(self, wavs, sample_rate):
        return (np.resize(wavs[0], (1, 256)) + self.count().item()).astype(np.float32)


class Tokenizer(Net):
    def forward(self, wavs, max_len=None):
        self.count()
        return torch.from_numpy((np.abs(wavs[0][:max_len]) * 1000).astype(np.int64))[None], None


class S3Gen:
    def __init__(self, counts):
        self.tokenizer, self.speaker_encoder = Tokenizer(counts, "tokens"), Net(counts, "speaker")

    def embed_ref(self, wav, rate, device):
        heard = torch.from_numpy(wav[:8_000]) + self.speaker_encoder.count()  # holds an autograd graph, as it does
        prompt = (heard.abs() * 10).long()[None, :250]
        return {
            "prompt_token": prompt,
            "prompt_token_len": torch.tensor([250]),
            "prompt_feat": heard.reshape(1, -1, 80),
            "prompt_feat_len": None,
            "embedding": heard[None, :192],
        }

    def inference(self, speech_tokens, ref_dict, **_):
        wave = ref_dict["prompt_feat"].flatten()[: len(speech_tokens)] + speech_tokens
        return wave[None].float(), None


class T3:
    hp = SimpleNamespace(speech_cond_prompt_len=150, start_text_token=1, stop_text_token=2)

    def inference(self, t3_cond, text_tokens, **_):
        heard = t3_cond.speaker_emb.abs()[0, :20] * 100 + t3_cond.emotion_adv.flatten() * 100
        return (heard.long() % 6_000)[None]

    def inference_turbo(self, **given):
        return self.inference(given["t3_cond"], None)


@pytest.fixture(scope="module", params=CLASSES)
def kind(request):
    beside = ("perth", "s3tokenizer", "diffusers", "conformer", "pyloudnorm", "pykakasi", "spacy_pkuseg")
    own = ("chatterbox.models.s3gen", "chatterbox.models.s3tokenizer", "chatterbox.models.voice_encoder")
    with engine("chatterbox-tts", request.param, pretend=(*beside, *own, "chatterbox.models.tokenizers")) as module:
        module.S3_SR, module.S3GEN_SR, module.S3GEN_SIL = 16_000, RATE, 4299
        module.drop_invalid_tokens = lambda tokens: tokens
        cls = getattr(module, CLASSES[request.param])
        cls.ENC_COND_LEN, cls.DEC_COND_LEN = 6 * 16_000, 10 * RATE
        cls.norm_loudness = lambda _, wav, sr, target_lufs=-27: wav * 0.5
        yield cls


def build(cls):
    torch.manual_seed(0)
    model = cls.__new__(cls)
    model.counts = Counter()
    model.sr, model.device, model.conds = RATE, "cpu", None
    model.t3, model.s3gen, model.ve = T3(), S3Gen(model.counts), VoiceEncoder(model.counts, "voice")
    ids = torch.ones(1, 4, dtype=torch.long)
    model.tokenizer = type("Text", (), {"__call__": lambda *_, **__: SimpleNamespace(input_ids=ids)})()
    model.tokenizer.text_to_tokens = lambda text, **_: ids
    model.watermarker = SimpleNamespace(apply_watermark=lambda wav, sample_rate: wav)
    return model


@pytest.fixture
def cache():
    with sayonce.open_sync("memory://") as cache:
        yield cache


@pytest.fixture
def voices(tmp_path):
    for seed in (1, 2):
        (tmp_path / f"{seed}.wav").write_bytes(reference(noise(seed), rate=RATE))
    return str(tmp_path / "1.wav"), str(tmp_path / "2.wav")


def speak(model, voice, **options):
    language = {"language_id": "en"} if "Multilingual" in type(model).__name__ else {}
    return model.generate("some words", audio_prompt_path=voice, **language, **options)


def once(times=1):
    return {"voice": times, "tokens": times, "speaker": times}


def test_chatterboxs_encoders_run_once_a_voice(kind, cache, voices):
    model = sayonce.adapters.chatterbox.wrap(build(kind), cache)
    for voice in voices * 3:
        speak(model, voice)
    assert model.counts == once(2)


def test_wrapped_chatterbox_sounds_as_it_does_unwrapped(kind, cache, voices):
    model = sayonce.adapters.chatterbox.wrap(build(kind), cache)
    for voice in voices * 2:
        assert torch.equal(speak(model, voice), speak(build(kind), voice))
        assert torch.equal(speak(model, None), speak(model, voice))


def test_chatterbox_has_an_entry_for_each_exaggeration(kind, cache, voices):
    model = sayonce.adapters.chatterbox.wrap(build(kind), cache)
    for exaggeration in (0.3, 0.7, 0.3):
        heard = speak(model, voices[0], exaggeration=exaggeration)
        assert torch.equal(heard, speak(build(kind), voices[0], exaggeration=exaggeration))
    assert model.counts == once(2)


@pytest.mark.parametrize("kind", ["chatterbox.tts_turbo"], indirect=True)
def test_chatterbox_has_an_entry_for_each_loudness(kind, cache, voices):
    model = sayonce.adapters.chatterbox.wrap(build(kind), cache)
    for norm_loudness in (True, False, True):
        speak(model, voices[0], norm_loudness=norm_loudness)
    assert model.counts == once(2)


def test_prepared_conditionals_are_remembered_and_hold_no_graph(kind, cache, voices):
    model = sayonce.adapters.chatterbox.wrap(build(kind), cache)
    for _ in range(2):
        model.prepare_conditionals(voices[0], exaggeration=0.4)
        tensors = [*vars(model.conds.t3).values(), *model.conds.gen.values()]
        tensors = [each for each in tensors if torch.is_tensor(each)]
        assert len(tensors) == 7
        assert not any(tensor.requires_grad for tensor in tensors)
        tensors[0].zero_()
    assert model.counts == once()


def test_threads_with_different_voices_do_not_swap_them(kind, cache, voices):
    model = sayonce.adapters.chatterbox.wrap(build(kind), cache)
    alone = {voice: speak(build(kind), voice) for voice in voices}
    with ThreadPoolExecutor(16) as pool:
        heard = list(pool.map(lambda voice: (voice, speak(model, voice)), voices * 25))
    assert all(torch.equal(sound, alone[voice]) for voice, sound in heard)
    assert model.counts == once(2)


def test_the_same_name_with_another_voice_is_another_voice(kind, cache, voices, tmp_path):
    model = sayonce.adapters.chatterbox.wrap(build(kind), cache)
    before = speak(model, voices[0])
    (tmp_path / "1.wav").write_bytes((tmp_path / "2.wav").read_bytes())
    assert not torch.equal(speak(model, voices[0]), before)
    assert model.counts == once(2)


def test_references_of_the_same_shape_head_and_tail_are_not_confused(kind, cache, voices, tmp_path):
    model = sayonce.adapters.chatterbox.wrap(build(kind), cache)
    (tmp_path / "alike.wav").write_bytes(reference(alike(noise(1)), rate=RATE))
    for voice in (voices[0], str(tmp_path / "alike.wav")) * 2:
        speak(model, voice)
    assert model.counts == once(2)


def test_a_revision_that_is_given_does_not_stand_for_the_precision(kind, cache, voices):
    whole, half = build(kind), build(kind)
    half.s3gen.speaker_encoder.half()
    for model in (whole, half):
        speak(sayonce.adapters.chatterbox.wrap(model, cache, revision="1"), voices[0])
    assert whole.counts == half.counts == once()


def test_a_reference_that_cannot_be_identified_reaches_chatterbox_each_time_with_one_warning(
    kind, cache, tmp_path, caplog
):
    data, model = reference(noise(1), rate=RATE), sayonce.adapters.chatterbox.wrap(build(kind), cache)
    for times in (1, 2):
        assert torch.equal(speak(model, io.BytesIO(data)), speak(build(kind), io.BytesIO(data)))
        assert model.counts == once(times)
    model.prepare_conditionals(io.BytesIO(data))
    assert model.counts == once(3)
    assert len([each for each in caplog.messages if each.startswith("chatterbox: computed each time")]) == 1
