"""The speaker of a request: one of the engine's voices, by any of its names, an uploaded voice, or that of a reference sent along."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sayonce.errors import InvalidRequest, NotFound, VoicesUnavailable, quoted
from sayonce.speech.catalogue import Catalogue, Names
from sayonce.speech.engines import Engine, Reference
from sayonce.speech.engines.bounds import MAX_NAME, MAX_TEXT, check_length
from sayonce.speech.engines.references import decode_reference
from sayonce.speech.strings import json_type, read_string

if TYPE_CHECKING:
    from sayonce.speech.voice_names import NamedVoice

_REFERENCE_ID: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
"""The id of an uploaded reference, which no server knows: one that gets it as a name may speak in any voice."""


class Speaker(msgspec.Struct, frozen=True):
    """The voice that speaks; ``unknown`` as ``SpeechRequest.names_unknown_voice``."""

    voice: str
    reference: Reference | None = None
    unknown: bool = False


def read_speaker(
    fields: Mapping[str, Any], spoken: str, engine: Engine, catalogue: Catalogue, names: Names | None, tenant: str
) -> Speaker:
    """Return the speaker: one of the engine's voices, an uploaded one, or the voice of a reference that was sent along.

    Raises:
        InvalidRequest: the voice is missing, or said twice; ``param`` names the field.
        NotFound: there is no such voice.

    """
    voice = _asked_voice(fields, engine)
    if not engine.clones:
        own = _required(engine.voice_for(spoken) if voice is None else voice, engine)
        try:
            return Speaker(catalogue.resolve_voice(own, engine))
        except NotFound as error:
            raise _no_clone(own, engine, names) or error from None
    field, audio, text = _sent_along(fields)
    if audio is not None:
        from sayonce.audio.voice import Voice  # noqa: PLC0415 (brings codecs that other requests do not need)

        sent = decode_reference(audio, field)
        reference = Reference(Voice.from_audio(sent, apart=True, owner=tenant).id, text or "", sent)
        return Speaker(reference.voice, reference)
    asked = engine.default_voice if voice is None else voice
    named = _uploaded(asked, engine, catalogue, names, required=voice is not None)
    if named is not None:
        return Speaker(named.name, Reference(named.id, text or named.ref_text, address=named.address))
    if text:
        raise InvalidRequest(
            "'ref_text' is what is said in reference audio: 'ref_audio', or an uploaded voice", param="ref_text"
        )
    asked = _required(asked, engine)
    own = catalogue.resolve_voice(asked, engine, names)
    if _REFERENCE_ID.fullmatch(own) and all(own != each.id for each in engine.voices()):
        raise NotFound(f"there is no uploaded voice {quoted(own)}", param="voice")
    return Speaker(own, unknown=not engine.offers(own) or asked in catalogue.openai_voices(engine))


def _no_clone(asked: str, engine: Engine, names: Names | None) -> NotFound | None:
    """Return the error of a request for an uploaded voice to an engine that cannot speak in it; None for other voices."""
    try:
        named = None if names is None else names.find(asked, required=False)
    except (NotFound, VoicesUnavailable):
        return None
    if named is None:
        return None
    return NotFound(
        f"{quoted(asked)} is an uploaded voice, and {engine.name!r} cannot speak in the voice of a reference",
        param="voice",
    )


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
    """Return the field with a reference, the reference, and what is said in it.

    vLLM-Omni knows ``references``, too, as a list of one: its server makes ``ref_audio`` and ``ref_text`` of it.
    """
    audio, text = read_string(fields, "ref_audio", longest=None), read_string(fields, "ref_text", longest=MAX_TEXT)
    references = fields.get("references")
    if references is None:
        return "ref_audio", audio, text
    match references:
        case [{"audio_path": str(path), **more}] if not more.keys() - {"text"}:
            said = read_string({"text": more.get("text")}, "text", longest=MAX_TEXT)
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
            f"{field!r} must be a string or an object with an 'id', not {json_type(value)}", param=field
        )
    if value is not None:
        check_length(field, value, MAX_NAME)
    return value


def _required(voice: str | None, engine: Engine) -> str:
    if voice is None:
        raise InvalidRequest(f"'voice' is missing, and {engine.name!r} has no default voice", param="voice")
    return voice
