"""The key lint: flip everything that can be flipped in a request, and see that the key moves with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from sayonce.speech.engines.base import Engine
from sayonce.speech.parameters import Parameter
from sayonce.speech.request import SpeechRequest, parse_request
from sayonce.speech.synthesis import Synthesizer


class Finding(msgspec.Struct, frozen=True):
    """What one flip did. ``keyed`` False on something that is heard is the worst bug there can be."""

    engine: str
    field: str
    before: Any
    after: Any
    keyed: bool
    heard: bool = True

    @property
    def ok(self) -> bool:
        return self.keyed == self.heard


def lint_engine(synthesizer: Synthesizer, engine: Engine) -> list[Finding]:
    """Flip the text, the voice, the model, the tenant and every parameter of an engine, one at a time."""
    base = _base_request(synthesizer, engine)
    base_key = synthesizer.plan(base).take_key
    findings = [
        Finding(engine.name, field, before, after, synthesizer.plan(flipped).take_key != base_key, heard)
        for field, before, after, flipped, heard in _flips(base)
    ]
    other_tenant = synthesizer.plan(base, "another-tenant").take_key != base_key
    return [*findings, Finding(engine.name, "tenant", "", "another-tenant", other_tenant)]


def _base_request(synthesizer: Synthesizer, engine: Engine) -> SpeechRequest:
    voices = engine.voices()
    voice = engine.default_voice or (voices[0].id if voices else "a-voice")
    fields = {"model": engine.name, "input": "The quick brown fox.", "voice": voice}
    return parse_request(fields, synthesizer.catalogue)


def _flips(base: SpeechRequest) -> Iterator[tuple[str, Any, Any, SpeechRequest, bool]]:
    """Yield field, value before, value after, the flipped request, and whether the field is heard."""
    engine, utterance = base.engine, base.utterance
    changes: list[tuple[str, Any, Any, dict[str, Any], bool]] = [
        ("input", utterance.text, "The quick brown fox!", {"text": "The quick brown fox!"}, True),
        ("model", utterance.model, "another-model", {"model": "another-model"}, True),
        ("voice", utterance.voice, other := _other_voice(base), {"voice": other}, True),
    ]
    for parameter in engine.parameters:
        before = utterance.parameters[parameter.name]
        after = _other_value(parameter, before)
        changed = {"parameters": {**utterance.parameters, parameter.name: after}}
        changes.append((parameter.name, before, after, changed, parameter.heard))
    if engine.passes_unknown:
        changed = {"parameters": {**utterance.parameters, "undeclared_field": 1}}
        changes.append(("undeclared_field", None, 1, changed, True))
    for field, before, after, change, heard in changes:
        flipped = msgspec.structs.replace(utterance, **change)
        yield field, before, after, msgspec.structs.replace(base, utterance=flipped), heard


def _other_voice(base: SpeechRequest) -> str:
    return next((voice.id for voice in base.engine.voices() if voice.id != base.utterance.voice), "another-voice")


def _other_value(parameter: Parameter, before: Any) -> Any:
    """Return a valid value of another bucket."""
    if parameter.type is bool:
        return not before
    if parameter.type is str:
        return next((choice for choice in parameter.choices if choice != before), f"{before or ''} otherwise")
    step = 2 * (parameter.tolerance or 0) or (1 if parameter.type is int else 0.1)
    above = parameter.type((before or 0) + step)
    return parameter.accept(above if parameter.maximum is None or above <= parameter.maximum else (before or 0) - step)
