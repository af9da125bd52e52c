"""Numbers as espeak-ng's voices read them to the last digit: some leave out digits for which they have no word."""

from __future__ import annotations

import re
from typing import Final

_NO_WORDS: Final = frozenset(("chr-us-qaaa-x-west", "cv", "qya", "sjn"))
"""Voices that say nothing for one of the digits, or for all."""
_ONLY_DIGITS: Final = frozenset(("gn", "haw", "ht", "lb", "nci"))
"""Voices with words for no number above nine, that would say "7" for 37."""
_LONGEST: Final = {"shn": 9, "yue": 9, "yue-latn-jyutping": 9}
"""So many digits of one number; of a longer one these voices leave out the first."""
_GROUPED: Final = frozenset(
    "as bn bpy gu hi kn ko ml mr ne or pa sd shn si ta te ur yue yue-latn-jyutping".split()  # noqa: SIM905 (as long as it is)
)
"""Voices that leave out the decimals of a number with commas between its thousands."""
_COMMAS_END: Final = "grc"
"""It leaves out what is behind a comma."""
_SINHALA: Final = {"6": "හය", "7": "හත"}
"""The same word to the voice "si", which is neither."""

_POINTS: Final = {"ja": " てん ", "ko": " 점 ", "yue": "點"}
"""The point of a decimal, which these voices leave out."""

_DECIMAL: Final = re.compile(r"(?<![\d.,])(\d+(?:,\d{3})*)\.(\d+)(?!\.?\d)")
_LONG: Final = re.compile(r"\d{2,}")
_THOUSANDS: Final = re.compile(r"(?<![\d,])\d{1,3}(?:,\d{2,3})+(?=\.\d)")
_COMMA: Final = re.compile(r"(?<=\d),(?=\d)")
_ALONE: Final = re.compile(r"(?<![\d.,])[67](?!\d|[.,]\d)")


def unread_digit(text: str, voice: str) -> str | None:
    """Return a digit of a text for which a voice has no word."""
    if _name(voice) not in _NO_WORDS:
        return None
    return next((each for each in text if each.isdecimal()), None)


def write_numbers(text: str, voice: str) -> str:
    """Return a text with its numbers written so that a voice reads all their digits."""
    name = _name(voice)
    if name in _GROUPED:
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    if name == _COMMAS_END:
        text = _COMMA.sub(", ", text)
    if name == "si":
        text = _ALONE.sub(lambda match: _SINHALA[match[0]], text)
    if name in _POINTS:
        text = _DECIMAL.sub(lambda match: f"{match[1]}{_POINTS[name]}{' '.join(match[2])}", text)
    longest = 1 if name in _ONLY_DIGITS else _LONGEST.get(name)
    if longest is None:
        return text
    return _LONG.sub(lambda match: " ".join(match[0]) if len(match[0]) > longest else match[0], text)


def _name(voice: str) -> str:
    return voice.partition("+")[0]
