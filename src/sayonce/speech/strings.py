"""The strings of a request: read by name, each with its bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sayonce.errors import InvalidRequest
from sayonce.speech.engines.bounds import MAX_NAME, check_length


def read_string(fields: Mapping[str, Any], name: str, *, longest: int | None = MAX_NAME) -> str | None:
    """Return a field that must be a string, None where it is not given; ``longest`` None leaves its length to others.

    Raises:
        InvalidRequest: it is something else, or longer.

    """
    value = fields.get(name)
    if value is not None and type(value) is not str:
        raise InvalidRequest(f"{name!r} must be a string, not {json_type(value)}", param=name)
    if value is not None and longest is not None:
        check_length(name, value, longest)
    return value


def json_type(value: Any) -> str:
    """Return what JSON calls a value, as a message says it."""
    return _JSON_TYPES.get(type(value), "another type")


_JSON_TYPES: Final = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    str: "a string",
}
