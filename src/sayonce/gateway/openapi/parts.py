"""The pieces that several routes and schemas of the description share."""

from __future__ import annotations

from typing import Any, Final

from sayonce.gateway import answers
from sayonce.gateway.refusals import MAX_FIELDS, MAX_TARGET_BYTES

JSONObject = dict[str, Any]

SCHEMAS: Final = "#/components/schemas/"
STRING: Final[JSONObject] = {"type": "string"}
INTEGER: Final[JSONObject] = {"type": "integer"}
NUMBER: Final[JSONObject] = {"type": "number"}
HEX: Final[JSONObject] = {"type": "string", "pattern": answers.HEX_PATTERN}
WAIT: Final = "Whether to answer only once every instance that reaches the store obeys; else 202, and within 1 s."

ERRORS: Final = {
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


def ref(name: str) -> JSONObject:
    return {"$ref": f"{SCHEMAS}{name}"}


def object_(required: str, **properties: JSONObject) -> JSONObject:
    """Return an object's schema; ``required`` names its fields, separated by spaces."""
    return {"type": "object", "required": required.split(), "properties": properties}


def list_(item: JSONObject) -> JSONObject:
    return {"type": "array", "items": item}


def one_of(choices: tuple[str, ...] | list[str], text: str = "", **more: str) -> JSONObject:
    return {"type": "string", "enum": list(choices), **({"description": text} if text else {}), **more}


def get(summary: str, name: str, schema: JSONObject, *statuses: int) -> JSONObject:
    return {"summary": summary, "operationId": name, "responses": {"200": answer(schema), **errors(*statuses)}}


def public(summary: str, name: str, schema: JSONObject, media_type: str = "application/json") -> JSONObject:
    """Return an operation that needs no key."""
    answered = {"description": "The answer.", "content": content(schema, media_type)}
    return {"summary": summary, "operationId": name, "security": [], "responses": {"200": answered}}


def body(schema: str, example: JSONObject) -> JSONObject:
    return {"required": True, "content": {"application/json": {"schema": ref(schema), "example": example}}}


def answer(schema: JSONObject) -> JSONObject:
    return {"description": "The answer.", "content": content(schema)}


def content(schema: JSONObject, media_type: str = "application/json") -> JSONObject:
    return {media_type: {"schema": schema}}


def header(name: str, text: str, example: str) -> JSONObject:
    return {"name": name, "in": "header", "description": text, "schema": STRING, "example": example}


def errors(*statuses: int) -> JSONObject:
    return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in statuses}


def error_response(status: int) -> JSONObject:
    response: JSONObject = {"description": ERRORS[status], "content": content(ref("Error"))}
    if status == 503:  # noqa: PLR2004 (the one with a header)
        response["headers"] = {
            "Retry-After": {
                "description": "Seconds: from an engine, a decoder or a server that is full, or while the store is away.",
                "schema": INTEGER,
            }
        }
    return response
