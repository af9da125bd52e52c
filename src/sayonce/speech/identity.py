"""The identity of a request's sound: the document that becomes the key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sayonce.audio.formats import RENDERINGS, Format
from sayonce.core.key import Digest, canonical, derive
from sayonce.speech.request import SpeechRequest

SCHEMA: Final = 1
"""Raised when the document's own form changes."""

DERIVATION: Final = 3
"""Raised when an encoder's settings change, so that older derivatives, and lossy takes, are made anew."""


def _variant(audio_format: Format) -> bytes:
    rate = audio_format.sample_rate_hz
    resampled = {} if rate is None else {"sample_rate_hz": rate}
    return canonical({"derivation": DERIVATION, "format": audio_format.name} | resampled)


_VARIANTS: Final = {(each.name, each.sample_rate_hz): _variant(each) for each in RENDERINGS}


def document(request: SpeechRequest, tenant: str, take: str, engine_identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical document of a request's take; ``engine_identity`` is its engine's ``identity()``.

    Everything that can change the waveform is in it, defaults filled in and tolerances applied; the response format is
    not, since every format is derived from one take.
    """
    engine, utterance = request.engine, request.utterance
    reference, unheard = utterance.reference, engine.unheard
    parameters = utterance.parameters
    if unheard:
        parameters = {name: value for name, value in parameters.items() if name not in unheard}
    return {
        "schema": SCHEMA,
        "tenant": tenant,
        "engine": engine_identity,
        "model": utterance.model,
        # A reference is its samples and its transcript, whatever it is called.
        "voice": utterance.voice if reference is None else {"clip": reference.id, "text": reference.text},
        "text": engine.canonical_text(utterance.text, utterance.voice, utterance.parameters),
        "parameters": parameters,
        "take": take if take != "opus" else [take, DERIVATION],
    }


def derivative(take_key: bytes, audio_format: Format) -> Digest:
    """Return the key of a take in another format, or at another rate."""
    return derive(take_key, _VARIANTS[audio_format.name, audio_format.sample_rate_hz])


TAGS: Final = ("tenant", "engine", "model", "voice")


def tags(request: SpeechRequest, tenant: str) -> tuple[str, ...]:
    """Return the names under which a take can be purged; that of a reference's voice, too, as names of one reference share it."""
    utterance = request.utterance
    values = (tenant, request.engine.name, utterance.model, utterance.voice)
    named = tuple(f"{name}={value}" for name, value in zip(TAGS, values, strict=True))
    reference = utterance.reference
    return named if reference is None or reference.voice == utterance.voice else (*named, f"voice={reference.voice}")
