"""Numbers in any script and dress as digits that every engine reads."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Final

_LARGEST_DENOMINATOR: Final = 400

_DIGIT: Final = re.compile(r"(?![0-9])\d")
_SEPARATOR: Final = re.compile(r"(?<=\d)(?:[٫．﹒：﹕](?=\d)|٬(?=\d{3}))")
_SEPARATORS: Final = {"٫": ".", "．": ".", "﹒": ".", "：": ":", "﹕": ":", "٬": ""}
_KEYCAP: Final = re.compile(r"([0-9#*])\ufe0f?\u20e3(?=(.)?)")
_ROMAN: Final = "\u2160-\u217f"
_DRESSED: Final = re.compile(
    rf"[{_ROMAN}]+|[\u2180-\u2182\u2185-\u2188\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\u3021-\u3029\u3220-\u3229\u3248-\u324f"
    "\u3251-\u325f\u3280-\u3289\u32b1-\u32bf\U0001f100-\U0001f10c]"
)
"""Roman numerals of one character, numbers in circles and brackets, with a full stop or a comma."""


def write_digits(text: str) -> str:
    """Return a text with ASCII digits for all digits, keycaps and numbers in circles or in brackets."""
    text = _DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), text)
    text = _SEPARATOR.sub(lambda match: _SEPARATORS[match[0]], text)
    text = _KEYCAP.sub(lambda match: match[1] + (" " if (match[2] or "").isalnum() else ""), text)
    return _DRESSED.sub(_undressed, text)


def _undressed(match: re.Match[str]) -> str:
    run = match[0]
    return spaced(match, unicodedata.normalize("NFKC", run) if len(run) > 1 else digits(run) or run)


def digits(numeral: str) -> str | None:
    """Return a numeral's value in digits; None where it is none, a fraction or negative."""
    value = unicodedata.numeric(numeral, -1)
    return str(int(value)) if value >= 0 and value == int(value) else None


def fraction_of(numeral: str) -> Fraction | None:
    """Return the value of a numeral that is a fraction."""
    value = unicodedata.numeric(numeral, -1)
    return Fraction(value).limit_denominator(_LARGEST_DENOMINATOR) if value >= 0 else None


def spaced(match: re.Match[str], number: str) -> str:
    """Return a number with a space where it would run into a letter or digit beside it."""
    text, start, end = match.string, match.start(), match.end()
    before = " " if text[max(0, start - 1) : start].isalnum() else ""
    after = " " if text[end : end + 1].isalnum() and not _DRESSED.match(text, end) else ""
    return f"{before}{number}{after}"
