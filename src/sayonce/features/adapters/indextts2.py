"""IndexTTS2, versions 2 and 2.5: ``infer`` remembers what the encoders make of a speaker's and an emotion's reference.

Read with index-tts ee40fa7 (2026-08-18), ``indextts2-inference`` 2.1.1, ``tts-webui.index-tts`` 2.0.1 and
``indextts25-inference`` 0.2.0.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from datetime import timedelta
from inspect import BoundArguments
from typing import Any, Final, TypeVar

from sayonce.audio.voice import Voice
from sayonce.features.adapters._indextts2_editions import Edition, Features, OnePath, PathDictionaries
from sayonce.features.adapters._reference import Reference
from sayonce.features.adapters._remembering import AnyCache, remembered
from sayonce.features.adapters._state import State
from sayonce.features.adapters._wrapping import Wrapping
from sayonce.features.remember import DEFAULT_TTL
from sayonce.features.tensors import CurrentDevice

E = TypeVar("E")

_ENCODERS: Final = ("semantic_model", "semantic_mean", "semantic_std", "semantic_codec", "campplus_model")


def wrap(engine: E, cache: AnyCache, *, revision: str | None = None, ttl: timedelta = DEFAULT_TTL) -> E:
    """Make an ``IndexTTS2`` remember the five tensors that it computes from references.

    A speaker's four (1.9 MB for 5 s of reference, 5.8 MB for 15 s) and an emotion's one (1.0 to 2.9 MB) are two entries,
    so that a reference may serve as either. References are identified by their decoded samples, under any path. The
    engine does one thing at a time, as it keeps state between the steps of a synthesis: a second call waits for the
    first, and a stream holds the engine until it is exhausted or closed.

    Args:
        engine: returned, with ``infer_generator`` (where there is none, ``infer``) of this instance replaced.
        cache: an async cache (then call from threads) or a plain one.
        revision: stands for the weights instead of their digest, which costs about a second per gigabyte.
        ttl: how long features are kept.

    Raises:
        Unkeyable: the weights cannot be read, and no revision is given.

    """
    edition: Edition = PathDictionaries(engine) if hasattr(engine, "_spk_cache") else OnePath(engine)
    voices = _Voices(engine, edition, cache, revision, ttl)
    method = voices.stream if inspect.isgeneratorfunction(edition.original) else voices.infer
    Wrapping(wrap, engine, cache, revision=revision, ttl=ttl).install(engine, **{edition.method: method})
    return engine


class _Voices:
    """An engine's synthesis, with the features of its references put where it looks for them."""

    def __init__(self, engine: Any, edition: Edition, cache: AnyCache, revision: str | None, ttl: timedelta) -> None:
        self._edition = edition
        self._lock = threading.Lock()
        self._state = State("indextts2", engine, lambda: (_weights(engine), _settings(engine)), revision)
        device = CurrentDevice(lambda: engine.device)
        self._recall = remembered(cache, self._state, self._encode, ttl=ttl, ignore=("reference",), device=device)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Do what the engine's ``infer_generator`` does."""
        call, ready = self._prepare(args, kwargs)
        with self._lock, ready:
            yield from self._edition.original(*call.args, **call.kwargs)

    def infer(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the ``infer`` of an engine without ``infer_generator`` does."""
        call, ready = self._prepare(args, kwargs)
        with self._lock, ready:
            return self._edition.original(*call.args, **call.kwargs)

    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[BoundArguments, Any]:
        """Find the features before the engine is taken: computing them takes it, too."""
        call = self._edition.signature.bind(*args, **kwargs)
        speaker = Reference.find(call.arguments["spk_audio_prompt"], self._state)
        emotion = _emotion_prompt(call)
        moved = speaker if emotion is None else Reference.find(emotion, self._state)
        if speaker is None or moved is None:
            return call, self._edition.emptied()
        features = self._features("speaker", speaker), self._features("emotion", moved)
        return call, self._edition.filled(call, *features)

    def _features(self, part: str, reference: Reference) -> Features:
        return reference.voice.id, self._recall(part, reference.voice, reference)

    def _encode(self, part: str, voice: Voice, reference: Reference) -> Any:  # noqa: ARG002 (the voice is the key)
        with reference.file() as path, self._lock:
            return self._edition.encode(part, path)


def _emotion_prompt(call: BoundArguments) -> Any:
    """Return the emotion's reference, if there is one and neither a vector nor a text makes the engine drop it."""
    given = call.arguments
    if given.get("use_emo_text") or given.get("emo_vector") is not None:
        return None
    return given.get("emo_audio_prompt")


def _weights(engine: Any) -> dict[str, Any]:
    weights = {name: getattr(engine, name) for name in _ENCODERS if hasattr(engine, name)}
    return weights | {"length_regulator": engine.s2mel.models["length_regulator"]}


def _settings(engine: Any) -> dict[str, Any]:
    """Return the device, and the mel spectrogram's settings, which the engine keeps in a closure."""
    return {"device": str(engine.device), "mel": str(engine.cfg.s2mel["preprocess_params"])}
