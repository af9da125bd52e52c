"""IndexTTS2's own code and its own networks, built small with random weights: from reference to sound, as without the cache."""

from types import SimpleNamespace

import numpy as np
import pytest

import sayonce
from tests.helpers.voice_samples import reference

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("default")

from tests.engines.indextts2 import SLOTS  # noqa: E402 (needs torch)
from tests.engines.loading import engine  # noqa: E402

RATE = 22_050
STOP = 41
CONFORMER = {
    "output_size": 64,
    "linear_units": 64,
    "attention_heads": 2,
    "num_blocks": 1,
    "input_layer": "conv2d2",
    "perceiver_mult": 2,
}
S2MEL = {
    "dit_type": "DiT",
    "reg_loss_type": "l1",
    "style_encoder": {"dim": 192},
    "length_regulator": {
        "channels": 512,
        "is_discrete": False,
        "in_channels": 1024,
        "content_codebook_size": 64,
        "sampling_ratios": [1, 1],
        "vector_quantize": False,
        "n_codebooks": 1,
        "quantizer_dropout": 0.0,
        "f0_condition": False,
        "n_f0_bins": 8,
    },
    "DiT": {
        "hidden_dim": 64,
        "num_heads": 2,
        "depth": 2,
        "class_dropout_prob": 0.1,
        "block_size": 2048,
        "in_channels": 80,
        "style_condition": True,
        "final_layer_type": "wavenet",
        "target": "mel",
        "content_dim": 512,
        "content_codebook_size": 64,
        "content_type": "discrete",
        "f0_condition": False,
        "n_f0_bins": 8,
        "content_codebooks": 1,
        "is_causal": False,
        "long_skip_connection": True,
        "zero_prompt_speech_token": False,
        "time_as_token": False,
        "style_as_token": False,
        "uvit_skip_connection": True,
        "add_resblock_in_transformer": False,
    },
    "wavenet": {
        "hidden_dim": 64,
        "num_layers": 2,
        "kernel_size": 5,
        "dilation_rate": 1,
        "p_dropout": 0.2,
        "style_condition": True,
    },
    "preprocess_params": {
        "sr": RATE,
        "spect_params": {"n_fft": 1024, "win_length": 1024, "hop_length": 256, "n_mels": 80},
    },
}
VOCODER = {
    "num_mels": 80,
    "upsample_rates": [16, 16],
    "upsample_kernel_sizes": [32, 32],
    "upsample_initial_channel": 32,
    "resblock": "1",
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
    "activation": "snakebeta",
    "snake_logscale": True,
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
}


@pytest.fixture(scope="module")
def tts():
    """An engine with every network that it has, but for the one that reads an emotion out of a text."""
    with engine("indextts2-inference", "indextts.infer_v2", pretend=("wetext", "tn")) as module:
        torch.manual_seed(0)
        yield build(module)


def build(module):
    from omegaconf import OmegaConf
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

    tts = module.IndexTTS2.__new__(module.IndexTTS2)
    tts.device, tts.dtype, tts.stop_mel_token = "cpu", None, STOP
    tts.cfg = OmegaConf.create({"s2mel": S2MEL})
    tts.extract_features = SeamlessM4TFeatureExtractor()
    small = {"num_hidden_layers": 17, "hidden_size": 1024, "intermediate_size": 64, "num_attention_heads": 16}
    tts.semantic_model = Wav2Vec2BertModel(Wav2Vec2BertConfig(**small)).eval()
    tts.semantic_mean, tts.semantic_std = torch.zeros(1024), torch.ones(1024)
    codec = {"codebook_size": STOP + 1, "hidden_size": 1024, "codebook_dim": 8, "vocos_dim": 32}
    codec |= {"vocos_intermediate_dim": 64, "vocos_num_layers": 1, "num_quantizers": 1, "downsample_scale": 1}
    tts.semantic_codec = module.build_semantic_codec(OmegaConf.create(codec))
    tts.s2mel = module.MyModel(tts.cfg.s2mel, use_gpt_latent=True).eval()
    tts.s2mel.models["cfm"].estimator.setup_caches(max_batch_size=1, max_seq_length=2048)
    tts.campplus_model = module.CAMPPlus(feat_dim=80, embedding_size=192).eval()
    tts.gpt = module.UnifiedVoice(
        layers=2,
        model_dim=1280,
        heads=4,
        max_text_tokens=60,
        max_mel_tokens=60,
        number_text_tokens=50,
        number_mel_codes=STOP + 1,
        start_mel_token=STOP - 1,
        stop_mel_token=STOP,
        condition_type="conformer_perceiver",
        condition_module=CONFORMER,
        emo_condition_module=CONFORMER,
    ).eval()
    tts.gpt.mel_head.bias.data[STOP] = -1e4  # random weights would stop at once
    tts.gpt.post_init_gpt2_config(kv_cache=True)
    tts.bigvgan = module.bigvgan.BigVGAN(module.bigvgan.AttrDict(VOCODER)).eval()
    mel = {"n_fft": 1024, "num_mels": 80, "sampling_rate": RATE, "hop_size": 256, "win_size": 1024}
    tts.mel_fn = lambda audio: module.mel_spectrogram(audio, **mel, fmin=0, fmax=None)
    tts.tokenizer = SimpleNamespace(
        tokenize=str.split,
        split_segments=lambda tokens, *_, **__: [tokens],
        convert_tokens_to_ids=lambda tokens: [2 + len(token) for token in tokens],
        unk_token_id=0,
    )
    vars(tts).update(dict.fromkeys(SLOTS))
    return tts


def noise(seed):
    return (np.random.default_rng(seed).normal(size=RATE // 2) * 6_000).astype(np.int16)


def speak(tts, voice, **options):
    torch.manual_seed(7)
    return tts.infer(str(voice), "one two three", None, max_mel_tokens=6, **options)[1]


def held(tts, voice, **options):
    """Return what the engine makes of a voice that its own slots hold: w2v-BERT draws random numbers, unused, as it runs."""
    speak(tts, voice, **options)
    return speak(tts, voice, **options)


@pytest.fixture
def voices(tmp_path):
    for name, seed in (("alice", 1), ("bob", 2)):
        (tmp_path / f"{name}.wav").write_bytes(reference(noise(seed), rate=RATE))
    return tmp_path / "alice.wav", tmp_path / "bob.wav"


@pytest.mark.timeout(300)
def test_sound_from_remembered_features_is_that_of_the_real_networks_bit_for_bit(tts, voices):
    alice, bob = voices
    calls = [(alice, {}), (alice, {"emo_audio_prompt": str(bob), "emo_alpha": 0.6})]
    alone = [held(tts, voice, **options) for voice, options in calls]
    runs = []
    tts.semantic_model.register_forward_pre_hook(lambda *_: runs.append("w2v-bert"))
    tts.campplus_model.register_forward_pre_hook(lambda *_: runs.append("campplus"))
    with sayonce.open_sync("memory://") as cache:
        sayonce.adapters.indextts2.wrap(tts, cache)
        for _ in range(2):
            for (voice, options), sound in zip(calls, alone, strict=True):
                np.testing.assert_array_equal(speak(tts, voice, **options), sound)
    assert (runs.count("w2v-bert"), runs.count("campplus")) == (3, 1)
    assert len({sound.tobytes() for sound in alone}) == 2
    assert all(sound.size > 1_000 and np.ptp(sound) > 0 for sound in alone)
