"""IndexTTS 2.5 on ONNX Runtime (``index-tts-2-5-onnx``): ``build_speaker`` remembers a voice's context."""

from __future__ import annotations

import threading
import typing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from sayonce.audio.voice import Voice
from sayonce.features.adapters._reference import Reference, Source
from sayonce.features.adapters._remembering import AnyCache, remembered
from sayonce.features.adapters._state import State
from sayonce.features.adapters._wrapping import Wrapping, method_of
from sayonce.features.remember import DEFAULT_TTL

E = TypeVar("E")

_KIND: Final = "an index_tts_2_5_onnx.IndexTTS or its pipeline"
_WEIGHTS: Final = ("semantic_model", "hf_cache", "emo_vec.onnx", "campplus.onnx", "length_regulator.onnx")


def wrap(engine: E, cache: AnyCache, *, revision: str | None = None, ttl: timedelta = DEFAULT_TTL) -> E:
    """Make ``index_tts_2_5_onnx.IndexTTS``, or its pipeline, remember the context of each reference.

    ``build_speaker(path)`` returns a context of the caller's own, for ``synthesize(..., spk=context)``;
    ``synthesize(..., ref_audio_path=path)`` and ``clone`` use it too.

    Args:
        engine: returned, with ``build_speaker`` of its pipeline replaced.
        cache: an async cache (then call from threads) or a plain one.
        revision: stands for the weights instead of their digest; needed for a bare pipeline, which knows no folder.
        ttl: how long contexts are kept.

    Raises:
        Unkeyable: the weights cannot be found, and no revision is given.

    """
    pipeline: Any = getattr(engine, "_pipe", engine)
    original = method_of(pipeline, "build_speaker", engine, _KIND)
    lock = threading.Lock()

    def build(voice: Voice, reference: Reference) -> Any:  # noqa: ARG001 (the voice is the key)
        with reference.file() as path, lock:
            context = original(path)
            pipeline._speaker = pipeline._speaker_path = None  # noqa: SLF001 (its own memory goes by path)
            return context

    state = State("index-tts-onnx", pipeline, lambda: (_weights(engine), {"providers": _providers(pipeline)}), revision)
    context = typing.get_type_hints(type(pipeline).build_speaker)["return"]
    recall = remembered(cache, state, build, ttl=ttl, ignore=("reference",), returns=context, copy=True)

    def build_speaker(ref_audio_path: Source) -> Any:
        reference = Reference.find(ref_audio_path, state)
        if reference is None:
            with lock:
                return original(ref_audio_path)
        return recall(reference.voice, reference)

    Wrapping(wrap, engine, cache, revision=revision, ttl=ttl).install(pipeline, build_speaker=build_speaker)
    return engine


def _weights(engine: Any) -> dict[str, Any]:
    pipeline, folder = getattr(engine, "_pipe", engine), Path(getattr(engine, "model_dir", ""))
    projection = {"spk_proj_w": pipeline.spk_proj_w, "spk_proj_b": pipeline.spk_proj_b}
    return {name: folder / name for name in _WEIGHTS} | projection


def _providers(pipeline: Any) -> list[str]:
    """Return where the networks run, as ONNX Runtime names it: a GPU's numbers are not the CPU's."""
    session = getattr(pipeline.engines.semantic_model, "_s", None)
    return [] if session is None else session.get_providers()
