"""Stand-ins of the engines that adapters wrap, as bare as an adapter allows, so that no test needs torch."""

from types import SimpleNamespace

import numpy as np

from sayonce import adapters


class Conditionals:
    """What Chatterbox's module has beside its model."""


class Engine(SimpleNamespace):
    """As much of every engine as its adapter looks at."""

    device = "cpu"
    args = SimpleNamespace(gpt_use_perceiver_resampler=False)
    cfg = SimpleNamespace(s2mel={"preprocess_params": {}})
    semantic_session = campplus_session = speech_tokenizer_session = SimpleNamespace()
    semantic_model = semantic_mean = semantic_std = semantic_codec = campplus_model = None
    ve = mel_stats = spk_proj_w = spk_proj_b = None
    t3 = SimpleNamespace(hp=SimpleNamespace(speech_cond_prompt_len=150))
    s3gen = SimpleNamespace(tokenizer=None, speaker_encoder=None)
    gpt = SimpleNamespace(conditioning_encoder=None)
    hifigan_decoder = SimpleNamespace(speaker_encoder=None)
    s2mel = SimpleNamespace(models={"length_regulator": None})
    engines = SimpleNamespace(semantic_model=SimpleNamespace())

    def feat_extractor(self): ...

    def generate(self, text, audio_prompt_path=None): ...

    def prepare_conditionals(self, wav_fpath, exaggeration=0.5): ...

    def infer(self, spk_audio_prompt, text, output_path, emo_audio_prompt=None): ...

    def build_speaker(self, ref_audio_path) -> dict[str, bytes]: ...

    def get_conditioning_latents(self, audio_path, gpt_cond_len=30): ...

    def embed_utterance(self, wav, return_partials=False, rate=1.3, min_coverage=0.75): ...

    def _extract_speech_token(self, prompt): ...

    def _extract_spk_embedding(self, prompt): ...

    def _extract_speech_feat(self, prompt): ...


WRAPS = {
    "chatterbox": adapters.chatterbox.wrap,
    "cosyvoice": adapters.cosyvoice.wrap,
    "generic": lambda engine, cache, revision: adapters.generic.wrap(engine, cache, "infer", revision=revision),
    "index_tts_onnx": adapters.index_tts_onnx.wrap,
    "indextts2": adapters.indextts2.wrap,
    "resemblyzer": adapters.resemblyzer.wrap,
    "xtts": adapters.xtts.wrap,
}
CALLS = {
    "chatterbox": lambda engine, reference: engine.prepare_conditionals(reference),
    "cosyvoice": lambda engine, reference: engine._extract_speech_token(reference),
    "generic": lambda engine, reference: engine.infer(reference, "Hello", None),
    "index_tts_onnx": lambda engine, reference: engine.build_speaker(reference),
    "indextts2": lambda engine, reference: engine.infer(reference, "Hello", None),
    "resemblyzer": lambda engine, reference: engine.embed_utterance(np.frombuffer(reference[-200:], "<i2")),
    "xtts": lambda engine, reference: engine.get_conditioning_latents([reference]),
}
"""A call of each wrapped engine that asks for the features of a reference."""
