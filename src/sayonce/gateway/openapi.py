"""The API described: an OpenAPI 3.1 document of every route, and the page that shows it."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from sayonce._version import __version__
from sayonce.audio.formats import FORMATS, SAMPLE_RATES
from sayonce.gateway import answers, openapi_page
from sayonce.gateway.refusals import MAX_FIELDS, MAX_TARGET_BYTES
from sayonce.observe.ledger_export import COLUMNS, LABELS
from sayonce.speech.identity import TAGS
from sayonce.speech.request import DEFAULT_FORMAT

JSONObject = dict[str, Any]

_STRING: Final[JSONObject] = {"type": "string"}
_INTEGER: Final[JSONObject] = {"type": "integer"}
_NUMBER: Final[JSONObject] = {"type": "number"}
_OPEN: Final[JSONObject] = {"type": "object", "additionalProperties": True}
_WAIT: Final = "Whether to answer only once every instance that reaches the store obeys; else 202, and within 1 s."
_HEX: Final[JSONObject] = {"type": "string", "pattern": answers.HEX_PATTERN}
_SCHEMAS: Final = "#/components/schemas/"
_SPEECH_EVENT: Final = "`speech.audio.delta` events with base64 audio, then `speech.audio.done`."
_WAITS: Final[JSONObject] = {
    "name": "wait",
    "in": "query",
    "schema": {"type": "boolean", "default": True},
    "description": _WAIT,
}

_ERRORS: Final = {
    400: "A parameter is missing, unknown, of the wrong type or out of range, and `param` names it; or this is no HTTP.",
    401: "No API key, or one that is not valid.",
    403: "The key has not the right `admin`, where that is needed; without API keys, a foreign Host or Origin.",
    404: "There is no such model, voice or clip; the message names some that exist, where there are few.",
    408: "The request came too slowly (`server.header_seconds`, `request_seconds`, `slowest_bytes_per_second`).",
    413: "The body is larger than `server.max_body_bytes`, or there is no room for another voice.",
    414: f"The request's target is longer than {MAX_TARGET_BYTES} bytes.",
    405: "The path does not take this method; `Allow` has those that it takes.",
    415: "The body is not declared as what the path takes, or is compressed (`Content-Encoding`).",
    431: f"The header is longer than `server.header_max_bytes`, or has more than {MAX_FIELDS} fields.",
    500: "A fault of the server; its log has it.",
    502: "The engine failed, or gave no whole, audible speech. Nothing was stored.",
    503: "Every slot at the engine, and every place in its queue, is taken, the server holds as much as it may, or the store is away;"
    " `Retry-After` says when to come back.",
    504: "The engine took too long, or `only-if-cached` was asked for and nothing is stored.",
}
_CACHE_CONTROL: Final = """What the cache may do for this request (RFC 9111): `no-store` neither reads nor keeps, \
and stops the synthesis when the client leaves; `no-cache` synthesizes anew and keeps that, `only-if-cached` answers 504 \
instead of synthesizing, and `max-age=SECONDS` takes nothing older."""
_SAMPLE_RATE: Final = """For `pcm` and `wav`, in Hz. Without it `pcm` is 24000 Hz and `wav` as the engine speaks. \
It is never handed to the engine: its speech is resampled."""
_DESCRIPTION: Final = """Compute speech once, reuse it many times. OpenAI's speech API over an exact cache. \
Every answer has an `x-request-id`; what is no speech is `Cache-Control: no-store`. Each path with GET takes HEAD, too, and \
every path OPTIONS, which needs no key."""
_REQUEST_ID: Final = """Comes back in the answer, and is in the server's log lines: up to 128 letters, digits and \
`._:/+=@~,;-`; without one, or with any other, the server makes one."""
_LISTED: Final = "Needs no key where the server has `server.public_lists`; then without uploaded voices."
_STREAM: Final = """False sends the whole clip at once, with `Content-Length` and a header that is true, also when it has \
to be made first; true sends it as it is made. It is neither in the key nor handed to the engine."""
_LEFT_OUT: Final = "Others leave it out, and say so in `X-Sayonce-Ignored`; `server.strict` refuses it."
_IGNORED: Final = """What was left out: fields that the engine does not take, by their names; then, behind `input:`, what \
of the text nobody says (emoji, bullets, arrows), by code points. Absent where that is nothing."""
_CACHE_STATUS: Final = """How it was answered (RFC 9211): `sayonce; hit; detail=memory|sqlite|redis`, or `fwd=miss` with \
`stored`, or with `collapsed` when it joined a synthesis under way, or `fwd=bypass` after `no-store`."""


def description() -> JSONObject:
    """Return the OpenAPI 3.1 description of the gateway."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sayonce",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "."}],  # where this document is, which may be under a proxy's path
        "security": [{"bearer": []}, {"header": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": _BEARER},
                "header": {"type": "apiKey", "in": "header", "name": "api-key", "description": "The same key."},
            },
            "schemas": _schemas(),
            "parameters": {
                "CacheControl": _header("Cache-Control", _CACHE_CONTROL, "no-cache"),
                "RequestId": _header("X-Request-ID", _REQUEST_ID, "7f0c1d2e"),
            },
            "responses": {f"Error{status}": _error_response(status) for status in _ERRORS},
        },
    }


@cache
def document() -> bytes:
    """Return the description as JSON; it takes many milliseconds to make, and is made once."""
    return msgspec.json.encode(description())


@cache
def page() -> str:
    """Return the description as one HTML page that needs nothing else; made once, too."""
    return openapi_page.render(description(), everywhere())


_BEARER: Final = (
    "An API key of the server. It names the tenant; without keys configured none is needed, on the same machine."
)


# -- paths --------------------------------------------------------------------------------------------------------------


def everywhere() -> JSONObject:
    """Return what any path may answer, most of it before the path is looked at."""
    return _errors(400, 403, 405, 408, 414, 431, 500, 503)


def _paths() -> JSONObject:
    paths = _own_paths()
    for operations in paths.values():
        for operation in operations.values():
            responses = everywhere() | operation["responses"]
            operation["responses"] = dict(sorted(responses.items()))
    return paths


def _own_paths() -> JSONObject:
    """Return the paths with the answers that not every path gives."""
    return {
        "/v1/audio/speech": {"post": _speech()},
        "/v1/models": {"get": _list_of("List the models", "models", "Models")},
        "/v1/models/{id}": {"get": _model()},
        "/v1/audio/models": {"get": _list_of("List the models, under two names", "audio_models", "AudioModels")},
        "/v1/audio/voices": {"get": _list_of("List the voices", "voices", "Voices"), "post": _upload()},
        "/v1/audio/voices/{name}": {"delete": _delete_voice()},
        "/health/live": {"get": _public("Is the process alive?", "live", _ref("Live"))},
        "/health/ready": {"get": _ready()},
        "/v1/cache/stats": {"get": _stats()},
        "/v1/cache/ledger": {"get": _ledger()},
        "/v1/cache/overview": {"get": _overview()},
        "/v1/cache/clips/{key}": {"get": _clip()},
        "/metrics": {"get": _metrics()},
        "/v1/cache/explain": {"post": _explain()},
        "/v1/cache/purge": {"post": _purge()},
        "/": {"get": _public("The dashboard", "dashboard", _STRING, "text/html")},
        "/dashboard/{name}": {"get": _dashboard_file()},
        "/openapi.json": {"get": _public("This description", "description", _OPEN)},
        "/docs": {"get": _public("This description as a page", "page", _STRING, "text/html")},
    }


def _speech() -> JSONObject:
    return {
        "summary": "Say a text",
        "operationId": "speech",
        "description": "Answers from the cache, from a synthesis under way, or from a new one that streams as it is made."
        " A body that ends without its last chunk broke off: the speech is not whole.",
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in ("CacheControl", "RequestId")],
        "requestBody": _body("SpeechRequest", {"model": "hibari", "input": "Hello, how are you?", "voice": "heart"}),
        "responses": {
            "200": {"description": "The speech.", "headers": _speech_headers(), "content": _speech_content()},
            **_errors(401, 404, 413, 415, 502, 504),
        },
    }


def _upload() -> JSONObject:
    form = {
        "type": "object",
        "required": ["name", "audio_sample"],
        "properties": {
            "name": _STRING,
            "audio_sample": {"type": "string", "format": "binary", "description": "A file, or text as in `ref_audio`."},
            "ref_text": {"type": "string", "description": "What is said in the reference audio."},
        },
    }
    kept = {"description": "The voice; its id is its content's.", "content": _content(_ref("UploadedVoice"))}
    return {
        "summary": "Upload a voice",
        "operationId": "upload_voice",
        "parameters": [_WAITS],
        "description": "A name is an alias of the reference's samples: with another reference it is another voice at once.",
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {
            "201": kept,
            "202": kept,
            **_errors(401, 413, 415),
        },
    }


def _list_of(summary: str, name: str, schema: str) -> JSONObject:
    return _get(summary, name, _ref(schema), 401) | {"description": _LISTED}


def _model() -> JSONObject:
    name = {"name": "id", "in": "path", "required": True, "schema": _STRING, "description": "As in the list."}
    return _get("Show a model", "model", _ref("Model"), 401, 404) | {"description": _LISTED, "parameters": [name]}


def _delete_voice() -> JSONObject:
    name = {"name": "name", "in": "path", "required": True, "schema": _STRING, "description": "Of the voice."}
    operation = _get("Delete an uploaded voice", "delete_voice", _ref("DeletedVoice"), 401, 404)
    operation["responses"]["202"] = _answer(_ref("DeletedVoice"))
    return operation | {"parameters": [name, _WAITS]}


def _speech_headers() -> JSONObject:
    texts = {
        "Cache-Status": (_CACHE_STATUS, _STRING),
        "ETag": ("Names these bytes; weak while they stream in another form than they are kept.", _STRING),
        "Age": ("On hits, the seconds since the synthesis.", _INTEGER),
        "X-Sayonce-Key": ("The key of the speech, for `explain` and `purge`.", _HEX),
        "X-Sayonce-Ignored": (
            _IGNORED,
            {"type": "string", "example": "instructions, user, input: U+1F600"},
        ),
        "X-Request-ID": ("The id of the request, as it was sent or as the server made it.", _STRING),
        "X-Sayonce-Compute-Ms": ("What the synthesis took, also on hits; absent while it goes on.", _NUMBER),
        "Content-Length": ("Whenever it is known: on hits, and with `stream: false`.", _INTEGER),
    }
    return {name: {"description": text, "schema": schema} for name, (text, schema) in texts.items()}


def _speech_content() -> JSONObject:
    binary = {"type": "string", "format": "binary"}
    media = {audio_format.media_type: {"schema": binary} for audio_format in FORMATS.values()}
    return media | {"text/event-stream": {"schema": _ref("SpeechEvent")}}


def _ready() -> JSONObject:
    operation = _public("Can it speak?", "ready", _ref("Ready"))
    loading = {
        "description": "No engine can speak yet; what is stored is answered.",
        "content": _content(_ref("Ready")),
    }
    return {**operation, "responses": {**operation["responses"], "503": loading}}


def _stats() -> JSONObject:
    operation = _get("Show what the cache holds and saves", "stats", _ref("Stats"), 401)
    return operation | {"description": "Needs the right `admin`."}


def _ledger() -> JSONObject:
    operation = _get("Show what each account asked for and saved", "ledger", _ref("Ledger"), 401)
    operation["description"] = "By day (UTC), tenant, engine, model and voice. Needs the right `admin`."
    operation["responses"]["200"]["content"]["text/csv"] = {"schema": _STRING}
    day = {"type": "string", "format": "date"}
    asked = {
        "from": (day, "The first day; by default 30 days before the last."),
        "to": (day, "The last day; by default today."),
        "format": (_one_of(("json", "csv")), "Of the answer."),
    }
    parameters = [
        {"name": name, "in": "query", "schema": schema, "description": text} for name, (schema, text) in asked.items()
    ]
    return operation | {"parameters": parameters}


def _metrics() -> JSONObject:
    operation = _get("Metrics for Prometheus", "metrics", _STRING, 401)
    operation["responses"]["200"]["content"] = _content(_STRING, "text/plain")
    return operation | {"description": "In the text format, or OpenMetrics. Needs the right `admin`."}


def _overview() -> JSONObject:
    operation = _get("Show what the dashboard shows", "overview", _ref("Overview"), 401)
    text = "Of all processes since the server began; `clips` and `latest` of the other workers up to half a second late, and without texts. Needs the right `admin`."
    return operation | {"description": text}


def _clip() -> JSONObject:
    audio = {kind: {"schema": _STRING} for kind in sorted({each.media_type for each in FORMATS.values()})}
    compute = {"description": "What its synthesis took.", "schema": _NUMBER}
    parameters = [
        {"name": "key", "in": "path", "required": True, "schema": _HEX, "description": "As in `X-Sayonce-Key`."},
        {"name": "format", "in": "query", "schema": _one_of(("wav",)), "description": "Else as it is kept."},
    ]
    return {
        "summary": "Listen to a stored clip",
        "operationId": "clip",
        "description": "Never synthesizes. Needs the right `admin`.",
        "parameters": parameters,
        "responses": {
            "200": {"description": "The clip.", "headers": {"X-Sayonce-Compute-Ms": compute}, "content": audio},
            **_errors(401, 404),
        },
    }


def _dashboard_file() -> JSONObject:
    operation = _public("A file of the dashboard", "dashboard_file", _STRING, "text/plain")
    name = {"name": "name", "in": "path", "required": True, "schema": _STRING, "description": "Of the file."}
    return operation | {"parameters": [name], "responses": {**operation["responses"], **_errors(404)}}


def _explain() -> JSONObject:
    request = {"input": "Hello", "voice": "heart"}
    return {
        "summary": "Explain a request's key",
        "operationId": "explain",
        "description": "Shows the document that the key is made from and whether it is stored, with the fields in which"
        " another request, or the nearest recent one, differs.",
        "requestBody": _body("Explain", {"request": request, "other": {**request, "speed": 1.2}}),
        "responses": {"200": _answer(_ref("Manifest")), **_errors(401, 404, 413, 415)},
    }


def _purge() -> JSONObject:
    return {
        "summary": "Remove what is stored",
        "operationId": "purge",
        "description": "Needs the right `admin`. `wait` may stand in the body or in the query.",
        "parameters": [_WAITS],
        "requestBody": _body("Purge", {"tag": "voice=alice"}),
        "responses": {
            "200": _answer(_ref("Purged")),
            "202": _answer(_ref("Purged")),
            **_errors(401, 413, 415),
        },
    }


def _get(summary: str, name: str, schema: JSONObject, *errors: int) -> JSONObject:
    return {"summary": summary, "operationId": name, "responses": {"200": _answer(schema), **_errors(*errors)}}


def _public(summary: str, name: str, schema: JSONObject, media_type: str = "application/json") -> JSONObject:
    answer = {"description": "The answer.", "content": _content(schema, media_type)}
    return {"summary": summary, "operationId": name, "security": [], "responses": {"200": answer}}


def _body(schema: str, example: JSONObject) -> JSONObject:
    return {"required": True, "content": {"application/json": {"schema": _ref(schema), "example": example}}}


def _answer(schema: JSONObject) -> JSONObject:
    return {"description": "The answer.", "content": _content(schema)}


def _content(schema: JSONObject, media_type: str = "application/json") -> JSONObject:
    return {media_type: {"schema": schema}}


def _header(name: str, text: str, example: str) -> JSONObject:
    return {"name": name, "in": "header", "description": text, "schema": _STRING, "example": example}


def _errors(*statuses: int) -> JSONObject:
    return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in statuses}


def _error_response(status: int) -> JSONObject:
    response: JSONObject = {"description": _ERRORS[status], "content": _content(_ref("Error"))}
    if status == 503:  # noqa: PLR2004 (the one with a header)
        response["headers"] = {
            "Retry-After": {
                "description": "Seconds: from an engine, a decoder or a server that is full, or while the store is away.",
                "schema": _INTEGER,
            }
        }
    return response


# -- schemas ------------------------------------------------------------------------------------------------------------


def _ref(name: str) -> JSONObject:
    return {"$ref": f"{_SCHEMAS}{name}"}


def _object(required: str, **properties: JSONObject) -> JSONObject:
    """Return an object's schema; ``required`` names its fields, separated by spaces."""
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(item: JSONObject) -> JSONObject:
    return {"type": "array", "items": item}


def _one_of(choices: tuple[str, ...] | list[str], text: str = "", **more: str) -> JSONObject:
    return {"type": "string", "enum": list(choices), **({"description": text} if text else {}), **more}


def _schemas() -> JSONObject:
    tag = {"type": "string", "pattern": f"^({'|'.join(TAGS)})=", "examples": [f"{name}=…" for name in TAGS]}
    two = _object("request", request=_ref("SpeechRequest"), other=_ref("SpeechRequest"))
    purges = [
        _object("key", key=_HEX),
        _object("tag", tag=tag),
        _object("tags", tags=_list(tag)),
        _object("all", all={"const": True}),
    ]
    for purge in purges:
        purge["properties"]["wait"] = {"type": "boolean", "default": True, "description": _WAIT}
    return {
        "SpeechRequest": _speech_request(),
        "SpeechEvent": _STRING | {"description": _SPEECH_EVENT},
        "Explain": {"anyOf": [_ref("SpeechRequest"), two]},
        "Purge": {"oneOf": purges},
        "Ledger": _object("from to lines", **{"from": _STRING, "to": _STRING}, lines=_list(_ref("LedgerLine"))),
        "LedgerLine": _object(" ".join(COLUMNS), **{name: _STRING if name in LABELS else _NUMBER for name in COLUMNS}),
        **answers.schemas(_SCHEMAS + "{name}"),
    }


def _speech_request() -> JSONObject:
    voice = {
        "anyOf": [_STRING, _object("id", id=_STRING)],
        "description": "One of /v1/audio/voices, OpenAI's names among them; else the engine's default.",
    }
    return _object(
        "input",
        model=_STRING | {"description": "One of /v1/models, OpenAI's names among them; else the first."},
        input=_STRING | {"description": "The text.", "minLength": 1},
        voice=voice,
        ref_audio=_STRING
        | {
            "description": "The audio in whose voice is to be spoken, as a data URL or in base64, for engines that clone."
        },
        ref_text=_STRING | {"description": "What is said in that audio, or in an uploaded voice's."},
        response_format=_one_of(list(FORMATS), "In any case.", default=DEFAULT_FORMAT),
        sample_rate={"type": "integer", "enum": list(SAMPLE_RATES), "description": _SAMPLE_RATE},
        speed=_NUMBER | {"description": "Within the engine's own range; 1 is as it speaks."},
        instructions=_STRING | {"description": f"How to speak, for engines that follow it. {_LEFT_OUT}"},
        user=_STRING | {"description": f"Who asks: never heard, and no part of the key. {_LEFT_OUT}"},
        stream={"type": "boolean", "default": True, "description": _STREAM},
        stream_format=_one_of(("audio", "sse"), "`sse` sends OpenAI's events instead of bare audio.", default="audio"),
    ) | {"additionalProperties": True, "description": "Beside these, the engine's own parameters, by their names."}
