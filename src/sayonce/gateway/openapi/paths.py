"""The paths of the description: the parameters, the body and the answers of each route."""

from __future__ import annotations

from typing import Final

from sayonce.audio.formats import FORMATS
from sayonce.gateway.openapi.parts import (
    HEX,
    INTEGER,
    NUMBER,
    STRING,
    WAIT,
    JSONObject,
    answer,
    body,
    content,
    errors,
    get,
    one_of,
    public,
    ref,
)

_OPEN: Final[JSONObject] = {"type": "object", "additionalProperties": True}
_WAITS: Final[JSONObject] = {
    "name": "wait",
    "in": "query",
    "schema": {"type": "boolean", "default": True},
    "description": WAIT,
}
_LISTED: Final = "Needs no key where the server has `server.public_lists`; then without uploaded voices."
_IGNORED: Final = """What was left out: fields that the engine does not take, by their names; then, behind `input:`, what \
of the text nobody says (emoji, bullets, arrows), by code points. Absent where that is nothing."""
_CACHE_STATUS: Final = """How it was answered (RFC 9211): `sayonce; hit; detail=memory|sqlite|redis`, with a `ttl` \
below 0 where the clip is past its time to live (`store.stale`), or `fwd=miss` with \
`stored`, or with `collapsed` when it joined a synthesis under way, or `fwd=bypass` after `no-store`."""


def paths() -> JSONObject:
    """Return every path with its operations."""
    described = _own_paths()
    for operations in described.values():
        for operation in operations.values():
            responses = everywhere() | operation["responses"]
            operation["responses"] = dict(sorted(responses.items()))
    return described


def everywhere() -> JSONObject:
    """Return the errors that any path may answer, most of them before the path is looked at."""
    return errors(400, 403, 405, 408, 414, 431, 500, 503)


def _own_paths() -> JSONObject:
    """Return the paths with the answers that not every path gives."""
    return {
        "/v1/audio/speech": {"post": _speech()},
        "/v1/models": {"get": _list_of("List the models", "models", "Models")},
        "/v1/models/{id}": {"get": _model()},
        "/v1/audio/models": {"get": _list_of("List the models, under two names", "audio_models", "AudioModels")},
        "/v1/audio/voices": {"get": _list_of("List the voices", "voices", "Voices"), "post": _upload()},
        "/v1/audio/voices/{name}": {"delete": _delete_voice()},
        "/health/live": {"get": public("Is the process alive?", "live", ref("Live"))},
        "/health/ready": {"get": _ready()},
        "/v1/cache/stats": {"get": _stats()},
        "/v1/cache/ledger": {"get": _ledger()},
        "/v1/cache/overview": {"get": _overview()},
        "/v1/cache/clips/{key}": {"get": _clip()},
        "/metrics": {"get": _metrics()},
        "/v1/cache/explain": {"post": _explain()},
        "/v1/cache/purge": {"post": _purge()},
        "/": {"get": public("The dashboard", "dashboard", STRING, "text/html")},
        "/dashboard/{name}": {"get": _dashboard_file()},
        "/openapi.json": {"get": public("This description", "description", _OPEN)},
        "/docs": {"get": public("This description as a page", "page", STRING, "text/html")},
    }


def _speech() -> JSONObject:
    return {
        "summary": "Say a text",
        "operationId": "speech",
        "description": "Answers from the cache, from a synthesis under way, or from a new one that streams as it is made."
        " A body that ends without its last chunk broke off: the speech is not whole.",
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in ("CacheControl", "RequestId")],
        "requestBody": body("SpeechRequest", {"model": "hibari", "input": "Hello, how are you?", "voice": "heart"}),
        "responses": {
            "200": {"description": "The speech.", "headers": _speech_headers(), "content": _speech_content()},
            **errors(401, 404, 413, 415, 502, 504),
        },
    }


def _upload() -> JSONObject:
    form = {
        "type": "object",
        "required": ["name", "audio_sample"],
        "properties": {
            "name": STRING,
            "audio_sample": {"type": "string", "format": "binary", "description": "A file, or text as in `ref_audio`."},
            "ref_text": {"type": "string", "description": "What is said in the reference audio."},
        },
    }
    kept = {"description": "The voice; its id is its content's.", "content": content(ref("UploadedVoice"))}
    return {
        "summary": "Upload a voice",
        "operationId": "upload_voice",
        "parameters": [_WAITS],
        "description": "A name is an alias of the reference's samples: with another reference it is another voice at once.",
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": {
            "201": kept,
            "202": kept,
            **errors(401, 413, 415),
        },
    }


def _list_of(summary: str, name: str, schema: str) -> JSONObject:
    return get(summary, name, ref(schema), 401) | {"description": _LISTED}


def _model() -> JSONObject:
    name = {"name": "id", "in": "path", "required": True, "schema": STRING, "description": "As in the list."}
    return get("Show a model", "model", ref("Model"), 401, 404) | {"description": _LISTED, "parameters": [name]}


def _delete_voice() -> JSONObject:
    name = {"name": "name", "in": "path", "required": True, "schema": STRING, "description": "Of the voice."}
    operation = get("Delete an uploaded voice", "delete_voice", ref("DeletedVoice"), 401, 404)
    operation["responses"]["202"] = answer(ref("DeletedVoice"))
    return operation | {"parameters": [name, _WAITS]}


def _speech_headers() -> JSONObject:
    texts = {
        "Cache-Status": (_CACHE_STATUS, STRING),
        "ETag": ("Names these bytes; weak while they stream in another form than they are kept.", STRING),
        "Age": ("On hits, the seconds since the synthesis.", INTEGER),
        "X-Sayonce-Key": ("The key of the speech, for `explain` and `purge`.", HEX),
        "X-Sayonce-Ignored": (
            _IGNORED,
            {"type": "string", "example": "instructions, user, input: U+1F600"},
        ),
        "X-Request-ID": ("The id of the request, as it was sent or as the server made it.", STRING),
        "X-Sayonce-Compute-Ms": ("What the synthesis took, also on hits; absent while it goes on.", NUMBER),
        "Content-Length": ("Whenever it is known: on hits, and with `stream: false`.", INTEGER),
    }
    return {name: {"description": text, "schema": schema} for name, (text, schema) in texts.items()}


def _speech_content() -> JSONObject:
    binary = {"type": "string", "format": "binary"}
    media = {audio_format.media_type: {"schema": binary} for audio_format in FORMATS.values()}
    return media | {"text/event-stream": {"schema": ref("SpeechEvent")}}


def _ready() -> JSONObject:
    operation = public("Can it speak?", "ready", ref("Ready"))
    loading = {
        "description": "No engine can speak yet; what is stored is answered.",
        "content": content(ref("Ready")),
    }
    return {**operation, "responses": {**operation["responses"], "503": loading}}


def _stats() -> JSONObject:
    operation = get("Show what the cache holds and saves", "stats", ref("Stats"), 401)
    return operation | {"description": "Needs the right `admin`."}


def _ledger() -> JSONObject:
    operation = get("Show what each account asked for and saved", "ledger", ref("Ledger"), 401)
    operation["description"] = "By day (UTC), tenant, engine, model and voice. Needs the right `admin`."
    operation["responses"]["200"]["content"]["text/csv"] = {"schema": STRING}
    day = {"type": "string", "format": "date"}
    asked = {
        "from": (day, "The first day; by default 30 days before the last."),
        "to": (day, "The last day; by default today."),
        "format": (one_of(("json", "csv")), "Of the answer."),
    }
    parameters = [
        {"name": name, "in": "query", "schema": schema, "description": text} for name, (schema, text) in asked.items()
    ]
    return operation | {"parameters": parameters}


def _metrics() -> JSONObject:
    operation = get("Metrics for Prometheus", "metrics", STRING, 401)
    operation["responses"]["200"]["content"] = content(STRING, "text/plain")
    return operation | {"description": "In the text format, or OpenMetrics. Needs the right `admin`."}


def _overview() -> JSONObject:
    operation = get("Show what the dashboard shows", "overview", ref("Overview"), 401)
    text = "Of all processes since the server began; `clips` and `latest` of the other workers up to half a second late, and without texts. Needs the right `admin`."
    return operation | {"description": text}


def _clip() -> JSONObject:
    audio = {kind: {"schema": STRING} for kind in sorted({each.media_type for each in FORMATS.values()})}
    compute = {"description": "What its synthesis took.", "schema": NUMBER}
    parameters = [
        {"name": "key", "in": "path", "required": True, "schema": HEX, "description": "As in `X-Sayonce-Key`."},
        {"name": "format", "in": "query", "schema": one_of(("wav",)), "description": "Else as it is kept."},
    ]
    return {
        "summary": "Listen to a stored clip",
        "operationId": "clip",
        "description": "Never synthesizes. Needs the right `admin`.",
        "parameters": parameters,
        "responses": {
            "200": {"description": "The clip.", "headers": {"X-Sayonce-Compute-Ms": compute}, "content": audio},
            **errors(401, 404),
        },
    }


def _dashboard_file() -> JSONObject:
    operation = public("A file of the dashboard", "dashboard_file", STRING, "text/plain")
    name = {"name": "name", "in": "path", "required": True, "schema": STRING, "description": "Of the file."}
    return operation | {"parameters": [name], "responses": {**operation["responses"], **errors(404)}}


def _explain() -> JSONObject:
    request = {"input": "Hello", "voice": "heart"}
    return {
        "summary": "Explain a request's key",
        "operationId": "explain",
        "description": "Shows the document that the key is made from and whether it is stored, with the fields in which"
        " another request, or the nearest recent one, differs.",
        "requestBody": body("Explain", {"request": request, "other": {**request, "speed": 1.2}}),
        "responses": {"200": answer(ref("Manifest")), **errors(401, 404, 413, 415)},
    }


def _purge() -> JSONObject:
    return {
        "summary": "Remove what is stored",
        "operationId": "purge",
        "description": "Needs the right `admin`. `wait` may stand in the body or in the query.",
        "parameters": [_WAITS],
        "requestBody": body("Purge", {"tag": "voice=alice"}),
        "responses": {
            "200": answer(ref("Purged")),
            "202": answer(ref("Purged")),
            **errors(401, 413, 415),
        },
    }
