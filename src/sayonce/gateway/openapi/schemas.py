"""The schemas of the description: those of answers are made from their types; a request is read field by field, so that
an error can name the field, and its schema is written here.
"""

from __future__ import annotations

from typing import Final

from sayonce.audio.formats import FORMATS, SAMPLE_RATES
from sayonce.gateway import answers
from sayonce.gateway.openapi.parts import HEX, NUMBER, SCHEMAS, STRING, WAIT, JSONObject, list_, object_, one_of, ref
from sayonce.speech.identity import TAGS
from sayonce.speech.request import DEFAULT_FORMAT

_SPEECH_EVENT: Final = "`speech.audio.delta` events with base64 audio, then `speech.audio.done`."
_SAMPLE_RATE: Final = """For `pcm` and `wav`, in Hz. Without it `pcm` is 24000 Hz and `wav` as the engine speaks. \
It is never handed to the engine: its speech is resampled."""
_STREAM: Final = """False sends the whole clip at once, with `Content-Length` and a header that is true, also when it has \
to be made first; true sends it as it is made. It is neither in the key nor handed to the engine."""
_LEFT_OUT: Final = "Others leave it out, and say so in `X-Sayonce-Ignored`; `server.strict` refuses it."


def schemas() -> JSONObject:
    tag = {"type": "string", "pattern": f"^({'|'.join(TAGS)})=", "examples": [f"{name}=…" for name in TAGS]}
    two = object_("request", request=ref("SpeechRequest"), other=ref("SpeechRequest"))
    purges = [
        object_("key", key=HEX),
        object_("tag", tag=tag),
        object_("tags", tags=list_(tag)),
        object_("all", all={"const": True}),
    ]
    for purge in purges:
        purge["properties"]["wait"] = {"type": "boolean", "default": True, "description": WAIT}
    return {
        "SpeechRequest": _speech_request(),
        "SpeechEvent": STRING | {"description": _SPEECH_EVENT},
        "Explain": {"anyOf": [ref("SpeechRequest"), two]},
        "Purge": {"oneOf": purges},
        **answers.schemas(SCHEMAS + "{name}"),
    }


def _speech_request() -> JSONObject:
    voice = {
        "anyOf": [STRING, object_("id", id=STRING)],
        "description": "One of /v1/audio/voices, OpenAI's names among them; else the engine's default.",
    }
    return object_(
        "input",
        model=STRING | {"description": "One of /v1/models, OpenAI's names among them; else the first."},
        input=STRING | {"description": "The text.", "minLength": 1},
        voice=voice,
        ref_audio=STRING
        | {
            "description": "The audio in whose voice is to be spoken, as a data URL or in base64, for engines that clone."
        },
        ref_text=STRING | {"description": "What is said in that audio, or in an uploaded voice's."},
        response_format=one_of(list(FORMATS), "In any case.", default=DEFAULT_FORMAT),
        sample_rate={"type": "integer", "enum": list(SAMPLE_RATES), "description": _SAMPLE_RATE},
        speed=NUMBER | {"description": "Within the engine's own range; 1 is as it speaks."},
        instructions=STRING | {"description": f"How to speak, for engines that follow it. {_LEFT_OUT}"},
        user=STRING | {"description": f"Who asks: never heard, and no part of the key. {_LEFT_OUT}"},
        stream={"type": "boolean", "default": True, "description": _STREAM},
        stream_format=one_of(("audio", "sse"), "`sse` sends OpenAI's events instead of bare audio.", default="audio"),
    ) | {"additionalProperties": True, "description": "Beside these, the engine's own parameters, by their names."}
