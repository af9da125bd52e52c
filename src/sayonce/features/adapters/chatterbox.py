"""Chatterbox (English, multilingual, turbo): ``prepare_conditionals`` and ``generate`` remember a voice's conditionals."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from sayonce.audio.voice import Voice
from sayonce.features.adapters._reference import Reference
from sayonce.features.adapters._remembering import AnyCache, remembered
from sayonce.features.adapters._state import State
from sayonce.features.adapters._wrapping import Wrapping, method_of
from sayonce.features.remember import DEFAULT_TTL
from sayonce.features.tensors import CurrentDevice

E = TypeVar("E")

_KIND: Final = "a Chatterbox model"


def wrap(engine: E, cache: AnyCache, *, revision: str | None = None, ttl: timedelta = DEFAULT_TTL) -> E:
    """Make a Chatterbox model remember the conditionals of each reference.

    They are kept under the reference and every other argument of ``prepare_conditionals`` (exaggeration, loudness). As
    ``conds`` belongs to the model, one ``generate`` runs at a time.

    Args:
        engine: ``ChatterboxTTS``, ``ChatterboxMultilingualTTS`` or ``ChatterboxTurboTTS``; returned, with
            ``prepare_conditionals`` and ``generate`` of this instance replaced.
        cache: an async cache (then call from threads) or a plain one.
        revision: stands for the weights instead of their digest.
        ttl: how long conditionals are kept.

    """
    model: Any = engine
    conditioner = _Conditioner(model, cache, revision, ttl)
    generate = method_of(model, "generate", model, _KIND)
    signature = inspect.signature(generate)

    def generate_remembering(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        prompt = call.arguments["audio_prompt_path"]
        prepare = conditioner.find(prompt, call.arguments) if prompt else None
        with conditioner.lock:
            if prepare is not None:
                prepare()
                call.arguments["audio_prompt_path"] = None
            return generate(*call.args, **call.kwargs)

    def prepare_conditionals(*args: Any, **kwargs: Any) -> None:
        call = conditioner.signature.bind(*args, **kwargs)
        call.apply_defaults()
        prepare = conditioner.find(call.arguments["wav_fpath"], call.arguments)
        with conditioner.lock:
            prepare()

    given = Wrapping(wrap, engine, cache, revision=revision, ttl=ttl)
    given.install(model, generate=generate_remembering, prepare_conditionals=prepare_conditionals)
    return engine


class _Conditioner:
    """The model's own ``prepare_conditionals`` as a function of its arguments; one call at a time."""

    def __init__(self, model: Any, cache: AnyCache, revision: str | None, ttl: timedelta) -> None:
        self.lock = threading.Lock()
        self._model = model
        self._original = method_of(model, "prepare_conditionals", model, _KIND)
        self.signature = inspect.signature(self._original)
        self._state = State("chatterbox", model, lambda: (_weights(model), _settings(model)), revision)
        conditionals, device = sys.modules[type(model).__module__].Conditionals, CurrentDevice(lambda: model.device)
        self._recall = remembered(
            cache, self._state, self._compute, ttl=ttl, ignore=("reference",), returns=conditionals, device=device
        )

    def find(self, prompt: Any, arguments: dict[str, Any]) -> Callable[[], None]:
        """Return a function that gives the model its conditionals, which are the caller's own; to be called with the lock."""
        settings = {name: arguments[name] for name in self.signature.parameters if name in arguments}
        settings.pop("wav_fpath", None)
        reference = Reference.find(prompt, self._state)
        if reference is None:
            return partial(self._original, prompt, **settings)
        return partial(setattr, self._model, "conds", self._recall(reference.voice, settings, reference))

    def _compute(self, voice: Voice, settings: dict[str, Any], reference: Reference) -> Any:  # noqa: ARG002 (the voice is the key)
        with reference.file() as path, self.lock:
            before = self._model.conds
            try:
                self._original(path, **settings)
                return self._model.conds
            finally:
                self._model.conds = before


def _settings(model: Any) -> dict[str, Any]:
    return {"device": str(model.device), "prompt": _prompt_tokens(model), "dtype": _dtype(model)}


def _weights(model: Any) -> dict[str, Any]:
    return {"voice": model.ve, "tokens": model.s3gen.tokenizer, "speaker": model.s3gen.speaker_encoder}


def _dtype(model: Any) -> str:
    """Return the precision of the prompt's spectrogram, which is that of a network that computes no features."""
    return str(getattr(model.s3gen, "dtype", ""))


def _prompt_tokens(model: Any) -> int:
    return int(model.t3.hp.speech_cond_prompt_len or 0)
