"""Checks of the library's arguments: the call that has a wrong one refuses it, and not a later call."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from numbers import Integral
from typing import Any, Final, NamedTuple, TypeVar

from sayonce.errors import InvalidRequest
from sayonce.features.arrays import dtype_name
from sayonce.features.tensors import CurrentDevice

T = TypeVar("T")

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
"""Characters that UTF-8 cannot encode: names of files and arguments in other encodings have them."""
_DEVICE: Final = re.compile(r"[a-z]+(:\d+)?")
_LONGEST: Final = timedelta(days=1_000_000)
_SHOWN: Final = 80
_SECRETS: Final = ("secret", "url")
"""Arguments that may hold a password: no message repeats them."""


class _Rule(NamedTuple):
    words: str
    fits: Callable[[Any], bool]


def check(rules: Mapping[str, _Rule], /, **given: Any) -> None:
    """Check arguments.

    Raises:
        InvalidRequest: one is unknown, or of the wrong type or out of range; the message says what would be right.

    """
    for name, value in given.items():
        if name not in rules:
            raise InvalidRequest(f"{name!r} is no argument here; there are: {', '.join(rules)}", param=name)
        if not rules[name].fits(value):
            shown = f"what was given (of type {type(value).__name__})" if name in _SECRETS else repr(value)[:_SHOWN]
            raise InvalidRequest(f"{name!r} must be {rules[name].words}, not {shown}", param=name)


def kept(value: T) -> T | tuple[Any, ...]:
    """Return a tuple of what an iterator gives, as that can be read once, and anything else as it is."""
    return tuple(value) if isinstance(value, Iterator) else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not _SURROGATES.search(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0


def _is_secret(value: Any) -> bool:
    return value is None or ((isinstance(value, bytes) or _is_text(value)) and len(value) > 0)


def _is_time(value: Any) -> bool:
    return isinstance(value, timedelta) and timedelta(0) < value <= _LONGEST


def _are_texts(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Iterator) and all(map(_is_text, value))


def _is_spec(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) == 2 and _is_type(value[0]) and _is_shape(value[1])  # noqa: PLR2004 (type, shape)
    parts = value.values() if isinstance(value, Mapping) else value
    return isinstance(value, Mapping | list) and all(map(_is_spec, parts))


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(each is None or _is_count(each) for each in value)


def _is_type(value: Any) -> bool:
    try:
        return bool(dtype_name(value))
    except TypeError:
        return False


def _is_device(value: Any) -> bool:
    """Whether torch may take it for a device; torch itself is not loaded for the question."""
    if isinstance(value, str):
        return bool(_DEVICE.fullmatch(value))
    kind = type(value)
    return value is None or isinstance(value, CurrentDevice) or (kind.__module__, kind.__name__) == ("torch", "device")


def _is_annotation(value: Any) -> bool:
    named = value is None or isinstance(value, type) or typing.get_origin(value) is not None
    return named or type(value).__module__ == "typing"


_TEXT: Final = _Rule("a text", _is_text)
_FLAG: Final = _Rule("True or False", _is_flag)
_BYTES: Final = _Rule("a number of bytes (int) of at least 0", _is_count)
_TIME: Final = _Rule("a timedelta above 0 and up to a million days, such as timedelta(days=7)", _is_time)
_PARAMETERS: Final = _Rule("names of parameters, in a tuple such as ('path',)", _are_texts)
_TAGS: Final = _Rule("texts, in a tuple such as ('voice=anna',)", _are_texts)

OPENING: Final = {
    "url": _Rule("a text such as sqlite:///file.db", lambda value: _is_text(value) and "\0" not in value),
    "namespace": _TEXT,
    "secret": _Rule("bytes or a text that are not empty, or left out", _is_secret),
    "memory_bytes": _BYTES,
    "ttl": _TIME,
}
FETCHING: Final = {
    "compute": _Rule("a function without arguments that returns bytes", callable),
    "ttl": _TIME,
    "tags": _TAGS,
}
REMEMBERING: Final = {
    "name": _TEXT,
    "revision": _TEXT,
    "ttl": _TIME,
    "tags": _TAGS,
    "content": _PARAMETERS,
    "audio": _PARAMETERS,
    "ignore": _PARAMETERS,
    "batch": _FLAG,
    "returns": _Rule("a type, such as np.ndarray, or left out", _is_annotation),
    "spec": _Rule(
        "of types and shapes, such as {'style': ('float32', (1, 192))}, or left out",
        lambda value: value is None or _is_spec(value),
    ),
    "copy": _FLAG,
    "device": _Rule("a device of torch, such as 'cuda:0' or torch.device('cpu'), or left out", _is_device),
    "expected_bytes": _BYTES,
    "storage": _Rule("'float16', or left out", lambda value: value is None or (_is_text(value) and value == "float16")),
}
