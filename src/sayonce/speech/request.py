"""Read a speech request in OpenAI's form, and check it against what the engine declares."""

from __future__ import annotations

import re
import unicodedata
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sayonce.audio.formats import Format, format_named
from sayonce.errors import InvalidRequest, quoted
from sayonce.speech.catalogue import Catalogue, Names
from sayonce.speech.engines import Engine, Parameter, Utterance
from sayonce.speech.engines.bounds import LARGE, check_number_of_values
from sayonce.speech.engines.fields import read_parameters
from sayonce.speech.speaker import read_speaker
from sayonce.speech.strings import read_string
from sayonce.text.combining_marks import MOST_IN_A_ROW, too_many_marks
from sayonce.text.reading import Reading
from sayonce.text.signs import is_punctuation

DEFAULT_FORMAT: Final = "mp3"
_STREAM_FORMATS: Final = ("audio", "sse")

_SAMPLE_RATE: Final = Parameter(name="sample_rate", type=int)
_STREAM: Final = Parameter(name="stream", type=bool)

_COMPOSED: Final = 4
"""As many characters as one at most becomes by composition (NFC) are no longer text than the one."""
_UNSPOKEN: Final = frozenset("CZ")
"""Categories of characters that nobody speaks, beside punctuation: controls, and what separates."""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")

_decode = msgspec.json.Decoder().decode


class SpeechRequest(msgspec.Struct, frozen=True):
    """A valid request: the speaker, the text, every parameter filled in, and the form in which it is sent.

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

    @property
    def is_silence(self) -> bool:
        """Whether there is nothing to speak: silence is made where it is asked for, by no engine, and kept in no store."""
        return not self.utterance.text


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
    engine = catalogue.find(read_string(fields, "model"))
    shown = _shown(_text(fields, engine), engine)
    speaker = read_speaker(fields, shown.text, engine, catalogue, names, tenant)
    model = engine.resolve_model(fields.get("model"))
    reading = _read(shown, speaker.voice, engine, strict=catalogue.strict)
    parameters, left_out = read_parameters(fields, engine)
    if catalogue.strict and left_out:
        raise InvalidRequest(
            f"{engine.name!r} takes no {quoted(left_out[0])}, and server.strict refuses to leave anything out",
            param=left_out[0],
        )
    stream_format = read_string(fields, "stream_format") or "audio"
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
    text = (read_string(fields, "input", longest=None) or "").strip()
    if len(text) <= _COMPOSED * engine.max_characters:  # else it is too long in any form, and long to look at
        if not text.isascii():
            _refuse_many_marks(text)
        text = normalize_text(text)
    if "input" not in fields:
        raise InvalidRequest("'input' is missing; it is the text to speak", param="input")
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
    """Return what the engine is to speak of a text; of one that is a silence, nothing.

    Raises:
        InvalidRequest: there is nothing to speak, and ``empty`` is not "silence".

    """
    reading = engine.read(shown.text, voice)
    reading = Reading(reading.text, (*shown.ignored, *reading.ignored))
    if _has_nothing_to_speak(reading, engine):
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


def _has_nothing_to_speak(reading: Reading, engine: Engine) -> bool:
    """Whether a text is spoken as silence: nothing of it is heard, and nothing is left out unless that is wished."""
    if engine.empty == "silence":
        return all(is_punctuation(each) or unicodedata.category(each)[0] in _UNSPOKEN for each in reading.text)
    if not engine.pauses or not reading.text or reading.ignored:
        return False
    return all(is_punctuation(each) or each.isspace() for each in reading.text)


def _format(fields: Mapping[str, Any]) -> Format:
    name = (read_string(fields, "response_format") or "").strip().lower() or DEFAULT_FORMAT
    return format_named(name, _SAMPLE_RATE.accept(fields.get("sample_rate")))
