"""From a section of the settings to its engine, with the options that every engine has."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import msgspec

from sayonce.config import variable_of, wrong_values
from sayonce.errors import ConfigError, NotFound
from sayonce.speech.engines.base import Engine
from sayonce.speech.engines.nearest import did_you_mean
from sayonce.speech.engines.options import EngineOptions
from sayonce.speech.engines.parameters import Parameter

KINDS: Final[Mapping[str, str]] = {
    "espeak": "sayonce.speech.engines.espeak.engine:EspeakEngine",
    "hibari": "sayonce.speech.engines.hibari:HibariEngine",
    "indextts2": "sayonce.speech.engines.indextts2:IndexTTS2Engine",
    "openai": "sayonce.speech.engines.openai.engine:OpenAIEngine",
}
"""Where each kind lives; imported when it is built, since each needs libraries of its own."""

_UNKNOWN_FIELD: Final = re.compile(r"unknown field `([^`]*)`")
_MISSING_FIELD: Final = re.compile(r"missing required field `([^`]*)`")
_MERGED: Final = frozenset(("kind", "aliases", "voice_aliases", "tolerance"))
"""Options of every engine that are more than the value of an attribute of the same name."""


def build_engine(name: str, options: Mapping[str, Any]) -> Engine:
    """Build the engine that ``[engines.NAME]`` describes, not yet loaded; without a ``kind``, the name is the kind.

    Raises:
        ConfigError: naming the option that is wrong, and what would be right.
        MissingExtra: its library is not installed.

    """
    options = {"kind": name, **options}
    kind = options["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"engines.{name}.kind must be one of {', '.join(KINDS)}, not {kind!r}")
    module, _, cls = KINDS[kind].partition(":")
    engine_type = getattr(import_module(module), cls)
    parsed = _parse(name, options, engine_type.options)
    engine: Engine = engine_type(name, parsed)
    _configure(engine, parsed)
    return engine


def _parse(name: str, options: Mapping[str, Any], into: type[EngineOptions]) -> EngineOptions:
    try:
        return msgspec.convert(options, into, strict=False)  # the environment has only strings
    except msgspec.ValidationError as error:
        told = str(error)
    if unknown := _UNKNOWN_FIELD.search(told):
        valid = ", ".join(sorted(into.__struct_fields__))
        raise ConfigError(f"engines.{name}.{unknown[1]} is not an option of this kind; there are: {valid}")
    if missing := _MISSING_FIELD.search(told):
        raise ConfigError(f"engines.{name}.{missing[1]} is missing; an engine of kind {options['kind']!r} needs it")
    where, what = next(wrong_values(options, into, f"engines.{name}"))
    variable = variable_of(where)
    raise ConfigError(f"{variable}: {where} {what}" if variable in os.environ else f"{where} {what}")


def _configure(engine: Engine, options: EngineOptions) -> None:
    """Give an engine what its section sets beyond its own options."""
    for option in EngineOptions.__struct_fields__:
        value = getattr(options, option)
        if value is not None and option not in _MERGED:
            setattr(engine, option, value)
    engine.models = (*options.aliases, *engine.models)
    engine.voice_aliases = options.voice_aliases
    engine.parameters = _tolerant(engine, options.tolerance)
    _check_voices(engine, options)


def _tolerant(engine: Engine, tolerance: Mapping[str, float]) -> tuple[Parameter, ...]:
    """Return the engine's parameters with the operator's tolerances."""
    numbers = {declared.name: declared.type for declared in engine.parameters if declared.type in (int, float)}
    for parameter, width in tolerance.items():
        where = f"engines.{engine.name}.tolerance.{parameter}"
        if parameter not in numbers:
            raise ConfigError(f"{where} is not a number that this engine takes; there are: {', '.join(numbers)}")
        if not 0 <= width < math.inf:
            raise ConfigError(f"{where} must be 0 or more, not {width}")
        if numbers[parameter] is int and not width.is_integer():
            raise ConfigError(f"{where} must be a whole number, not {width}")
    return tuple(
        msgspec.structs.replace(declared, tolerance=tolerance.get(declared.name, declared.tolerance) or None)
        for declared in engine.parameters
    )


def _check_voices(engine: Engine, options: EngineOptions) -> None:
    """Resolve the voices that the section names, so that a typo is found before a request is."""
    named = {f"voice_aliases.{alias}": voice for alias, voice in options.voice_aliases.items()}
    if engine.default_voice is not None:
        named["default_voice"] = engine.default_voice
    for option, voice in named.items():
        try:
            engine.resolve_voice(voice)
        except NotFound as error:
            near = did_you_mean(engine.nearest_voice(voice))
            raise ConfigError(f"engines.{engine.name}.{option}: {error.message}{near}") from None
