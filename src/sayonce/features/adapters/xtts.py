"""XTTS (coqui-tts): ``Xtts.get_conditioning_latents`` remembers the latents of its references."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Final, TypeVar

from sayonce.audio.voice import Voice
from sayonce.features.adapters._reference import Reference
from sayonce.features.adapters._remembering import AnyCache, remembered
from sayonce.features.adapters._state import State
from sayonce.features.adapters._wrapping import Wrapping, method_of
from sayonce.features.remember import DEFAULT_TTL
from sayonce.features.tensors import CurrentDevice

E = TypeVar("E")

_KIND: Final = "an Xtts model of TTS.tts.models.xtts"


def wrap(model: E, cache: AnyCache, *, revision: str | None = None, ttl: timedelta = DEFAULT_TTL) -> E:
    """Make a ``TTS.tts.models.xtts.Xtts`` remember its conditioning latents and speaker embeddings.

    They are kept under the references, in their order, and every other argument (lengths, trimming, normalization, rate).
    ``synthesize`` and ``clone_voice`` use them too.

    Args:
        model: returned, with ``get_conditioning_latents`` of this instance replaced.
        cache: an async cache (then call from threads) or a plain one.
        revision: stands for the weights instead of their digest.
        ttl: how long latents are kept.

    """
    engine: Any = model
    original = method_of(engine, "get_conditioning_latents", engine, _KIND, param="model")
    signature = inspect.signature(original)

    def encode(voices: list[Voice], settings: dict[str, Any], references: list[Reference]) -> Any:  # noqa: ARG001 (the key)
        with ExitStack() as files:
            return original([files.enter_context(reference.file()) for reference in references], **settings)

    state = State("xtts", engine, lambda: (_weights(engine), _settings(engine)), revision)
    device = CurrentDevice(lambda: engine.device)
    recall = remembered(cache, state, encode, ttl=ttl, ignore=("references",), device=device)

    def get_conditioning_latents(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        settings = dict(call.arguments)
        source = settings.pop("audio_path")
        found = [Reference.find(each, state) for each in (source if isinstance(source, list) else [source])]
        references = [reference for reference in found if reference is not None]
        if len(references) < len(found):
            return original(*args, **kwargs)
        return recall([reference.voice for reference in references], settings, references)

    given = Wrapping(wrap, model, cache, revision=revision, ttl=ttl)
    given.install(model, get_conditioning_latents=get_conditioning_latents)
    return model


def _settings(engine: Any) -> dict[str, Any]:
    return {"device": str(engine.device), "perceiver": bool(engine.args.gpt_use_perceiver_resampler)}


def _weights(engine: Any) -> dict[str, Any]:
    parts = {"conditioning": engine.gpt.conditioning_encoder, "speaker": engine.hifigan_decoder.speaker_encoder}
    perceiver = getattr(engine.gpt, "conditioning_perceiver", None)
    return parts | {"mel": engine.mel_stats} | ({} if perceiver is None else {"perceiver": perceiver})
