"""Read a speech request in OpenAI's form, and check it against what the engine declares."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from sayonce.errors import ConfigError, InvalidRequest, MissingExtra, NotFound
from sayonce.speech.audio.formats import Format, format_named
from sayonce.speech.engines.base import Engine, Utterance

DEFAULT_FORMAT: Final = "mp3"
_STREAM_FORMATS: Final = ("audio", "sse")
_GATEWAY_FIELDS: Final = frozenset(("model", "input", "voice", "response_format", "stream_format"))

_decode = msgspec.json.Decoder().decode


class SpeechRequest(msgspec.Struct, frozen=True):
    """A valid request: who speaks what, with every parameter filled in, and in which form it is sent."""

    engine: Engine
    utterance: Utterance
    format: Format
    sse: bool = False


class Catalogue:
    """The engines of a service by the names that a request's ``model`` may give; the first is the default."""

    def __init__(self, engines: Iterable[Engine]) -> None:
        self.engines = tuple(engines)
        self._by_model: dict[str, Engine] = {}
        for engine in self.engines:
            for model in (engine.name, *engine.models):
                if self._by_model.setdefault(model, engine) is not engine:
                    other = self._by_model[model].name
                    raise ConfigError(f"the model name {model!r} is claimed by two engines: {other!r}, {engine.name!r}")

    def find(self, model: str | None) -> Engine:
        """Return the engine that serves a model.

        Raises:
            NotFound: listing the models that there are.

        """
        if model is None:
            return self.engines[0]
        engine = self._by_model.get(model)
        if engine is None:
            known = ", ".join(sorted(self._by_model))
            raise NotFound(f"there is no model {model!r}; there is: {known}", param="model")
        return engine

    @property
    def models(self) -> dict[str, Engine]:
        return dict(self._by_model)


def parse_json(body: bytes) -> dict[str, Any]:
    """Decode a request's body.

    Raises:
        InvalidRequest: it is not JSON, or not an object.

    """
    try:
        fields = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if type(fields) is not dict:
        raise InvalidRequest('the body must be a JSON object such as {"input": "Hello", "voice": "heart"}')
    return fields


def parse_request(fields: Mapping[str, Any], catalogue: Catalogue) -> SpeechRequest:
    """Check a request's fields against the engine that it names.

    Raises:
        InvalidRequest: a field is missing, unknown, of the wrong type or out of range; ``param`` names it.
        NotFound: there is no such model or voice.

    """
    engine = catalogue.find(_string(fields, "model"))
    text = normalize_text(_string(fields, "input") or "")
    _check_text(text, engine)
    voice = _voice(fields.get("voice"), engine)
    utterance = Utterance(text, voice, engine.resolve_model(fields.get("model")), _parameters(fields, engine))
    stream_format = _string(fields, "stream_format") or "audio"
    if stream_format not in _STREAM_FORMATS:
        raise InvalidRequest(f"'stream_format' must be audio or sse, not {stream_format!r}", param="stream_format")
    return SpeechRequest(engine, utterance, _format(fields), stream_format == "sse")


def normalize_text(text: str) -> str:
    """Return the text in NFC without outer white space: what no listener can tell apart, and nothing more."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def _check_text(text: str, engine: Engine) -> None:
    if not text:
        raise InvalidRequest("'input' is empty; it is the text to speak", param="input")
    if len(text) > engine.max_characters:
        raise InvalidRequest(
            f"'input' has {len(text)} characters; {engine.name!r} takes at most {engine.max_characters}", param="input"
        )


def _string(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and type(value) is not str:
        raise InvalidRequest(f"{name!r} must be a string, not {_json_type(value)}", param=name)
    return value


def _format(fields: Mapping[str, Any]) -> Format:
    audio_format = format_named(_string(fields, "response_format") or DEFAULT_FORMAT)
    if audio_format.name == "aac" and importlib.util.find_spec("av") is None:
        raise MissingExtra("the format aac", "aac")  # said before an engine has worked for it
    return audio_format


def _voice(value: Any, engine: Engine) -> str:
    if type(value) is dict:
        value = value.get("id")
        if type(value) is not str:
            raise InvalidRequest("'voice' as an object needs a string 'id'", param="voice")
    value = engine.default_voice if value is None else value
    if value is None:
        raise InvalidRequest(f"'voice' is missing, and {engine.name!r} has no default voice", param="voice")
    if type(value) is not str:
        raise InvalidRequest(
            f"'voice' must be a string or an object with an 'id', not {_json_type(value)}", param="voice"
        )
    return engine.resolve_voice(value)


def _parameters(fields: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """Every declared parameter, filled in; then what the engine takes undeclared, as it is."""
    parameters = {declared.name: declared.accept(fields.get(declared.name)) for declared in engine.parameters}
    for name, value in fields.items():
        if name in _GATEWAY_FIELDS or name in parameters:
            continue
        if engine.passes_unknown:
            parameters[name] = value
        elif value is not None:
            taken = ", ".join(parameters) or "none"
            raise InvalidRequest(f"{engine.name!r} takes no {name!r}; its parameters are: {taken}", param=name)
    return parameters


def _json_type(value: Any) -> str:
    return _JSON_TYPES.get(type(value), "another type")


_JSON_TYPES: Final = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    str: "a string",
}
