"""Declared parameters: type, default, range, tolerance, and whether they are heard.

A tolerance ``t`` puts values into buckets of width ``2t`` around the default ``d`` (0 where there is none): bucket
``n`` is ``[d + (2n-1)t, d + (2n+1)t)``, lower edge included. The engine is asked for the bucket's middle ``d + 2nt``
(kept within the parameter's range), so the sound never depends on the order of requests.
"""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Final

import msgspec

from sayonce.errors import InvalidRequest, with_article
from sayonce.speech.engines.bounds import MAX_TEXT, check_length


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of an engine.

    ``type`` is ``float``, ``int``, ``str``, ``bool``, or ``list`` for ``length`` numbers. ``null`` and leaving it out both mean the default. ``heard`` is
    False for what cannot change the waveform: it is passed on and not keyed. ``longest`` is for strings, in characters;
    None where the size of the request is bound enough. ``tolerance`` is for numbers, in the
    parameter's own unit; None is exact.
    """

    name: str
    type: type
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    length: int = 0
    longest: int | None = MAX_TEXT
    tolerance: float | None = None
    heard: bool = True
    description: str = ""

    def accept(self, value: Any) -> Any:
        """Return a request's value in the declared type, at its bucket's representative.

        Raises:
            InvalidRequest: wrong type, not finite, or out of range.

        """
        if value is None:
            return self.default
        value = self._typed(value)
        if self.type in (int, float):
            self._check_range(value)
            return self._representative(value) if self.tolerance else value
        if self.type is str and self.longest is not None:
            check_length(self.name, value, self.longest)
        if self.choices and value not in self.choices:
            raise self._invalid(f"one of {', '.join(self.choices)}", value)
        return value

    def _typed(self, value: Any) -> Any:
        kind = type(value)
        if kind is int and value not in _INTEGERS:
            raise self._invalid("a number of at most 64 bits", value)
        if self.type is float and kind in (int, float):
            value = float(value) + 0.0  # -0.0 is 0.0
            if not math.isfinite(value):
                raise self._invalid("a finite number", value)
            return value
        if self.type is int and kind is float and value.is_integer():
            return self._typed(int(value))  # JSON has one number type: 7.0 is 7
        if kind is not self.type:
            raise self._invalid(_TYPE_NAMES[self.type].format(length=self.length), value)
        return self._numbers(value) if kind is list else value

    def _numbers(self, values: list[Any]) -> list[float]:
        if len(values) != self.length or not all(map(_is_number, values)):
            raise self._invalid(f"a list of {self.length} numbers", values)
        return [float(each) + 0.0 for each in values]

    def _check_range(self, value: float) -> None:
        too_low = self.minimum is not None and value < self.minimum
        too_high = self.maximum is not None and value > self.maximum
        if too_low or too_high:
            raise self._invalid(
                f"between {self.minimum:g} and {self.maximum:g}" if self._closed else self._bound, value
            )

    @property
    def _closed(self) -> bool:
        return self.minimum is not None and self.maximum is not None

    @property
    def _bound(self) -> str:
        return f"at least {self.minimum:g}" if self.minimum is not None else f"at most {self.maximum:g}"

    def _representative(self, value: float) -> Any:
        """Bucket in decimal, on the shortest digits that denote the float, so that edges lie where they are written."""
        tolerance = Decimal(str(self.tolerance))
        if self.type is int:
            tolerance = tolerance.to_integral_value(ROUND_FLOOR)  # whole numbers are never a fraction apart
        if not tolerance:
            return value
        middle, width = Decimal(str(self.default or 0)), 2 * tolerance
        if self.type is float and _FLOATS_IN_A_BUCKET * math.ulp(value) >= width:
            return value  # the middle of its bucket, as a float, might lie in the next one
        bucket = ((Decimal(str(value)) - middle) / width + Decimal("0.5")).to_integral_value(ROUND_FLOOR)
        chosen = self.type(middle + bucket * width)
        if self.minimum is not None:
            chosen = max(chosen, self.type(self.minimum))
        if self.maximum is not None:
            chosen = min(chosen, self.type(self.maximum))
        return chosen

    def _invalid(self, wanted: str, value: Any) -> InvalidRequest:
        return InvalidRequest(f"{self.name!r} must be {wanted}, not {_shown(value)}", param=self.name)


def _is_number(value: Any) -> bool:
    return (type(value) is int and value in _INTEGERS) or (type(value) is float and math.isfinite(value))


def _shown(value: Any) -> str:
    if type(value) is int and value not in _INTEGERS:
        return "a larger one"  # of too many digits to print, perhaps
    shown = str(value).lower() if type(value) is bool else repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else with_article(type(value).__name__)


_FLOATS_IN_A_BUCKET: Final = 4
"""So few that rounding to one of them leads out of it."""
_INTEGERS: Final = range(-(2**63), 2**64)
"""The integers that a key can hold."""
_LONGEST_SHOWN: Final = 40
_TYPE_NAMES: Final = {
    float: "a number",
    int: "a whole number",
    str: "a string",
    bool: "true or false",
    list: "a list of {length} numbers",
}


_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_value(text: str, parameter: Parameter | None) -> Any:
    """Return a value that was written as text: in the parameter's type, or as JSON where nothing is declared.

    What cannot be read comes back as it is; the parameter itself then tells whether it may have it.
    """
    try:
        if parameter is None:
            return msgspec.json.decode(text)
        return _TRUTHS[text.lower()] if parameter.type is bool else parameter.type(text)
    except (KeyError, ValueError):  # msgspec's errors are ValueErrors
        return text
