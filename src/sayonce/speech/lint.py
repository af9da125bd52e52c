"""The key lint: flip everything that can be flipped in a request, and see that the key moves with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from sayonce.audio.formats import format_named
from sayonce.speech.engines import Engine, Parameter, Reference, Utterance
from sayonce.speech.engines.fields import TOLERATED, read_parameters
from sayonce.speech.request import DEFAULT_FORMAT, SpeechRequest
from sayonce.speech.synthesis import Synthesizer

Flip = tuple[str, Any, Any, dict[str, Any], bool]
"""Field, value before, value after, what changes in the utterance, and whether it is heard."""


class Finding(msgspec.Struct, frozen=True):
    """The result of one flip. ``keyed`` False on something that is heard is the worst bug there can be."""

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
    base = _base_request(engine)
    findings = _flipped(synthesizer, base, _flips(base))
    if engine.clones:
        cloned = _with(base, reference=Reference("1" * 64, "one"))
        findings += _flipped(synthesizer, cloned, _reference_flips())
    tenants = [synthesizer.plan(base, tenant).take_key for tenant in ("", "another-tenant")]
    return [*findings, Finding(engine.name, "tenant", "", "another-tenant", tenants[0] != tenants[1])]


def _flipped(synthesizer: Synthesizer, base: SpeechRequest, flips: Iterable[Flip]) -> list[Finding]:
    key = synthesizer.plan(base).take_key
    return [
        Finding(base.engine.name, field, before, after, synthesizer.plan(_with(base, **change)).take_key != key, heard)
        for field, before, after, change, heard in flips
    ]


def _with(base: SpeechRequest, **change: Any) -> SpeechRequest:
    return msgspec.structs.replace(base, utterance=msgspec.structs.replace(base.utterance, **change))


def _base_request(engine: Engine) -> SpeechRequest:
    voices = engine.voices()
    voice = engine.default_voice or (voices[0].id if voices else "a-voice")
    parameters, _ = read_parameters({}, engine)
    utterance = Utterance("The quick brown fox.", voice, engine.resolve_model(engine.name), parameters)
    return SpeechRequest(engine, utterance, format_named(DEFAULT_FORMAT))


def _flips(base: SpeechRequest) -> Iterator[Flip]:
    engine, utterance = base.engine, base.utterance
    yield "input", utterance.text, "The quick brown fox!", {"text": "The quick brown fox!"}, True
    yield "model", utterance.model, "another-model", {"model": "another-model"}, True
    yield "voice", utterance.voice, _other_voice(base), {"voice": _other_voice(base)}, True
    for parameter in engine.parameters:
        before = utterance.parameters[parameter.name]
        after = _other_value(parameter, before)
        yield parameter.name, before, after, _parameter(utterance, parameter.name, after), parameter.heard
    if engine.passes_unknown:
        yield "undeclared_field", None, 1, _parameter(utterance, "undeclared_field", 1), True
    for name in sorted({*engine.drop, *TOLERATED} - utterance.parameters.keys()):
        parameters, _ = read_parameters({name: "anything"}, engine)
        yield name, None, "anything", {"parameters": parameters}, engine.passes_unknown and name not in engine.drop


def _reference_flips() -> Iterator[Flip]:
    yield "ref_audio", "1…", "2…", {"reference": Reference("2" * 64, "one")}, True
    yield "ref_text", "one", "two", {"reference": Reference("1" * 64, "two")}, True


def _parameter(utterance: Utterance, name: str, value: Any) -> dict[str, Any]:
    return {"parameters": {**utterance.parameters, name: value}}


def _other_voice(base: SpeechRequest) -> str:
    return next((voice.id for voice in base.engine.voices() if voice.id != base.utterance.voice), "another-voice")


def _other_value(parameter: Parameter, before: Any) -> Any:
    """Return a valid value of another bucket."""
    if parameter.type is bool:
        return not before
    if parameter.type is str:
        return next((choice for choice in parameter.choices if choice != before), f"{before or ''} otherwise")
    if parameter.type is list:
        return [0.5 + value for value in before or [0.0] * parameter.length]
    step = 2 * (parameter.tolerance or 0) or (1 if parameter.type is int else 0.1)
    above = parameter.type((before or 0) + step)
    return parameter.accept(above if parameter.maximum is None or above <= parameter.maximum else (before or 0) - step)
