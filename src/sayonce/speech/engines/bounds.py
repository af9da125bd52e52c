"""How much a request may say: each string, the number of values and how deep they lie have a bound.

A body of megabytes is what it takes to send a reference along, and nothing else has use for it. What is parsed before
anything is known of it must not hold the event loop: the decoder stops for nobody, so its work is bounded by the number
of values first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sayonce.errors import InvalidRequest, quoted

MAX_NAME: Final = 256
"""Characters of a name: of a model, a voice, a format, a field."""
MAX_TEXT: Final = 16_384
"""Characters of every other string, but for ``input``, which has the engine's bound, and for references."""
MAX_VALUES: Final = 4096
"""An embedding of a speaker has some thousand; so many are worked through in a few milliseconds."""
MAX_FIELDS: Final = 256
_MAX_COMMAS: Final = 20_000
MAX_DEPTH: Final = 32
LARGE: Final = 65_536
"""Characters or bytes above which a request is worked on beside the event loop."""
_DATA_URL: Final = re.compile(r"\s{0,20}data:", re.IGNORECASE)


def check_number_of_values(body: bytes) -> None:
    """Check, before a body is parsed, that it holds no more values than any request has.

    Raises:
        InvalidRequest: it does, as its commas tell; those of its texts count, too.

    """
    if len(body) <= LARGE:
        return
    commas = 0
    for start in range(0, len(body), LARGE):  # many commas are slow to count, so no more than needed are
        commas += body[start : start + LARGE].count(b",")
        if commas > _MAX_COMMAS:
            raise InvalidRequest(f"the body has more than {_MAX_COMMAS:,} values, or commas in its texts")


def check_shape(fields: Mapping[str, Any]) -> int:
    """Check the number and the depth of a request's values, and the length of their names; return their characters.

    Raises:
        InvalidRequest: naming the field.

    """
    if len(fields) > MAX_FIELDS:
        raise InvalidRequest(f"the body has more than {MAX_FIELDS} fields")
    values = characters = 0
    for field, content in fields.items():
        check_length(field, field, MAX_NAME, what="the name of a field")
        for depth, level in enumerate(_levels(content), 1):
            values += len(level)
            if values > MAX_VALUES:
                raise InvalidRequest(f"the body has more than {MAX_VALUES:,} values", param=field)
            if depth > MAX_DEPTH:
                raise InvalidRequest(f"{quoted(field)} is nested more than {MAX_DEPTH} deep", param=field)
            characters += _check_level(field, level)
    return characters


def _check_level(field: str, level: list[Any]) -> int:
    characters = 0
    for value in level:
        kind = type(value)
        if kind is str:
            characters += len(value)
        elif kind is dict:
            for name in value:
                if len(name) > MAX_NAME:
                    check_length(field, name, MAX_NAME, what="the name of a field")
    return characters


def is_large(document: Mapping[str, Any]) -> bool:
    """Whether the strings of a document are together so long that handling them takes long."""
    return sum(len(value) for level in _levels(document) for value in level if type(value) is str) > LARGE


def _levels(content: Any) -> Iterator[list[Any]]:
    """Yield a value, then the values within it, then those within these."""
    level = [content]
    while level:
        yield level
        within: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is list:
                within += value
            elif kind is dict:
                within += value.values()
        level = within


def check_length(field: str, text: str, longest: int, *, what: str | None = None) -> None:
    """Check the length of a string.

    Raises:
        InvalidRequest: it is longer.

    """
    if len(text) > longest:
        raise InvalidRequest(
            f"{what or quoted(field)} has {len(text):,} characters; at most {longest:,} are taken", param=field
        )


def check_passed_on(field: str, text: str) -> None:
    """Check the length of a string that is handed on as it is; a reference in it is a data URL, and has the body's bound.

    Raises:
        InvalidRequest: it is longer.

    """
    if len(text) > MAX_TEXT and not _DATA_URL.match(text):
        raise InvalidRequest(
            f"{quoted(field)} has {len(text):,} characters; at most {MAX_TEXT:,} are taken, but for audio as a data URL",
            param=field,
        )
