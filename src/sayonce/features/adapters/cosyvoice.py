"""CosyVoice 1, 2 and 3: the frontend's three encoders of the prompt remember their values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from sayonce.features.adapters._fingerprint import code_of
from sayonce.features.adapters._reference import Reference
from sayonce.features.adapters._remembering import AnyCache, remembered
from sayonce.features.adapters._state import Look, State
from sayonce.features.adapters._wrapping import Wrapping, method_of
from sayonce.features.remember import DEFAULT_TTL
from sayonce.features.tensors import CurrentDevice

E = TypeVar("E")

_KIND: Final = "a CosyVoice model or its frontend"
_ENCODERS: Final = ("_extract_speech_token", "_extract_spk_embedding", "_extract_speech_feat")


def wrap(engine: E, cache: AnyCache, *, revision: str | None = None, ttl: timedelta = DEFAULT_TTL) -> E:
    """Make a CosyVoice model, or its frontend, remember what it computes of each prompt.

    Every ``inference_*`` runs the encoders for each segment of the text; now they run once a reference. The reference is a
    path, identified by its decoded samples, or, in releases before 2026, a tensor of samples. The prompt's transcript and the
    text are no part of what is kept.

    Args:
        engine: ``CosyVoice``, ``CosyVoice2``, ``CosyVoice3`` or ``CosyVoiceFrontEnd``; returned, with three methods of
            its frontend replaced.
        cache: an async cache (then call from threads) or a plain one.
        revision: stands for the weights instead of their digest.
        ttl: how long features are kept.

    Raises:
        Unkeyable: the weights cannot be found, and no revision is given.

    """
    frontend: Any = getattr(engine, "frontend", engine)
    originals = {name: method_of(frontend, name, engine, _KIND) for name in _ENCODERS}
    state = State("cosyvoice", frontend, _look(frontend), revision)
    device, methods = CurrentDevice(lambda: frontend.device), {}
    for name, original in originals.items():
        part = f"cosyvoice{name}"
        recall = remembered(cache, state, _encoder(original), name=part, ttl=ttl, ignore=("reference",), device=device)
        methods[name] = _by_content(recall, original, state)
    Wrapping(wrap, frontend, cache, revision=revision, ttl=ttl).install(frontend, **methods)
    return engine


def _look(frontend: Any) -> Look:
    extractor = _extractor(frontend.feat_extractor)

    def look() -> tuple[dict[str, Any], dict[str, Any]]:
        weights = {name: _model(frontend, name) for name in ("campplus_session", "speech_tokenizer_session")}
        return weights, {"device": str(frontend.device), "features": extractor}

    return look


def _model(frontend: Any, session: str) -> Path | None:
    path = getattr(getattr(frontend, session), "_model_path", None)  # onnxruntime's, of the file it was made from
    return Path(path) if path else None


def _extractor(extractor: Any) -> list[Any]:
    """Return the identity of the mel spectrogram: code of a package beside CosyVoice's, and settings."""
    function, settings = (extractor.func, extractor.keywords) if isinstance(extractor, partial) else (extractor, {})
    return [getattr(function, "__qualname__", type(function).__qualname__), code_of(function), settings]


def _encoder(original: Callable[[Any], Any]) -> Callable[[Any, Reference | None], Any]:
    def encode(prompt: Any, reference: Reference | None) -> Any:
        if reference is None:
            return original(prompt)
        with reference.file() as path:
            return original(path)

    return encode


def _by_content(
    recall: Callable[[Any, Reference | None], Any], original: Callable[[Any], Any], state: State
) -> Callable[[Any], Any]:
    def extract(prompt_wav: Any) -> Any:
        if hasattr(prompt_wav, "shape"):
            return recall(prompt_wav, None)
        reference = Reference.find(prompt_wav, state)
        if reference is None:
            return original(prompt_wav)
        return recall(reference.voice, reference)

    return extract
