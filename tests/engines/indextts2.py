"""The editions of IndexTTS2, their own code, with stand-ins for the networks that count and give the right shapes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import SeamlessM4TFeatureExtractor

from tests.engines.loading import engine

STOP = 9
SLOTS = [
    f"cache_{name}"
    for name in ("spk_cond", "s2mel_style", "s2mel_prompt", "mel", "spk_audio_prompt", "emo_cond", "emo_audio_prompt")
]
_OWN = ("gpt", "s2mel", "utils", "codec")
_BESIDE = ("modelscope", "nemo_text_processing", "wetext", "tn")


class Edition(NamedTuple):
    """A package, its module, how often a cold synthesis loads and encodes, and, once loaded, its class."""

    package: str
    module: str
    cold: tuple[int, int]
    lang: bool = False
    streams: bool = True
    cls: type = object

    def arguments(self, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs | ({"lang": "en", "text_normalization": False} if self.lang else {})


EDITIONS = [
    Edition("indextts2-inference", "indextts.infer_v2", (2, 2)),
    Edition("tts-webui.index-tts", "indextts.infer_v2", (2, 2), streams=False),
    Edition("indextts25-inference", "indextts25.infer_v2_5", (2, 2), lang=True),
    # Not on PyPI: tested where a checkout of index-tts/index-tts lies in build/engines/index-tts.
    Edition("index-tts", "indextts.infer_v2", (2, 2)),
    Edition("index-tts", "indextts.infer_v2_5", (3, 3), lang=True),
]


@contextmanager
def loaded(edition: Edition) -> Iterator[Edition]:
    root = edition.module.partition(".")[0]
    with engine(edition.package, edition.module, pretend=(*(f"{root}.{own}" for own in _OWN), *_BESIDE)) as module:
        module.lang_to_token = lambda lang: 0
        module.LANGUAGE_DICT = {"en": 0}
        if root == "indextts25":
            module.resample, module.kaldi_fbank = _resample, _fbank
        yield edition._replace(cls=module.IndexTTS2)


def build(cls: type, *, seed: int = 0, device: str = "cpu") -> Any:
    """Return an engine whose own methods are all its class's; ``counts`` says how often it loaded and encoded."""
    torch.manual_seed(seed)
    tts = cls.__new__(cls)
    tts.counts = Counter()
    tts.device, tts.dtype, tts.stop_mel_token = device, None, STOP
    tts.low_vram, tts.gr_progress, tts.emo_num = False, None, [1] * 8
    tts.cfg = SimpleNamespace(s2mel={"preprocess_params": {"sr": 22050}})
    tts.extract_features = SeamlessM4TFeatureExtractor()
    tts.semantic_model, tts.semantic_mean, tts.semantic_std = nn.Linear(160, 1024), torch.zeros(1024), torch.ones(1024)
    tts.get_emb = _counting(tts.counts, "encodes", lambda features, _: _embedding(tts, features))
    tts._load_and_cut_audio = _counting(tts.counts, "loads", tts._load_and_cut_audio)
    tts.mel_fn = _mel
    tts.campplus_model, tts.semantic_codec, tts.bigvgan = _Style(), _Codec(), _Vocoder()
    own_tables = cls.__module__.startswith("indextts25")
    models = {"length_regulator": _Regulator(own_tables), "gpt_layer": nn.Linear(1280, 1024), "cfm": _Flow()}
    tts.s2mel = SimpleNamespace(models=nn.ModuleDict(models))
    tts.gpt = _Gpt(codes_alone=own_tables)
    tts.tokenizer, tts.text_process = _Tokenizer(), SimpleNamespace(clean_pattern=re.compile("\0"), char_rep_map={})
    tts.emo_matrix, tts.spk_matrix = [torch.rand(1, 1280)] * 8, [torch.rand(1, 192)] * 8
    tts.qwen_emo = SimpleNamespace(inference=lambda text: {str(number): 0.1 for number in range(8)})
    if own_tables:
        tts._spk_cache, tts._emo_cache, tts._emovec_cache = {}, {}, {}
    else:
        vars(tts).update(dict.fromkeys(SLOTS))
    return tts


def _embedding(tts: Any, features: torch.Tensor) -> torch.Tensor:
    torch.rand([])  # as w2v-BERT does for the layers that it might drop
    return tts.semantic_model(features)


def _counting(counts: Counter[str], name: str, function: Any) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        counts[name] += 1
        return function(*args, **kwargs)

    return counted


def _mel(audio: torch.Tensor) -> torch.Tensor:
    frames = audio[:, : audio.shape[1] // 256 * 256].reshape(1, -1, 256)
    return frames[:, :, :80].transpose(1, 2)


def _resample(audio: torch.Tensor, rate: int, new_rate: int) -> torch.Tensor:
    return nn.functional.interpolate(audio[None], size=audio.shape[1] * new_rate // rate)[0]


def _fbank(audio: torch.Tensor, **_: Any) -> torch.Tensor:
    return audio[0, : audio.shape[1] // 80 * 80].reshape(-1, 80)


class _Style(nn.Linear):
    def __init__(self) -> None:
        super().__init__(80, 192)

    def forward(self, feat: torch.Tensor) -> torch.Tensor:
        return super().forward(feat.mean(1))


class _Codec(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1024))
        self.quantizer = SimpleNamespace(vq2emb=lambda codes: codes.float().expand(1, 1024, -1))

    def quantize(self, embedding: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, embedding * self.scale

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return codes[:, :, None].float().expand(1, -1, 1024)


class _Regulator(nn.Linear):
    def __init__(self, alone: bool) -> None:
        super().__init__(1024, 512)
        self._alone = alone

    def forward(self, x: torch.Tensor, ylens: torch.Tensor, n_quantizers: int = 3, f0: None = None) -> Any:
        sequence = nn.functional.interpolate(super().forward(x).transpose(1, 2), size=int(ylens[0])).transpose(1, 2)
        return sequence if self._alone else (sequence, None)


class _Flow(nn.Module):
    def inference(
        self, cond: torch.Tensor, lens: Any, mel: torch.Tensor, style: torch.Tensor, *_: Any, **__: Any
    ) -> Any:
        heard = cond.sum(2, keepdim=True).transpose(1, 2) + mel.sum() + style.sum() + torch.randn(1, 80, cond.shape[1])
        return heard.expand(1, 80, -1)


class _Vocoder(nn.Module):
    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return torch.sin(mel.mean(1, keepdim=True).repeat_interleave(256, 2))


class _Gpt(nn.Module):
    def __init__(self, *, codes_alone: bool) -> None:
        super().__init__()
        self._codes_alone = codes_alone
        self.text_pos_embedding = SimpleNamespace(emb=SimpleNamespace(num_embeddings=600))

    def merge_emovec(self, speaker: torch.Tensor, emotion: torch.Tensor, *_: Any, alpha: float) -> torch.Tensor:
        return (speaker.mean() + alpha * (emotion.mean() - speaker.mean())).expand(1, 1280)

    def inference_speech(self, *args: Any, **kwargs: Any) -> Any:
        emotion = args[2] if self._codes_alone else kwargs["emo_vec"]
        codes = torch.tensor([[1, 2, int(emotion.mean().abs() * 1e6) % 7, STOP]])
        return codes if self._codes_alone else (codes, emotion[:, None])

    def forward(
        self, latent: torch.Tensor, text: torch.Tensor, _: Any, codes: torch.Tensor, *__: Any, **___: Any
    ) -> Any:
        return latent.expand(1, codes.shape[1], 1280)


class _Tokenizer:
    unk_token_id = 0

    def tokenize(self, text: str) -> list[str]:
        return text.split()

    def split_segments(self, tokens: list[str], *_: Any, **__: Any) -> list[list[str]]:
        return [tokens[:2], tokens[2:]] if len(tokens) > 2 else [tokens]

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [1 + len(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [str(each) for each in ids]

    def encode(self, text: str, **_: Any) -> list[int]:
        return [1 + len(word) for word in text.split()]
