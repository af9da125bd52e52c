"""Durations and sizes as people write them: ``24h``, ``256 MB``; the settings and the command line read them alike."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sayonce.config.messages import shown

_DURATION_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTE_UNITS: Final = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_QUANTITY: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


class Duration(timedelta):
    """A length of time, written as ``24h``, ``7d``, ``30m``, ``1.5s`` or a number of seconds."""


class Lifetime(Duration):
    """A length of time, or ``none``: for ever."""


class Extension(Duration):
    """A length of time, or ``none``: no longer than without it."""


class ByteSize(int):
    """A number of bytes, written as ``256 MB``, ``2 GiB`` or a number."""


class Bound(ByteSize):
    """An upper bound in bytes, or ``none``."""


NO_BOUND: Final = Bound(sys.maxsize)
FOR_EVER: Final = Lifetime(days=36_500)
NO_EXTENSION: Final = Extension(0)
_NONE: Final[dict[type, Any]] = {Bound: NO_BOUND, Lifetime: FOR_EVER, Extension: NO_EXTENSION}
"""What ``none`` means, where it may be said."""


def read_quantity(kind: type, value: Any) -> Any:
    if kind in _NONE and value == "none":
        return _NONE[kind]
    or_none = ", or none" if kind in _NONE else ""
    try:
        if issubclass(kind, Duration):
            wanted = "a time such as 24h, 7d, 30m, 15s or a number of seconds" + or_none
            return kind(seconds=_parse(value, _DURATION_UNITS, "s", wanted))
        if issubclass(kind, ByteSize):
            wanted = "a size such as 256 MB, 2 GiB or a number of bytes" + or_none
            return kind(_parse(value, _BYTE_UNITS, "b", wanted))
    except OverflowError:
        raise ValueError(f"must be less than {shown(value)}") from None
    raise NotImplementedError(kind)


def parse_size(text: str) -> int:
    """Return the number of bytes in a text such as ``64 MB``.

    Raises:
        ValueError: the text is no size; the message gives examples.

    """
    return int(read_quantity(ByteSize, text))


def parse_duration(text: str) -> timedelta:
    """Return the time in a text such as ``24h``.

    Raises:
        ValueError: the text is no time; the message gives examples.

    """
    duration: timedelta = read_quantity(Duration, text)
    return duration


def _parse(value: Any, units: Mapping[str, float], default: str, wanted: str) -> float:
    found = _QUANTITY.fullmatch(str(value))
    unit = (found.group(2).lower() or default) if found else ""
    if found is None or unit not in units:
        raise ValueError(f"must be {wanted}, not {shown(value)}")
    return float(found.group(1)) * units[unit]
