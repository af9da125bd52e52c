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


class ByteSize(int):
    """A number of bytes, written as ``256 MB``, ``2 GiB`` or a number."""


class Bound(ByteSize):
    """An upper bound in bytes, or ``none``."""


NO_BOUND: Final = Bound(sys.maxsize)


def read_quantity(kind: type, value: Any) -> Any:
    try:
        if kind is Duration:
            return Duration(
                seconds=_parse(value, _DURATION_UNITS, "s", "a time such as 24h, 7d, 30m, 15s or a number of seconds")
            )
        if kind is Bound and value == "none":
            return NO_BOUND
        if issubclass(kind, ByteSize):
            wanted = "a size such as 256 MB, 2 GiB or a number of bytes" + (", or none" if kind is Bound else "")
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
