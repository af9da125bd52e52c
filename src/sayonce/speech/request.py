"""Read a speech request in OpenAI's form, and check it against what the engine declares."""

from __future__ import annotations

import re
import unicodedata
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sayonce.errors import InvalidRequest, NotFound, quoted
from sayonce.speech.audio.formats import Format, format_named
from sayonce.speech.bounds import LARGE, MAX_NAME, MAX_TEXT, check_length, check_number_of_values
from sayonce.speech.catalogue import Catalogue, Names
from sayonce.speech.clips import decode_clip
from sayonce.speech.engines.base import Engine, Reference, Utterance
from sayonce.speech.fields import read_parameters
from sayonce.speech.parameters import Parameter
from sayonce.text.marks import MOST_IN_A_ROW, too_many_marks
from sayonce.text.reading import Reading

if TYPE_CHECKING:
    from sayonce.speech.voice_names import NamedVoice

DEFAULT_FORMAT: Final = "mp3"
_STREAM_FORMATS: Final = ("audio", "sse")

_SAMPLE_RATE: Final = Parameter(name="sample_rate", type=int)
_STREAM: Final = Parameter(name="stream", type=bool)


_COMPOSED: Final = 4
"""As many characters as one at most becomes by composition (NFC) are no longer text than the one."""
_SPOKEN: Final = frozenset("LMNS")
"""Categories of characters that may be spoken: letters, their marks, numbers, signs."""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")

_decode = msgspec.json.Decoder().decode


class SpeechRequest(msgspec.Struct, frozen=True):
    """A valid request: who speaks what, with every parameter filled in, and in which form it is sent.

    ``ignored`` says what of it is left out: fields by their names, then ornaments of the text, which nobody says, by
    their code points. ``whole`` asks for the finished file with its length, also where it has to be made first.
    ``names_unknown_voice`` tells whether, for all that is known here, the voice may be an uploaded one: it is none of
    the engine's, unless by a name of OpenAI's.
    """

    engine: Engine
    utterance: Utterance
    format: Format
    sse: bool = False
    ignored: str = ""
    whole: bool = False
    names_unknown_voice: bool = False


def parse_json(body: bytes) -> dict[str, Any]:
    """Decode a request's body.

    Raises:
        InvalidRequest: it is not JSON, or not an object.

    """
    check_number_of_values(body)
    try:
        fields = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {_unreadable(body, error)}") from None
    if type(fields) is not dict:
        raise InvalidRequest('the body must be a JSON object such as {"input": "Hello", "voice": "heart"}')
    return fields


def _unreadable(body: bytes, error: Exception) -> str:
    """Say why a body is not JSON, in words that name what to change."""
    body = body[:LARGE]  # to look through megabytes takes long
    if not body.strip():
        return "it is empty"
    if body.startswith(BOM_UTF8):
        return "it begins with a byte order mark"
    if isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error):  # msgspec before 0.23, and since
        return "it is not UTF-8"
    if isinstance(error, msgspec.ValidationError):
        return "it has a number that is too large"
    if _SURROGATE.search(body):
        return f"{error}, or half a surrogate pair"  # which the decoder takes for a truncation
    return str(error)


def parse_request(
    fields: Mapping[str, Any], catalogue: Catalogue, names: Names | None = None, tenant: str = ""
) -> SpeechRequest:
    """Check a tenant's request against the engine that it names.

    Raises:
        InvalidRequest: a field is missing, unknown, of the wrong type or out of range; ``param`` names it.
        NotFound: there is no such model or voice.

    """
    engine = catalogue.find(_string(fields, "model"))
    shown = _shown(_text(fields, engine), engine)
    speaker = _who(fields, shown.text, engine, catalogue, names, tenant)
    model = engine.resolve_model(fields.get("model"))
    reading = _read(shown, speaker.voice, engine, strict=catalogue.strict)
    parameters, left_out = read_parameters(fields, engine)
    if catalogue.strict and left_out:
        raise InvalidRequest(
            f"{engine.name!r} takes no {quoted(left_out[0])}, and server.strict refuses to leave anything out",
            param=left_out[0],
        )
    stream_format = _string(fields, "stream_format") or "audio"
    if stream_format not in _STREAM_FORMATS:
        raise InvalidRequest(
            f"'stream_format' must be audio or sse, not {quoted(stream_format)}", param="stream_format"
        )
    return SpeechRequest(
        engine,
        Utterance(reading.text, speaker.voice, model, parameters, speaker.reference),
        _format(fields),
        sse=stream_format == "sse",
        ignored=", ".join([*left_out, f"input: {reading.told}"] if reading.ignored else left_out),
        whole=_STREAM.accept(fields.get("stream")) is False,
        names_unknown_voice=speaker.unknown,
    )


def normalize_text(text: str) -> str:
    """Return the text in NFC without outer white space: what no listener can tell apart, and nothing more."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def _refuse_many_marks(text: str) -> None:
    mark = too_many_marks(text)
    if mark is not None:
        raise InvalidRequest(
            f"'input' has more than {MOST_IN_A_ROW} combining marks in a row, from U+{ord(mark):04X} on", param="input"
        )


def _text(fields: Mapping[str, Any], engine: Engine) -> str:
    text = (_string(fields, "input", longest=None) or "").strip()
    if len(text) <= _COMPOSED * engine.max_characters:  # else it is too long in any form, and long to look at
        if not text.isascii():
            _refuse_many_marks(text)
        text = normalize_text(text)
    if not text and (engine.empty == "refuse" or fields.get("input") is None):
        raise InvalidRequest("'input' is empty; it is the text to speak", param="input")
    if len(text) > engine.max_characters:
        raise InvalidRequest(
            f"'input' has {len(text)} characters; {engine.name!r} takes at most {engine.max_characters}", param="input"
        )
    return text


def _shown(text: str, engine: Engine) -> Reading:
    """Return what a text shows to its readers."""
    if engine.text == "plain":
        return Reading(text)
    from sayonce.text.markdown import read_markdown  # noqa: PLC0415 (few engines need it, and it takes 20 ms)

    shown = read_markdown(text, engine.max_characters)
    if len(shown.text) > engine.max_characters:
        raise InvalidRequest(
            f"'input' has more than {engine.max_characters} characters as it is read aloud, and {engine.name!r} takes no "
            "more: cells of tables are read with their columns' names",
            param="input",
        )
    return shown


def _read(shown: Reading, voice: str, engine: Engine, *, strict: bool) -> Reading:
    """Return what the engine is to speak of a text; of one in which there is nothing to speak, nothing.

    Raises:
        InvalidRequest: there is nothing to speak, and ``empty`` is not "silence".

    """
    reading = engine.read(shown.text, voice)
    reading = Reading(reading.text, (*shown.ignored, *reading.ignored))
    if engine.empty == "silence" and not any(unicodedata.category(each)[0] in _SPOKEN for each in reading.text):
        reading = Reading("", reading.ignored)
    elif not reading.text:
        said = f", and there is nothing to speak in {reading.told}" if reading.ignored else ""
        raise InvalidRequest(f"'input' is empty; it is the text to speak{said}", param="input")
    if strict and reading.ignored:
        raise InvalidRequest(
            f"'input' has {reading.told}, which nobody says, and server.strict refuses to leave anything out",
            param="input",
        )
    return reading


def _string(fields: Mapping[str, Any], name: str, *, longest: int | None = MAX_NAME) -> str | None:
    value = fields.get(name)
    if value is not None and type(value) is not str:
        raise InvalidRequest(f"{name!r} must be a string, not {_json_type(value)}", param=name)
    if value is not None and longest is not None:
        check_length(name, value, longest)
    return value


def _format(fields: Mapping[str, Any]) -> Format:
    name = (_string(fields, "response_format") or "").strip().lower() or DEFAULT_FORMAT
    return format_named(name, _SAMPLE_RATE.accept(fields.get("sample_rate")))


class _Speaker(msgspec.Struct, frozen=True):
    """Who speaks; ``unknown`` as ``names_unknown_voice``."""

    voice: str
    reference: Reference | None = None
    unknown: bool = False


def _who(
    fields: Mapping[str, Any], spoken: str, engine: Engine, catalogue: Catalogue, names: Names | None, tenant: str
) -> _Speaker:
    """Return who speaks: one of the engine's voices, an uploaded one, or the voice of a clip that was sent along."""
    voice = _asked_voice(fields, engine)
    if not engine.clones:
        asked = engine.voice_for(spoken) if voice is None else voice
        return _Speaker(catalogue.resolve_voice(_required(asked, engine), engine))
    field, audio, text = _sent_along(fields)
    if audio is not None:
        from sayonce.features.voice import Voice  # noqa: PLC0415 (brings codecs that other requests do not need)

        clip = decode_clip(audio, field)
        reference = Reference(Voice.from_audio(clip, apart=True, whose=tenant).id, text or "", clip)
        return _Speaker(reference.voice, reference)
    asked = engine.default_voice if voice is None else voice
    named = _uploaded(asked, engine, catalogue, names, required=voice is not None)
    if named is not None:
        return _Speaker(named.name, Reference(named.id, text or named.ref_text, place=named.place))
    if text:
        raise InvalidRequest(
            "'ref_text' is what is said in a clip: 'ref_audio', or an uploaded voice", param="ref_text"
        )
    asked = _required(asked, engine)
    own = catalogue.resolve_voice(asked, engine, names)
    return _Speaker(own, unknown=not engine.offers(own) or asked in catalogue.openai_voices(engine))


def _uploaded(
    asked: str | None, engine: Engine, catalogue: Catalogue, names: Names | None, *, required: bool
) -> NamedVoice | None:
    """Return the uploaded voice that is asked for by its name, its id, or the engine's alias of either."""
    if asked is None or names is None:
        return None
    meant = engine.voice_aliases.get(asked)
    try:
        found = names.find(asked, required=required)
    except NotFound:
        if asked not in catalogue.openai_voices(engine):
            raise
        return None  # it was uploaded under a name of OpenAI's, which means again what it meant before
    return found or (names.find(meant, required=required) if meant is not None else None)


def _sent_along(fields: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Return the field with a clip, the clip, and what is said in it.

    vLLM-Omni knows ``references``, too, as a list of one: its server makes ``ref_audio`` and ``ref_text`` of it.
    """
    audio, text = _string(fields, "ref_audio", longest=None), _string(fields, "ref_text", longest=MAX_TEXT)
    references = fields.get("references")
    if references is None:
        return "ref_audio", audio, text
    match references:
        case [{"audio_path": str(path), **more}] if not more.keys() - {"text"}:
            said = _string({"text": more.get("text")}, "text", longest=MAX_TEXT)
        case _:
            raise InvalidRequest(
                "'references' must be a list of one object with 'audio_path', the audio itself as a data URL, and, if you "
                "like, 'text', what is said in it",
                param="references",
            )
    if audio is not None or (text and said and text != said):
        raise InvalidRequest(
            "'references' says what 'ref_audio' and 'ref_text' say: give the one or the others, not both",
            param="references",
        )
    return "references", path, said or text


def _asked_voice(fields: Mapping[str, Any], engine: Engine) -> str | None:
    """Return the voice that a request names, in whichever field its engine's clients do."""
    voice, also = _voice(fields.get("voice"), "voice"), None
    if engine.also_voice is not None:
        also = _voice(fields.get(engine.also_voice), engine.also_voice)
    if voice is not None and also not in (None, voice):
        raise InvalidRequest(
            f"'voice' says {quoted(voice)}, and {engine.also_voice!r} says {quoted(also or '')}: give one of them",
            param=engine.also_voice,
        )
    return also if voice is None else voice


def _voice(value: Any, field: str) -> str | None:
    """Return the name of a voice, given as a string or in an object."""
    if type(value) is dict:
        if value and all(member is None for member in value.values()):
            return None
        value = value.get("id")
        if type(value) is not str:
            raise InvalidRequest(f"{field!r} as an object needs a string 'id'", param=field)
    if value is not None and type(value) is not str:
        raise InvalidRequest(
            f"{field!r} must be a string or an object with an 'id', not {_json_type(value)}", param=field
        )
    if value is not None:
        check_length(field, value, MAX_NAME)
    return value


def _required(voice: str | None, engine: Engine) -> str:
    if voice is None:
        raise InvalidRequest(f"'voice' is missing, and {engine.name!r} has no default voice", param="voice")
    return voice


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
