"""Resemblyzer: ``VoiceEncoder.embed_utterance`` remembers the 256-dimensional embedding of an utterance."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, TypeVar

from sayonce.features.adapters._remembering import AnyCache, remembered
from sayonce.features.adapters._state import State
from sayonce.features.adapters._wrapping import Wrapping, method_of
from sayonce.features.remember import DEFAULT_TTL

E = TypeVar("E")

_KIND: Final = "a resemblyzer.VoiceEncoder"


def wrap(encoder: E, cache: AnyCache, *, revision: str | None = None, ttl: timedelta = DEFAULT_TTL) -> E:
    """Make a ``resemblyzer.VoiceEncoder`` remember its embeddings, by the samples and all other arguments.

    ``embed_speaker`` remembers the embedding of each of its utterances. With ``return_partials`` nothing is remembered.

    Args:
        encoder: returned, with ``embed_utterance`` of this instance replaced.
        cache: an async cache (then call from threads) or a plain one.
        revision: stands for the weights instead of their digest.
        ttl: how long embeddings are kept.

    """
    engine: Any = encoder
    original = method_of(engine, "embed_utterance", engine, _KIND, param="encoder")

    def embed(wav: Any, rate: float, min_coverage: float) -> Any:
        return original(wav, False, rate, min_coverage)

    state = State("resemblyzer", engine, lambda: ({"encoder": engine}, {"device": str(engine.device)}), revision)
    recall = remembered(cache, state, embed, ttl=ttl, copy=True)

    def embed_utterance(wav: Any, return_partials: bool = False, rate: float = 1.3, min_coverage: float = 0.75) -> Any:
        if return_partials:
            return original(wav, return_partials, rate, min_coverage)
        return recall(wav, float(rate), float(min_coverage))

    Wrapping(wrap, engine, cache, revision=revision, ttl=ttl).install(engine, embed_utterance=embed_utterance)
    return encoder
